package flowmask

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"pgregory.net/rapid"
)

// The golden model of this package: a flow and a mask as bytes per field, and
// loops over single bits. It is right by reading and calls nothing that it judges; only
// build turns a model value into the value under test.

// Port states of the model.
const (
	present = iota
	missing
	unknown
)

// modelFlow is a flow, or the bits of a mask. Addresses of IPv4 use the first four bytes.
type modelFlow struct {
	six          bool
	realm        uint16
	src, dst     [16]byte
	proto        byte
	sport, dport uint16
	sstate       int
	dstate       int
}

// modelMask is a mask: a set of fields by name, and bits.
type modelMask struct {
	fields map[string]bool
	bits   modelFlow
}

// modelFields are the fields in order.
var modelFields = []string{"realm", "src-ip", "proto", "src-port", "dst-ip", "dst-port"}

// bytesOf returns the bytes of a field, most significant first.
func (f modelFlow) bytesOf(field string) []byte {
	n := 4
	if f.six {
		n = 16
	}
	switch field {
	case "realm":
		return []byte{byte(f.realm >> 8), byte(f.realm)}
	case "src-ip":
		return f.src[:n]
	case "dst-ip":
		return f.dst[:n]
	case "proto":
		return []byte{f.proto}
	case "src-port":
		if f.sstate != present {
			return []byte{0, 0}
		}
		return []byte{byte(f.sport >> 8), byte(f.sport)}
	}
	if f.dstate != present {
		return []byte{0, 0}
	}
	return []byte{byte(f.dport >> 8), byte(f.dport)}
}

// addressed reports whether the mask has an address field.
func (m modelMask) addressed() bool { return m.fields["src-ip"] || m.fields["dst-ip"] }

// selected returns the bits of f that m selects, as a text of 0 and 1 in the
// order of an index; ok is false when the flow has no key.
func (m modelMask) selected(f modelFlow) (text string, ok bool) {
	if m.addressed() && m.bits.six != f.six {
		return "", false
	}
	var b strings.Builder
	for _, field := range modelFields {
		if !m.fields[field] {
			continue
		}
		masks := m.bits.bytesOf(field)
		values := f.bytesOf(field)
		for i := range masks {
			for bit := 7; bit >= 0; bit-- {
				if masks[i]>>bit&1 == 0 {
					continue
				}
				if field == "src-port" && f.sstate == unknown || field == "dst-port" && f.dstate == unknown {
					return "", false
				}
				b.WriteByte('0' + values[i]>>bit&1)
			}
		}
	}
	return b.String(), true
}

// number reads a text of 0 and 1.
func number(text string) (n uint32) {
	for _, c := range text {
		n = n<<1 | uint32(c-'0')
	}
	return n
}

// addr returns an address of the model as netip has it.
func (f modelFlow) addr(b [16]byte) netip.Addr {
	if f.six {
		return netip.AddrFrom16(b)
	}
	return netip.AddrFrom4([4]byte(b[:4]))
}

// build returns the flow under test.
func (f modelFlow) build() Flow {
	src, dst := netip.AddrPortFrom(f.addr(f.src), f.sport), netip.AddrPortFrom(f.addr(f.dst), f.dport)
	v := NewFlow(f.realm, f.proto, src, dst)
	for _, p := range []struct {
		state int
		field Fields
	}{{f.sstate, SrcPort}, {f.dstate, DstPort}} {
		switch p.state {
		case missing:
			v = v.Without(p.field)
		case unknown:
			v = v.WithUnknown(p.field)
		}
	}
	return v
}

// set returns the fields under test.
func (m modelMask) set() (f Fields) {
	for i, name := range modelFields {
		if m.fields[name] {
			f |= 1 << i
		}
	}
	return f
}

// build returns the mask under test.
func (m modelMask) build() Mask {
	b := Bits{Realm: m.bits.realm, Proto: m.bits.proto, SrcPort: m.bits.sport, DstPort: m.bits.dport}
	if m.fields["src-ip"] {
		b.Src = m.bits.addr(m.bits.src)
	}
	if m.fields["dst-ip"] {
		b.Dst = m.bits.addr(m.bits.dst)
	}
	v, err := NewMask(m.set(), b)
	if err != nil {
		panic(err)
	}
	return v
}

// small draws bytes that differ in few bits, so that flows meet under masks.
var small = rapid.SampledFrom([]byte{0, 0, 0, 1, 2, 3, 0x80, 0xff})

// genAddr draws an address of a few possible ones; in IPv6 the first byte is never 0, so that it maps no IPv4.
func genAddr(t *rapid.T, six bool, name string) (a [16]byte) {
	n := 4
	if six {
		n = 16
	}
	for i := range n {
		a[i] = small.Draw(t, name)
	}
	if six {
		a[0] |= 0x20
	}
	return a
}

// port16 draws ports, edges first.
var port16 = rapid.OneOf(rapid.SampledFrom([]uint16{0, 1, 2, 3, 53, 80, 443, 1023, 1024, 65535}), rapid.Uint16())

// genFlow draws a flow; states allows ports that are missing or unknown.
func genFlow(t *rapid.T, six, states bool) modelFlow {
	f := modelFlow{
		six: six, realm: rapid.SampledFrom([]uint16{0, 1, 2, 0x8000, 0xffff}).Draw(t, "realm"),
		src: genAddr(t, six, "src"), dst: genAddr(t, six, "dst"),
		proto: rapid.SampledFrom([]byte{0, 1, 6, 17, 47, 255}).Draw(t, "proto"),
		sport: port16.Draw(t, "sport"), dport: port16.Draw(t, "dport"),
	}
	if states {
		f.sstate = rapid.SampledFrom([]int{present, present, missing, unknown}).Draw(t, "sstate")
		f.dstate = rapid.SampledFrom([]int{present, present, missing, unknown}).Draw(t, "dstate")
		if f.sstate != present {
			f.sport = 0
		}
		if f.dstate != present {
			f.dport = 0
		}
	}
	return f
}

// genMask draws a mask of at most most bits, thinly or densely set, often with runs and gaps.
func genMask(t *rapid.T, most int) modelMask {
	m := modelMask{fields: map[string]bool{}, bits: modelFlow{six: rapid.Bool().Draw(t, "six")}}
	for _, f := range modelFields {
		m.fields[f] = rapid.Bool().Draw(t, f)
	}
	if !m.addressed() {
		m.bits.six = false
	}
	n := 4
	if m.bits.six {
		n = 16
	}
	left := most
	draw := func(name string, size int) []byte {
		b := make([]byte, size)
		switch rapid.IntRange(0, 3).Draw(t, "kind of "+name) {
		case 0: // none
		case 1: // all
			for i := range b {
				b[i] = 0xff
			}
		default:
			for i := range b {
				b[i] = rapid.OneOf(rapid.SampledFrom([]byte{0, 0, 1, 3, 0x7f, 0x80, 0xf0, 0x55}), rapid.Byte()).Draw(t, name)
			}
		}
		for i := range b {
			for bit := range 8 {
				if b[i]>>bit&1 != 0 {
					if left--; left < 0 {
						b[i] &^= 1 << bit
					}
				}
			}
		}
		return b
	}
	if m.fields["realm"] {
		m.bits.realm = binary.BigEndian.Uint16(draw("realm bits", 2))
	}
	if m.fields["src-ip"] {
		copy(m.bits.src[:], draw("src bits", n))
	}
	if m.fields["proto"] {
		m.bits.proto = draw("proto bits", 1)[0]
	}
	if m.fields["src-port"] {
		m.bits.sport = binary.BigEndian.Uint16(draw("sport bits", 2))
	}
	if m.fields["dst-ip"] {
		copy(m.bits.dst[:], draw("dst bits", n))
	}
	if m.fields["dst-port"] {
		m.bits.dport = binary.BigEndian.Uint16(draw("dport bits", 2))
	}
	return m
}

// genFamily draws a family for a flow that is to meet a mask: mostly the mask's.
func genFamily(t *rapid.T, m modelMask) bool {
	six := m.bits.six
	if rapid.IntRange(0, 9).Draw(t, "other family") == 0 {
		six = !six
	}
	return six
}
