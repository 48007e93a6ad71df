package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/blocknat/blocknat/mapping/deterministic"
)

// maxFile bounds what is read of a file.
const maxFile = 256 << 20

// readFile reads a file that a flag names.
func readFile(flagName, path string) ([]byte, error) {
	fail := func(text, fix string) ([]byte, error) {
		return nil, &fault{File: path, Field: flagName, Text: text, Fix: fix}
	}
	f, err := os.Open(path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fail("the file cannot be read: "+err.Error(), "check the name")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return fail("the file cannot be read: "+err.Error(), "name a file")
	case len(text) > maxFile:
		return fail(fmt.Sprintf("the file is longer than %d MB", maxFile>>20), "name a configuration or an archive")
	}
	return text, nil
}

// loadConfig reads, parses and builds a configuration. All faults are reported
// together.
func loadConfig(flagName, path string) (*book, error) {
	text, err := readFile(flagName, path)
	if err != nil {
		return nil, err
	}
	return buildConfig(path, string(text))
}

// buildConfig makes the maps of a configuration.
func buildConfig(file, text string) (*book, error) {
	blocks, faults := parseConfig(file, text)
	bk := &book{file: file}
	var maps []*deterministic.Map
	for _, b := range blocks {
		m, rule, err := b.build()
		if err != nil {
			faults = append(faults, b.explain(file, err)...)
			continue
		}
		maps = append(maps, m)
		bk.versions = append(bk.versions, version{Map: m, rule: rule})
	}
	set, err := deterministic.NewSet(maps...)
	if err != nil {
		for _, one := range split(err) {
			faults = append(faults, explainOverlap(file, blocks, one))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	bk.set = set
	return bk, nil
}

// build makes the map of a block.
func (b *block) build() (*deterministic.Map, *deterministic.Rule, error) {
	if b.kind == "map" {
		m, err := deterministic.New(b.cfg)
		return m, nil, err
	}
	rule, err := deterministic.NewRule(b.rule)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := rule.Map()
	if err != nil {
		return nil, nil, err
	}
	cfg.Name, cfg.Realm, cfg.ExternalRealm = b.name, b.cfg.Realm, b.cfg.ExternalRealm
	m, err := deterministic.New(cfg)
	return m, rule, err
}

// split returns the errors that are joined in err.
func split(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}

// explain turns the faults of a block into faults of its lines.
func (b *block) explain(file string, err error) (out []error) {
	for _, one := range split(err) {
		f := &fault{File: file, Line: b.line, Block: b.String(), Text: one.Error()}
		var field *deterministic.FieldError
		var overlap *deterministic.OverlapError
		switch {
		case errors.As(one, &field):
			setting, i := b.settingOf(field.Field)
			f.Line, f.Field, f.Text, f.Fix = b.lineOf(setting, i), setting, b.words(field.Rule), b.words(strings.TrimSuffix(field.Fix, ", or use the Rule"))
			if field.Value != "set" && field.Value != "empty" {
				f.Value = field.Value
			}
		case errors.As(one, &overlap):
			setting, i := b.settingOf(overlap.A)
			other, j := b.settingOf(overlap.B)
			f.Line, f.Field = b.lineOf(other, j), other
			f.Text = fmt.Sprintf("overlaps with %s of line %d: both have %s", setting, b.lineOf(setting, i), addresses(overlap))
			f.Fix = "take the addresses out of one of them"
		}
		out = append(out, f)
	}
	return out
}

// explainOverlap names both sides of an overlap of two blocks, with their lines.
func explainOverlap(file string, blocks []*block, err error) error {
	var o *deterministic.OverlapError
	if !errors.As(err, &o) {
		return err
	}
	find := func(name string) *block {
		for _, b := range blocks {
			if fmt.Sprintf("map %q", b.name) == name {
				return b
			}
		}
		return &block{name: name}
	}
	a, b := find(o.A), find(o.B)
	if a.line > b.line {
		a, b = b, a
	}
	return &fault{File: file, Line: b.line, Block: b.String(),
		Text: fmt.Sprintf("overlaps with %v of line %d: both claim the %s addresses %s in realm %d", a, a.line, o.Side, addresses(o), o.Realm),
		Fix:  "an address belongs to one map; change one of them, or their realms"}
}

// addresses writes the addresses that an overlap is about.
func addresses(o *deterministic.OverlapError) string {
	if o.First == o.Last {
		return o.First.String()
	}
	return o.First.String() + "-" + o.Last.String()
}

// settingOf finds the setting and the index of a field such as Internal[1].
func (b *block) settingOf(field string) (name string, i int) {
	field, index, _ := strings.Cut(field, "[")
	i, _ = strconv.Atoi(strings.TrimSuffix(index, "]")) // 0 without one
	for _, s := range settingsOf(b.kind) {
		if s.field == field {
			return s.name, i
		}
	}
	return field, i
}

// words writes the names of settings for the names of fields in a message.
func (b *block) words(text string) string {
	var out strings.Builder
	for len(text) > 0 {
		n := 0
		for n < len(text) && letter(text[n]) {
			n++
		}
		if n == 0 {
			out.WriteByte(text[0])
			text = text[1:]
			continue
		}
		if name, _ := b.settingOf(text[:n]); b.kind == "map" || name != "ipv6" && name != "ipv4" {
			out.WriteString(name)
		} else { // "an IPv6 prefix" is no setting
			out.WriteString(text[:n])
		}
		text = text[n:]
	}
	return out.String()
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' }
