package flowmask

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Mask selects bits of a flow: any bits of any fields. It is a small comparable value of 48
// bytes. The zero Mask has no fields: under it all valid flows have one key.
//
// A mask with an address field belongs to one family, IPv4 or IPv6; one without serves
// both. Two masks are equal when they have the same fields, the same bits and the same
// family.
type Mask struct {
	// The words are laid out as those of a Flow. In w the flags are those that Apply looks
	// at: flagSix when there is an address field, and an unknown-flag for each port of
	// which a bit is selected.
	a, b, c, d uint64
	w          uint64
	fields     Fields
	six        bool
}

// checkFlags are the flags of w that decide whether a flow has a key.
const checkFlags = flagValid | flagSix | flagSrcUnknown | flagDstUnknown

// Bits are the bits of a mask, field by field, for programs that do not parse a text.
type Bits struct {
	Realm uint16
	// Src and Dst are the address masks. The invalid Addr selects no bit. Both must be of
	// one family, which becomes the family of the mask; if the mask has address fields and
	// both are invalid, it is IPv4.
	Src, Dst         netip.Addr
	Proto            uint8
	SrcPort, DstPort uint16
}

// NewMask returns the mask with the given fields and bits. It refuses bits in a field that
// is not in the set and addresses of two families with a *SyntaxError whose Field says
// which.
func NewMask(fields Fields, bits Bits) (Mask, error) {
	fault := func(f Fields, why string) (Mask, error) { return Mask{}, &SyntaxError{Field: f, Reason: why} }
	if fields&^AllFields != 0 {
		return fault(0, "the set has fields that do not exist")
	}
	m := Mask{fields: fields}
	for _, one := range [...]struct {
		f     Fields
		value uint64
		shift uint
	}{
		{Realm, uint64(bits.Realm), realmShift},
		{Proto, uint64(bits.Proto), protoShift},
		{SrcPort, uint64(bits.SrcPort), srcPortShift},
		{DstPort, uint64(bits.DstPort), dstPortShift},
	} {
		if one.value != 0 && fields&one.f == 0 {
			return fault(one.f, "bits are selected in a field that the mask does not have")
		}
		m.w |= one.value << one.shift
	}
	if bits.SrcPort != 0 {
		m.w |= flagSrcUnknown
	}
	if bits.DstPort != 0 {
		m.w |= flagDstUnknown
	}
	if bits.Src.IsValid() && fields&SrcIP == 0 {
		return fault(SrcIP, "an address is given for a field that the mask does not have")
	}
	if bits.Dst.IsValid() && fields&DstIP == 0 {
		return fault(DstIP, "an address is given for a field that the mask does not have")
	}
	if fields&(SrcIP|DstIP) == 0 {
		return m, nil
	}
	if !bits.Src.IsValid() && !bits.Dst.IsValid() {
		bits.Src = netip.IPv4Unspecified()
	}
	f := newFlow(bits.Src, bits.Dst)
	if !f.IsValid() {
		return fault(DstIP, "the address masks are of different families")
	}
	m.a, m.b, m.c, m.d, m.six = f.a, f.b, f.c, f.d, f.Is6()
	m.w |= flagSix
	return m, nil
}

// FullMask returns the mask that selects all bits of the fields; six chooses IPv6 where
// there are address fields. It is what an ipfw flow table has without setmask.
func FullMask(fields Fields, six bool) Mask {
	m := Mask{fields: fields & AllFields}
	for _, one := range [...]struct {
		f    Fields
		bits uint64
	}{
		{Realm, 0xffff << realmShift},
		{Proto, 0xff << protoShift},
		{SrcPort, 0xffff<<srcPortShift | flagSrcUnknown},
		{DstPort, 0xffff<<dstPortShift | flagDstUnknown},
	} {
		if fields&one.f != 0 {
			m.w |= one.bits
		}
	}
	const all = ^uint64(0)
	if fields&(SrcIP|DstIP) != 0 {
		m.w |= flagSix
		m.six = six
	}
	if fields&SrcIP != 0 {
		if six {
			m.a, m.b = all, all
		} else {
			m.a |= all &^ 0xffffffff
		}
	}
	if fields&DstIP != 0 {
		if six {
			m.c, m.d = all, all
		} else {
			m.a |= all >> 32
		}
	}
	return m
}

// Fields returns the set of fields.
func (m Mask) Fields() Fields { return m.fields }

// Is6 reports whether the mask has an address field and is for IPv6.
func (m Mask) Is6() bool { return m.six }

// flow returns the bits of the mask as the flow whose fields they would be.
func (m Mask) flow() Flow {
	f := Flow{a: m.a, b: m.b, c: m.c, d: m.d, w: m.w&^checkFlags | flagValid}
	if m.six {
		f.w |= flagSix
	}
	return f
}

// Bits returns the bits of the mask; NewMask(m.Fields(), m.Bits()) is m.
func (m Mask) Bits() Bits {
	f := m.flow()
	b := Bits{Realm: f.Realm(), Proto: f.Proto(), SrcPort: f.SrcPort(), DstPort: f.DstPort()}
	if m.fields&SrcIP != 0 {
		b.Src = f.Src()
	}
	if m.fields&DstIP != 0 {
		b.Dst = f.Dst()
	}
	return b
}

// Only returns the mask that has those of its fields that are in keep, with their bits. Of
// the bug report's mask, Only(SrcIP) groups clients and Only(Proto|DstIP|DstPort) classes
// remote endpoints: those for which an external port can be used once each.
func (m Mask) Only(keep Fields) Mask {
	full := FullMask(m.fields&keep, m.six)
	return Mask{
		a: m.a & full.a, b: m.b & full.b, c: m.c & full.c, d: m.d & full.d, w: m.w & full.w,
		fields: full.fields, six: full.six,
	}
}

// Ones returns the number of bits that are selected.
func (m Mask) Ones() int {
	return bits.OnesCount64(m.a) + bits.OnesCount64(m.b) + bits.OnesCount64(m.c) + bits.OnesCount64(m.d) +
		bits.OnesCount64(m.w&^checkFlags)
}

// want returns the flags that a flow must show where checks looks.
func (m *Mask) want() uint64 {
	if m.six {
		return flagValid | flagSix
	}
	return flagValid
}

// checks returns the flags that decide whether a flow has a key.
func (m *Mask) checks() uint64 { return m.w&checkFlags | flagValid }

// onesOf returns the number of ones of an address mask.
func onesOf(a netip.Addr) int {
	if !a.IsValid() {
		return 0
	}
	b := a.As16()
	n := bits.OnesCount64(binary.BigEndian.Uint64(b[:8])) + bits.OnesCount64(binary.BigEndian.Uint64(b[8:]))
	if a.Is4() {
		n -= 16 // As16 maps an IPv4 address below ::ffff:0:0/96.
	}
	return n
}
