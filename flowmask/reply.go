package flowmask

import "net/netip"

// ReplyPlan says what a NAT's external address and port tell about the outbound flow.
// The zero plan is that of the bug report: the external address, all of it, tells the selected bits
// of the source address, and the external port tells nothing.
type ReplyPlan struct {
	// External selects the bits of the external address that tell; the invalid Addr selects all.
	External netip.Addr
	// Tells are further fields whose selected bits the external address tells: SrcPort, Realm.
	Tells Fields
	// KeepsPort says that the external port has the selected source port bits of the internal one.
	KeepsPort bool
}

// Reply derives the mask for packets that return, for this mask of outbound packets.
func (m Mask) Reply(p ReplyPlan) (Mask, error) { return Mask{}, nil }

// ReplyFlow returns the flow of the answer to f, as it arrives at the NAT that translated the
// source of f to external.
func ReplyFlow(f Flow, external netip.AddrPort) Flow { return Flow{} }

// ReplyTable derives the table for packets that return from the table for outbound packets.
func ReplyTable[V any](out *Table[V], p ReplyPlan, key [16]byte, external func(Flow, V) netip.Addr) (*Table[V], error) {
	return nil, nil
}
