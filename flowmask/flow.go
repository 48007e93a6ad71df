package flowmask

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Layout of the word that both families share. Flags stand above the fields, so that one
// AND with a mask keeps or clears them all.
const (
	dstPortShift = 0
	srcPortShift = 16
	protoShift   = 32
	realmShift   = 40

	flagSrcNone    uint64 = 1 << 58 // the protocol has no source port
	flagDstNone    uint64 = 1 << 59
	flagSrcUnknown uint64 = 1 << 60 // there is one, but this packet does not show it
	flagDstUnknown uint64 = 1 << 61
	flagSix        uint64 = 1 << 62
	flagValid      uint64 = 1 << 63

	flagsSrc = flagSrcNone | flagSrcUnknown
	flagsDst = flagDstNone | flagDstUnknown
)

// Flow is the key of a flow: realm, source and destination address, protocol, source and
// destination port. It is a small comparable value of 40 bytes without pointers. The zero
// Flow is not valid and has no key under any mask.
//
// A port is in one of three states. It is present; or the protocol has none (ICMP, GRE),
// then it reads as 0, as ipfw has it; or it is unknown (a fragment that is not the first, a
// truncated packet), then a mask that selects any of its bits gives the flow no key, so
// that a fragment never gets another answer than its first fragment got.
type Flow struct {
	// IPv4: a is source<<32 | destination, b to d are 0. IPv6: a, b are the source, c, d
	// the destination, big-endian. A mask for IPv4 thus touches two words.
	a, b, c, d uint64
	// w holds realm, protocol, ports and flags.
	w uint64
}

// NewFlow returns the flow with both ports present. IPv4 addresses mapped into IPv6 are
// unmapped, zones are dropped. An invalid address on one side reads as the unspecified
// address of the other's family. If both are invalid, or the families differ, the result is
// the zero Flow.
func NewFlow(realm uint16, proto uint8, src, dst netip.AddrPort) Flow {
	f := newFlow(src.Addr().Unmap(), dst.Addr().Unmap())
	if f.w != 0 {
		f.w |= uint64(realm)<<realmShift | uint64(proto)<<protoShift |
			uint64(src.Port())<<srcPortShift | uint64(dst.Port())<<dstPortShift
	}
	return f
}

// newFlow returns the flow of two addresses, taken as they are.
func newFlow(src, dst netip.Addr) Flow {
	if !src.IsValid() {
		src = unspecified(dst)
	}
	if !dst.IsValid() {
		dst = unspecified(src)
	}
	switch {
	case src.Is4() && dst.Is4():
		s, d := src.As4(), dst.As4()
		return Flow{a: uint64(binary.BigEndian.Uint32(s[:]))<<32 | uint64(binary.BigEndian.Uint32(d[:])), w: flagValid}
	case src.Is6() && dst.Is6():
		s, d := src.As16(), dst.As16()
		return Flow{
			a: binary.BigEndian.Uint64(s[:8]), b: binary.BigEndian.Uint64(s[8:]),
			c: binary.BigEndian.Uint64(d[:8]), d: binary.BigEndian.Uint64(d[8:]),
			w: flagValid | flagSix,
		}
	}
	return Flow{}
}

// unspecified returns the unspecified address of the family of a, or the invalid address.
func unspecified(a netip.Addr) netip.Addr {
	switch {
	case a.Is4():
		return netip.IPv4Unspecified()
	case a.Is6():
		return netip.IPv6Unspecified()
	}
	return netip.Addr{}
}

// FlowFrom4 is NewFlow for addresses of four bytes: what a packet parser has at hand.
func FlowFrom4(realm uint16, proto uint8, src, dst [4]byte, srcPort, dstPort uint16) Flow {
	return Flow{
		a: uint64(binary.BigEndian.Uint32(src[:]))<<32 | uint64(binary.BigEndian.Uint32(dst[:])),
		w: flagValid | uint64(realm)<<realmShift | uint64(proto)<<protoShift | uint64(srcPort)<<srcPortShift | uint64(dstPort),
	}
}

// FlowFrom16 is FlowFrom4 for IPv6. It takes the addresses as they are: one that maps an
// IPv4 address stays IPv6.
func FlowFrom16(realm uint16, proto uint8, src, dst [16]byte, srcPort, dstPort uint16) Flow {
	return Flow{
		a: binary.BigEndian.Uint64(src[:8]), b: binary.BigEndian.Uint64(src[8:]),
		c: binary.BigEndian.Uint64(dst[:8]), d: binary.BigEndian.Uint64(dst[8:]),
		w: flagValid | flagSix | uint64(realm)<<realmShift | uint64(proto)<<protoShift | uint64(srcPort)<<srcPortShift | uint64(dstPort),
	}
}

// Without returns the flow with the given ports marked as ones that the protocol does not
// have; they read as 0. Fields other than ports are ignored. The identifier of an ICMP
// query may serve as a port: as source port in the query, which then lacks the destination
// port, and as destination port in the answer, which then lacks the source port. So the
// answer is again what ReplyFlow says.
func (f Flow) Without(ports Fields) Flow { return f.clear(ports, flagSrcNone, flagDstNone) }

// WithUnknown returns the flow with the given ports marked as unknown: they exist, but not
// in this packet. Fields other than ports are ignored.
func (f Flow) WithUnknown(ports Fields) Flow { return f.clear(ports, flagSrcUnknown, flagDstUnknown) }

// clear zeroes ports and sets the flag for each.
func (f Flow) clear(ports Fields, src, dst uint64) Flow {
	if f.w == 0 {
		return f
	}
	if ports&SrcPort != 0 {
		f.w = f.w&^(0xffff<<srcPortShift|flagsSrc) | src
	}
	if ports&DstPort != 0 {
		f.w = f.w&^(0xffff<<dstPortShift|flagsDst) | dst
	}
	return f
}

// IsValid reports whether f is not the zero Flow.
func (f Flow) IsValid() bool { return f.w != 0 }

// Is6 reports whether the addresses are IPv6.
func (f Flow) Is6() bool { return f.w&flagSix != 0 }

// Realm returns the realm.
func (f Flow) Realm() uint16 { return uint16(f.w >> realmShift) }

// Proto returns the protocol number.
func (f Flow) Proto() uint8 { return uint8(f.w >> protoShift) }

// SrcPort returns the source port, 0 unless it is present.
func (f Flow) SrcPort() uint16 { return uint16(f.w >> srcPortShift) }

// DstPort returns the destination port, 0 unless it is present.
func (f Flow) DstPort() uint16 { return uint16(f.w >> dstPortShift) }

// Src returns the source address, invalid for the zero Flow.
func (f Flow) Src() netip.Addr { return f.addr(f.a, f.b, 32) }

// Dst returns the destination address, invalid for the zero Flow.
func (f Flow) Dst() netip.Addr { return f.addr(f.c, f.d, 0) }

// addr unpacks the address in hi and lo, or at the shift in a.
func (f Flow) addr(hi, lo uint64, shift uint) netip.Addr {
	switch {
	case f.w == 0:
		return netip.Addr{}
	case f.w&flagSix == 0:
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(f.a>>shift))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b)
}

// Missing returns the ports that the protocol does not have.
func (f Flow) Missing() Fields { return f.ports(flagSrcNone, flagDstNone) }

// Unknown returns the ports that exist but are not known.
func (f Flow) Unknown() Fields { return f.ports(flagSrcUnknown, flagDstUnknown) }

// ports turns two flags into a set.
func (f Flow) ports(src, dst uint64) (set Fields) {
	if f.w&src != 0 {
		set |= SrcPort
	}
	if f.w&dst != 0 {
		set |= DstPort
	}
	return set
}

// Reverse returns the flow of packets that go the other way: source and destination
// swapped, with what is said about their ports. The realm stays.
func (f Flow) Reverse() Flow {
	if f.w&flagSix == 0 {
		f.a = f.a<<32 | f.a>>32
	} else {
		f.a, f.b, f.c, f.d = f.c, f.d, f.a, f.b
	}
	f.w = reverseWord(f.w)
	return f
}

// reverseWord swaps the ports in w and what is said of them.
func reverseWord(w uint64) uint64 {
	const low = 0xffff | 0xffff<<16 | flagsSrc | flagsDst
	return w&^low | w>>srcPortShift&0xffff | w&0xffff<<srcPortShift | w&flagsSrc<<1 | w&flagsDst>>1
}

// AppendTo appends the values of the given fields as ipfw writes the key of a table entry,
// "100.64.0.5,6,192.0.2.1,443", and returns the extended buffer. A port that the protocol
// lacks is 0, an unknown one "?". The zero Flow is "invalid".
func (f Flow) AppendTo(b []byte, fields Fields) []byte {
	if f.w == 0 {
		return append(b, "invalid"...)
	}
	start := len(b)
	for _, one := range fieldOrder {
		if fields&one == 0 {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		switch one {
		case Realm:
			b = strconv.AppendUint(b, uint64(f.Realm()), 10)
		case SrcIP:
			b = f.Src().AppendTo(b)
		case Proto:
			b = strconv.AppendUint(b, uint64(f.Proto()), 10)
		case DstIP:
			b = f.Dst().AppendTo(b)
		case SrcPort:
			b = appendPort(b, f.SrcPort(), f.w&flagSrcUnknown != 0)
		case DstPort:
			b = appendPort(b, f.DstPort(), f.w&flagDstUnknown != 0)
		}
	}
	return b
}

// appendPort appends a port, or a question mark.
func appendPort(b []byte, p uint16, unknown bool) []byte {
	if unknown {
		return append(b, '?')
	}
	return strconv.AppendUint(b, uint64(p), 10)
}

// Text returns the text of AppendTo.
func (f Flow) Text(fields Fields) string { return string(f.AppendTo(nil, fields)) }

// String returns the values of all fields, for people.
func (f Flow) String() string { return f.Text(AllFields) }
