package flowmask

import (
	"net/netip"
	"strconv"
	"strings"
)

// AppendTo appends the mask in ipfw's syntax, the masks of its fields in the order of
// Fields, separated by commas, and returns the extended buffer. The mask without fields is
// empty.
func (m Mask) AppendTo(b []byte) []byte {
	if m.fields == 0 {
		return b
	}
	return m.flow().AppendTo(b, m.fields)
}

// String returns the text of AppendTo.
func (m Mask) String() string { return string(m.AppendTo(nil)) }

// ParseMask parses a mask as ipfw's setmask takes it: the masks of the fields in the order
// of Fields, separated by commas. Address masks are dotted or in IPv6 form, any bits;
// numbers are decimal without sign or leading zeros. Thus "255.192.0.127,1,0.0.15.0,3" for
// flow:src-ip,proto,dst-ip,dst-port. Both addresses are of one family. All errors are of
// type *SyntaxError and name field and position. For a mask m, ParseMask(m.String(),
// m.Fields()) is m.
func ParseMask(s string, fields Fields) (Mask, error) {
	v, err := parseValues(s, fields, false)
	if err != nil {
		return Mask{}, err
	}
	m, err := NewMask(fields, v)
	if err != nil {
		// The values are checked; what is left is a set with fields that do not exist.
		return Mask{}, &SyntaxError{Text: s, Reason: "the set has fields that do not exist"}
	}
	return m, nil
}

// MustParseMask is ParseMask for texts that a program holds itself, with the fields as text
// too; it panics on an error.
func MustParseMask(s, fields string) Mask {
	f, err := ParseFields(fields)
	if err != nil {
		panic(err)
	}
	m, err := ParseMask(s, f)
	if err != nil {
		panic(err)
	}
	return m
}

// ParseFlow parses the values of the given fields as ipfw writes the key of a table entry:
// "100.64.0.5,tcp,192.0.2.1,443". A protocol is a number or one of the names tcp, udp,
// icmp, ipv6-icmp, gre, esp, ah, sctp and udplite; a port is a number, since names of
// services are a matter of the machine. Fields not given are 0; the empty text is a flow of
// no field. An address with a colon is IPv6, also one that IPv4 is mapped into. All errors
// are of type *SyntaxError.
func ParseFlow(s string, fields Fields) (Flow, error) {
	v, err := parseValues(s, fields, true)
	if err != nil {
		return Flow{}, err
	}
	if !v.Src.IsValid() && !v.Dst.IsValid() {
		v.Src = netip.IPv4Unspecified()
	}
	f := newFlow(v.Src, v.Dst)
	f.w |= uint64(v.Realm)<<realmShift | uint64(v.Proto)<<protoShift |
		uint64(v.SrcPort)<<srcPortShift | uint64(v.DstPort)<<dstPortShift
	return f, nil
}

// parseValues parses one value for each field. Names of protocols are for entries, not for
// masks.
func parseValues(s string, fields Fields, names bool) (v Bits, err error) {
	pos, rest, more := 0, s, fields != 0 || s != ""
	var family netip.Addr
	for _, f := range fieldOrder {
		if fields&f == 0 {
			continue
		}
		if !more {
			return v, &SyntaxError{Text: s, Pos: len(s), Field: f,
				Reason: "value is missing; " + fields.String() + " needs one for each field"}
		}
		var word string
		word, rest, more = strings.Cut(rest, ",")
		why := ""
		switch f {
		case Realm:
			v.Realm, why = parseUint16(word, "realm")
		case SrcIP:
			v.Src, why = parseAddr(word, family)
			family = v.Src
		case DstIP:
			v.Dst, why = parseAddr(word, family)
		case Proto:
			v.Proto, why = parseProto(word, names)
		case SrcPort:
			v.SrcPort, why = parseUint16(word, "port")
		case DstPort:
			v.DstPort, why = parseUint16(word, "port")
		}
		if why != "" {
			return v, &SyntaxError{Text: s, Pos: pos, Field: f, Reason: why}
		}
		pos += len(word) + 1
	}
	if more {
		return v, &SyntaxError{Text: s, Pos: min(pos, len(s)), Reason: "more values than " + fields.String() + " has fields"}
	}
	return v, nil
}

// parseAddr parses an address without zone, of the family of like if that is valid.
func parseAddr(s string, like netip.Addr) (netip.Addr, string) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return a, "not an IPv4 or IPv6 address"
	case a.Zone() != "":
		return a, "an address here has no zone"
	case like.IsValid() && like.BitLen() != a.BitLen():
		return a, "source and destination are of different address families"
	}
	return a, ""
}

// parseUint16 parses a number up to 65535; what names it.
func parseUint16(s, what string) (uint16, string) {
	n, ok := parseNumber(s, 16)
	if !ok {
		return 0, what + " is not a decimal number from 0 to 65535"
	}
	return uint16(n), ""
}

// parseNumber parses a decimal number of at most the given bits, in the one form that it is
// printed in: no sign, no leading zero.
func parseNumber(s string, size int) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, size)
	if err != nil || s[0] == '+' || (s[0] == '0' && len(s) > 1) {
		return 0, false
	}
	return n, true
}

// parseProto parses a protocol number, or a name where names are allowed.
func parseProto(s string, names bool) (uint8, string) {
	if n, ok := parseNumber(s, 8); ok {
		return uint8(n), ""
	}
	if !names {
		return 0, "protocol mask is not a decimal number from 0 to 255"
	}
	switch s {
	case "icmp":
		return 1, ""
	case "tcp":
		return 6, ""
	case "udp":
		return 17, ""
	case "gre":
		return 47, ""
	case "esp":
		return 50, ""
	case "ah":
		return 51, ""
	case "ipv6-icmp":
		return 58, ""
	case "sctp":
		return 132, ""
	case "udplite":
		return 136, ""
	}
	return 0, "protocol is neither a decimal number from 0 to 255 nor a known name"
}
