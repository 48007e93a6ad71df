package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/natcore/nattest"
)

// gvisorNAT is gVisor's netstack as a router with an SNAT rule on its external interface. A rule of that kind hairpins nothing. Its
// mapping is none of the RFC's: a port is kept while no other connection is in the way, and each connection has one of its own then.
type gvisorNAT struct{ stack *peer.Gvisor }

var gvisorSubject = nattest.Subject{
	New:   newGvisor,
	Lacks: nattest.Hairpin,
	Hops:  1,
}

func newGvisor(c nattest.Config) (nattest.NAT, error) {
	err := notOffered(c)
	for what, asked := range map[string]bool{
		"a choice of mapping":   c.Mapping != nattest.Unset,
		"a choice of filtering": c.Filtering != nattest.Unset && c.Filtering != nattest.AddressAndPortDependent,
		"a timer for UDP":       c.UDPTimeout > 0,
	} {
		if asked {
			err = errors.Join(err, fmt.Errorf("%s: %w", what, nattest.ErrNotOffered))
		}
	}
	if err != nil {
		return nil, err
	}
	g, err := peer.NewGvisor(c.Now, c.Internal, netip.PrefixFrom(c.External[0], 32))
	return &gvisorNAT{g}, err
}

func (n *gvisorNAT) Outbound(b []byte, now time.Time) []nattest.Packet {
	return n.pass(peer.Out, b, now)
}
func (n *gvisorNAT) Inbound(b []byte, now time.Time) []nattest.Packet { return n.pass(peer.In, b, now) }

func (n *gvisorNAT) pass(d peer.Direction, b []byte, now time.Time) (all []nattest.Packet) {
	onward, back := n.stack.Send(d, b, now)
	for _, p := range onward {
		all = append(all, nattest.Packet{Bytes: p, Inside: d == peer.In})
	}
	for _, p := range back {
		all = append(all, nattest.Packet{Bytes: p, Inside: d == peer.Out})
	}
	return all
}

func (n *gvisorNAT) Advance(now time.Time) []nattest.Packet {
	n.stack.Expire(now)
	return nil
}

func (n *gvisorNAT) Close() error {
	n.stack.Close()
	return nil
}
