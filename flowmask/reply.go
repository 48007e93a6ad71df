package flowmask

import (
	"errors"
	"net/netip"
)

// ReplyPlan says what a NAT's external address and port tell about the internal side of a
// flow, which a reply does not carry. The zero plan is that of the bug report: the external
// address, all of it, tells the selected bits of the internal address, and nothing tells
// more.
type ReplyPlan struct {
	// External selects the bits of the external address that tell. The invalid Addr selects
	// all, in the family of the mask; of a mask without address fields that is IPv4.
	External netip.Addr
	// Tells names further fields whose selected bits the external address tells: SrcPort,
	// Realm. Others are ignored.
	Tells Fields
	// KeepsPort says that the external port (or ICMP identifier) keeps the bits that the
	// mask selects of the internal source port, as a NAT does that preserves parity, or the
	// port itself.
	KeepsPort bool
}

// ReplyError says which field stands in the way of inverting a mask. It matches
// ErrNotInvertible.
type ReplyError struct {
	Mask   Mask
	Field  Fields
	Reason string
}

// Error names mask, field and reason.
func (e *ReplyError) Error() string {
	return "flowmask: mask " + e.Mask.String() + " has no reply mask: " + e.Field.name() + ": " + e.Reason
}

// Is reports whether target is ErrNotInvertible.
func (e *ReplyError) Is(target error) bool { return target == ErrNotInvertible }

// Reply derives, for this mask of outbound packets, the mask for packets that return. What
// the outbound mask selects of the destination and of the protocol, the reply mask selects
// of the source and of the protocol:
//
//	outbound mask selects    the reply shows it as    so the reply mask selects
//	dst-ip bits              src-ip                   the same bits of src-ip
//	dst-port bits            src-port                 the same bits of src-port
//	proto bits               proto                    the same bits of proto
//	src-ip bits              nothing                  the external address in dst-ip
//	src-port bits            nothing                  see below
//	realm bits               nothing                  see below
//
// The last three are gone: the NAT has put its own address and port in their place. Bits of
// src-ip can be had back only through the external address, if the plan of addresses gives
// a different one to each value of these bits (among instances that are otherwise alike).
// Bits of src-port and realm need a plan that says so: KeepsPort, or Tells. Without it
// Reply returns a *ReplyError that names the field. So it does when External selects no bit
// although the address is to tell something, or is of another family than the mask.
//
// Reply cannot know whether the addresses in use keep the plan. ReplyTable does.
//
// A mask that selects nothing but dst-ip, dst-port and proto is inverted as it is: the
// external address then is not in the reply mask, unless External asks for it.
func (m Mask) Reply(p ReplyPlan) (Mask, error) {
	fault := func(f Fields, why string) (Mask, error) { return Mask{}, &ReplyError{Mask: m, Field: f, Reason: why} }
	out := m.Bits()
	in := Bits{Proto: out.Proto, Src: out.Dst, SrcPort: out.DstPort}
	fields := m.fields & Proto
	if m.fields&DstIP != 0 {
		fields |= SrcIP
	}
	if m.fields&DstPort != 0 {
		fields |= SrcPort
	}
	address := onesOf(out.Src) > 0
	if out.SrcPort != 0 {
		switch {
		case p.KeepsPort:
			fields |= DstPort
			in.DstPort = out.SrcPort
		case p.Tells&SrcPort != 0:
			address = true
		default:
			return fault(SrcPort, "a reply does not carry the internal port; "+
				"the plan must say that the external port keeps these bits, or that the external address tells them")
		}
	}
	if out.Realm != 0 {
		if p.Tells&Realm == 0 {
			return fault(Realm, "a reply does not carry the internal realm; the plan must say that the external address tells it")
		}
		address = true
	}
	if address || p.External.IsValid() {
		fields |= DstIP
		in.Dst = p.External
		if !in.Dst.IsValid() {
			in.Dst = FullMask(DstIP, m.six).Bits().Dst
		}
		switch {
		case in.Src.IsValid() && in.Src.BitLen() != in.Dst.BitLen():
			return fault(DstIP, "the external address is of another family than the remote address")
		case address && onesOf(in.Dst) == 0:
			return fault(SrcIP, "the external address is to tell the internal side, but none of its bits is selected")
		}
	}
	return NewMask(fields, in)
}

// ReplyFlow returns the answer to f as it arrives at a NAT that translated the source of f
// to external: the remote endpoint as source, the external endpoint as destination. Its
// realm is 0, that of the outside. Ports that f lacks or does not know are lacking or
// unknown on the other side here. The external address is of the family of f, or the result
// is the zero Flow.
func ReplyFlow(f Flow, external netip.AddrPort) Flow {
	r := newFlow(f.Dst(), external.Addr().Unmap())
	if !f.IsValid() || !r.IsValid() || !external.Addr().IsValid() {
		return Flow{}
	}
	const low = 0xffff | 0xffff<<16 | flagsSrc | flagsDst | 0xff<<protoShift
	r.w |= f.Reverse().w & low &^ 0xffff
	if f.w&flagsSrc == 0 {
		r.w |= uint64(external.Port())
	}
	return r
}

// ReplyConflictError names two outbound entries whose replies cannot be told apart. It
// matches ErrReplyConflict.
type ReplyConflictError struct {
	// Mask is the outbound mask, Reply the one derived from it.
	Mask, Reply Mask
	// First and Second are the outbound entries as they were inserted.
	First, Second Flow
	// FirstAddr and SecondAddr are their external addresses.
	FirstAddr, SecondAddr netip.Addr
}

// Error names the entries, their addresses and the reply mask.
func (e *ReplyConflictError) Error() string {
	f := e.Mask.Fields()
	return "flowmask: replies to " + e.First.Text(f) + " at " + e.FirstAddr.String() + " and to " + e.Second.Text(f) + " at " +
		e.SecondAddr.String() + " are one key under reply mask " + e.Reply.String() + " (" + e.Reply.Fields().String() + ")"
}

// Is reports whether target is ErrReplyConflict.
func (e *ReplyConflictError) Is(target error) bool { return target == ErrReplyConflict }

// ReplyTable derives the table for packets that return from the table for outbound packets,
// as natin follows from natout. Of each entry it takes the flow, the value (the instance)
// and the external address of that instance.
//
// It checks what Reply cannot: whether replies tell the instances apart. Where two entries
// of different values have the same reply key, it returns a *ReplyConflictError for each,
// joined, sixteen at most, and no table. Entries of one value may share a key. When it
// returns a table, then for every flow f that finds a value in out, every reply to f
// (ReplyFlow with the external address of that entry, and a port that keeps the plan) finds
// the same value in the result.
//
// Other errors are *ReplyError (see Mask.Reply) and *KeyError, for an external address that
// is invalid or of another family.
func ReplyTable[V comparable](out *Table[V], p ReplyPlan, key [16]byte, external func(Flow, V) netip.Addr) (*Table[V], error) {
	m, err := out.mask.Reply(p)
	if err != nil {
		return nil, err
	}
	in := NewTable[V](m, key)
	var firsts []int // for each entry of in, the entry of out that it comes from
	var faults []error
	for i := range out.entries {
		e := &out.entries[i]
		// The port of an entry is its own: only the bits that the plan keeps are looked at.
		addr := external(e.flow, e.value)
		r := ReplyFlow(e.flow, netip.AddrPortFrom(addr, e.flow.SrcPort()))
		if err := m.Check(r); err != nil {
			faults = append(faults, err)
		} else if j := in.find(&r); j < 0 {
			in.add(r, e.value)
			firsts = append(firsts, i)
		} else if in.entries[j].value != e.value {
			faults = append(faults, &ReplyConflictError{
				Mask: out.mask, Reply: m, First: out.entries[firsts[j]].flow, Second: e.flow,
				FirstAddr: in.entries[j].flow.Dst(), SecondAddr: r.Dst(),
			})
		}
		if len(faults) == maxReported {
			break
		}
	}
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	return in, nil
}

// Reply returns the index for packets that return: for every flow f and reply r to it,
// x.Of(f) equals Reply(p).Of(r). One slice then serves both directions.
//
// For this the external address must carry the selected bits of the internal one: the bits
// that p.External selects, highest first, are those bits, highest first. With a mask of
// 0.0.0.127 for both, a client in 100.64.0.0/10 whose address ends in the bits of 5 leaves
// from the address whose last seven bits are 5. It returns a *ReplyError if p.External does
// not select as many bits as the mask selects of src-ip (the invalid Addr stands for the
// same bits), or where Mask.Reply does. Tells has no use here: a field that the address
// tells besides has no bits to be found in.
func (x *Index) Reply(p ReplyPlan) (*Index, error) {
	out := x.mask.Bits()
	if !p.External.IsValid() {
		p.External = out.Src
	}
	if a, b := onesOf(p.External), onesOf(out.Src); a != b {
		return nil, &ReplyError{Mask: x.mask, Field: SrcIP, Reason: "the external address mask does not select as many bits"}
	}
	if onesOf(out.Src) == 0 {
		p.External = netip.Addr{}
	}
	p.Tells = 0
	m, err := x.mask.Reply(p)
	if err != nil {
		return nil, err
	}
	var list []bit
	for _, f := range fieldOrder {
		if x.mask.fields&f != 0 {
			list = append(list, m.fieldBits(opposite(f))...)
		}
	}
	return newIndex(m, list), nil
}

// opposite returns the field of a reply that stands for a field of the request.
func opposite(f Fields) Fields {
	switch f {
	case SrcIP:
		return DstIP
	case DstIP:
		return SrcIP
	case SrcPort:
		return DstPort
	case DstPort:
		return SrcPort
	}
	return f
}
