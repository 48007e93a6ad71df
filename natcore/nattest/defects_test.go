package nattest_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/blocknat/blocknat/natcore/nattest"
)

// The types here are NATs with a defect that no change of packets makes.

// orElse returns fallback where a NAT sends nothing.
func orElse(got []nattest.Packet, fallback ...nattest.Packet) []nattest.Packet {
	if len(got) > 0 {
		return got
	}
	return fallback
}

// forwardMalformed forwards what no parser can read.
type forwardMalformed struct{ nattest.NAT }

func malformed(b []byte) bool {
	return len(b) >= 28 && (b[0]>>4 != 4 || size(b) < 20 || int(binary.BigEndian.Uint16(b[2:])) < 28)
}

func (n forwardMalformed) Inbound(b []byte, now time.Time) []nattest.Packet {
	if malformed(b) {
		return []nattest.Packet{{Bytes: b, Inside: true}}
	}
	return n.NAT.Inbound(b, now)
}

// forwardTiny forwards fragments that are too short.
type forwardTiny struct{ nattest.NAT }

func (n forwardTiny) Inbound(b []byte, now time.Time) []nattest.Packet {
	tiny := len(b) == 28 && b[9] == 6
	copied := slices.Clone(b)
	got := n.NAT.Inbound(b, now)
	if tiny {
		return orElse(got, nattest.Packet{Bytes: copied, Inside: true})
	}
	return got
}

// forwardErrors forwards every ICMP error, and what looks like one.
type forwardErrors struct {
	nattest.NAT
	cfg nattest.Config
}

func (n forwardErrors) Inbound(b []byte, now time.Time) []nattest.Packet {
	copied := slices.Clone(b)
	got := n.NAT.Inbound(b, now)
	if len(copied) >= 28 && icmpError(copied) || copied[9] == 1 && copied[20] == 4 {
		copy(copied[16:20], []byte{10, 0, 0, 2})
		return orElse(got, nattest.Packet{Bytes: copied, Inside: true})
	}
	return got
}

func (n forwardErrors) Outbound(b []byte, now time.Time) []nattest.Packet {
	copied := slices.Clone(b)
	got := n.NAT.Outbound(b, now)
	if len(copied) >= 28 && icmpError(copied) {
		return orElse(got, nattest.Packet{Bytes: copied})
	}
	return got
}

// forwardUnknown forwards what it knows nothing of.
type forwardUnknown struct{ nattest.NAT }

func (n forwardUnknown) Outbound(b []byte, now time.Time) []nattest.Packet {
	copied := slices.Clone(b)
	return orElse(n.NAT.Outbound(b, now), nattest.Packet{Bytes: copied})
}

// answerSYN answers what it does not admit.
type answerSYN struct{ nattest.NAT }

func (n answerSYN) Inbound(b []byte, now time.Time) []nattest.Packet {
	copied := slices.Clone(b)
	return orElse(n.NAT.Inbound(b, now), nattest.Packet{Bytes: copied})
}

// refresher keeps all alive by whatever comes: it lets the last packet of a session leave once more.
type refresher struct {
	nattest.NAT
	last []byte
}

func (n *refresher) Outbound(b []byte, now time.Time) []nattest.Packet {
	if icmpError(b) {
		n.NAT.Outbound(slices.Clone(n.last), now)
	} else {
		n.last = slices.Clone(b)
	}
	return n.NAT.Outbound(b, now)
}

func (n *refresher) Inbound(b []byte, now time.Time) []nattest.Packet {
	if n.last != nil {
		n.NAT.Outbound(slices.Clone(n.last), now)
	}
	return n.NAT.Inbound(b, now)
}

// evict forgets everybody when a packet does not leave.
type evict struct {
	nattest.NAT
	fresh func() nattest.NAT
}

func (n *evict) Outbound(b []byte, now time.Time) []nattest.Packet {
	copied := slices.Clone(b)
	got := n.NAT.Outbound(b, now)
	if slices.ContainsFunc(got, func(p nattest.Packet) bool { return !p.Inside }) {
		return got
	}
	n.NAT = n.fresh()
	return n.NAT.Outbound(copied, now)
}

// overload has one external address and keeps every port, whoever asks for it.
type overload struct{ cfg nattest.Config }

func (n overload) Outbound(b []byte, _ time.Time) []nattest.Packet {
	a := n.cfg.External[0].As4()
	copy(b[12:16], a[:])
	repair(b)
	return []nattest.Packet{{Bytes: b}}
}

func (n overload) Inbound(b []byte, _ time.Time) []nattest.Packet {
	copy(b[16:20], []byte{10, 0, 0, 2})
	repair(b)
	return []nattest.Packet{{Bytes: b, Inside: true}}
}

func (overload) Advance(time.Time) []nattest.Packet { return nil }

// scatter keeps ports and takes the external addresses in turn.
type scatter struct {
	cfg  nattest.Config
	next int
	held map[netip.AddrPort]int
	host map[netip.AddrPort][]byte
}

func (n *scatter) Outbound(b []byte, _ time.Time) []nattest.Packet {
	if n.held == nil {
		n.held, n.host = map[netip.AddrPort]int{}, map[netip.AddrPort][]byte{}
	}
	src := source(b)
	if b[9] == 1 {
		src = netip.AddrPortFrom(src.Addr(), 1)
	}
	if _, ok := n.held[src]; !ok {
		n.held[src] = n.next % len(n.cfg.External)
		n.next++
	}
	a := n.cfg.External[n.held[src]].As4()
	n.host[netip.AddrPortFrom(netip.AddrFrom4(a), src.Port())] = slices.Clone(b[12:16])
	copy(b[12:16], a[:])
	repair(b)
	return []nattest.Packet{{Bytes: b}}
}

func (n *scatter) Inbound(b []byte, _ time.Time) []nattest.Packet {
	h := n.host[endpoint(b, 16, 2)]
	if h == nil {
		return nil
	}
	copy(b[16:20], h)
	repair(b)
	return []nattest.Packet{{Bytes: b, Inside: true}}
}

func (*scatter) Advance(time.Time) []nattest.Packet { return nil }
