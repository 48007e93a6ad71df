package deterministic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// strict decodes one JSON value whose objects have known members only, spelled
// as the tags of v spell them, and none of them twice. The decoder of the standard
// library ignores case and lets the last of two members win, so that one line
// could say one thing to a reader and another thing to the archive.
func strict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: more than one value", ErrSyntax)
	}
	if err := members(json.NewDecoder(bytes.NewReader(text)), reflect.TypeOf(v)); err != nil {
		return fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return nil
}

// members reads the next value, which decodes into a t, and checks the names of
// its members, and of the members of objects in it that decode into structs.
func members(d *json.Decoder, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		var skipped json.RawMessage
		return d.Decode(&skipped)
	}
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return err // null, or the text that a struct such as a time has
	}
	of := map[string]reflect.Type{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		of[name] = t.Field(i).Type
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		switch {
		case of[name] == nil:
			return fmt.Errorf("unknown member %q", name)
		case seen[name]:
			return fmt.Errorf("member %q is there twice", name)
		}
		seen[name] = true
		if err := members(d, of[name]); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}
