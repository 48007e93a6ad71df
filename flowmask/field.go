package flowmask

import (
	"strings"
)

// Fields is a set of flow fields. The zero value is the empty set.
//
// The fields of a set have one order, in text and in an Index: realm, src-ip, proto,
// src-port, dst-ip, dst-port. It is the order of ipfw's flow tables (which have no realm);
// the order in which a type names the fields does not change it, there or here.
type Fields uint8

// The fields of a flow. Realm is an addition of this package; the others carry ipfw's
// names.
const (
	Realm Fields = 1 << iota
	SrcIP
	Proto
	SrcPort
	DstIP
	DstPort

	// AllFields is the set of every field.
	AllFields = Realm | SrcIP | Proto | SrcPort | DstIP | DstPort
)

// fieldOrder lists every field in the order of text and index.
var fieldOrder = [...]Fields{Realm, SrcIP, Proto, SrcPort, DstIP, DstPort}

// name returns ipfw's word for a single field.
func (f Fields) name() string {
	switch f {
	case Realm:
		return "realm"
	case SrcIP:
		return "src-ip"
	case Proto:
		return "proto"
	case SrcPort:
		return "src-port"
	case DstIP:
		return "dst-ip"
	case DstPort:
		return "dst-port"
	}
	return ""
}

// Has reports whether every field of g is in f.
func (f Fields) Has(g Fields) bool { return f&g == g }

// AppendTo appends the set as ipfw writes a table type, "flow:src-ip,proto", and returns
// the extended buffer. The empty set is "flow".
func (f Fields) AppendTo(b []byte) []byte {
	b = append(b, "flow"...)
	sep := byte(':')
	for _, one := range fieldOrder {
		if f&one != 0 {
			b = append(b, sep)
			b = append(b, one.name()...)
			sep = ','
		}
	}
	return b
}

// String returns the text of AppendTo.
func (f Fields) String() string { return string(f.AppendTo(nil)) }

// ParseFields parses a set of fields as ipfw writes a table type,
// "flow:src-ip,proto,dst-port"; the word "flow" and its colon may be missing. Fields may
// stand in any order, as in ipfw, but values always follow the order of Fields. A field
// named twice is an error. All errors are of type *SyntaxError.
func ParseFields(s string) (Fields, error) {
	rest, pos := s, 0
	if s == "flow" {
		return 0, nil
	}
	if strings.HasPrefix(s, "flow:") {
		rest, pos = s[5:], 5
	}
	var set Fields
	for {
		word, tail, more := strings.Cut(rest, ",")
		f := fieldByName(word)
		switch {
		case f == 0:
			return 0, &SyntaxError{Text: s, Pos: pos,
				Reason: "no field of this name; fields are realm, src-ip, proto, src-port, dst-ip, dst-port"}
		case set&f != 0:
			return 0, &SyntaxError{Text: s, Pos: pos, Field: f, Reason: "field named twice"}
		}
		set |= f
		if !more {
			return set, nil
		}
		pos += len(word) + 1
		rest = tail
	}
}

// fieldByName returns the field that ipfw calls name, or 0.
func fieldByName(name string) Fields {
	for _, f := range fieldOrder {
		if f.name() == name {
			return f
		}
	}
	return 0
}
