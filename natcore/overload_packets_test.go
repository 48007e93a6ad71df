package natcore_test

import (
	"net/netip"
	"testing"

	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestOverloadStrangers: what comes to a shared port from a remote endpoint that none of its mappings serves reaches nobody, by whatever filtering; to a port with
// one mapping filtering decides.
func TestOverloadStrangers(t *testing.T) {
	for _, filtering := range []natcore.Behaviour{natcore.EndpointIndependent, natcore.AddressDependent, natcore.AddressAndPortDependent} {
		for _, k := range []kind{udp, tcp} {
			n := newNAT(t, overloading, func(c *natcore.Config) { c.Pools[0].Filtering = filtering })
			holder := n.fill(t, k)
			e := n.out(t, k, endpoint(hostA, 50000), s2p1)
			for p, src := range holder {
				open := p != e
				require.Equal(t, open && filtering == natcore.EndpointIndependent, n.passes(t, k, endpoint(stranger, 9), p, src))
				require.Equal(t, open && filtering != natcore.AddressAndPortDependent, n.passes(t, k, s1p2, p, src))
			}
			require.False(t, n.passes(t, k, s2p2, e, netip.AddrPort{}))
			require.True(t, n.passes(t, k, s2p1, e, endpoint(hostA, 50000)))
			require.True(t, n.passes(t, k, s1p1, e, holder[e]))
			check(t, n)
		}
	}
}

// TestOverloadErrorsAndHairpins: an ICMP error about a packet of a shared port reaches the host that sent the packet; hairpinning packets meet
// the mapping that serves their sender.
func TestOverloadErrorsAndHairpins(t *testing.T) {
	n := newNAT(t, overloading)
	holder := n.fill(t, udp)
	other := endpoint(hostA, 50000)
	e := n.out(t, udp, other, s2p1)
	for remote, src := range map[netip.AddrPort]netip.AddrPort{s1p1: holder[e], s2p1: other} {
		quote := build(t, udp, e, remote, nil, tcpFlags{})
		b := icmpError(t, router, e.Addr(), 3, 3, [4]byte{}, quote)
		verdict, why := n.Inbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, src.Addr().AsSlice(), b[16:20])
		require.Equal(t, src.Port(), uint16(b[48])<<8|uint16(b[49]), "the quoted source")
	}
	b := icmpError(t, router, e.Addr(), 3, 3, [4]byte{}, build(t, udp, e, endpoint(stranger, 1), nil, tcpFlags{}))
	verdict, why := n.Inbound(b, n.now)
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, natcore.ReasonICMPNoMatch, why)

	// A packet to a shared port from inside comes from an external endpoint that none of the mappings serves.
	before := n.Stats()
	_, verdict, why = n.try(t, udp, endpoint(hostA, 52000), e)
	require.Equal(t, natcore.Drop, verdict, why)
	require.Equal(t, []uint64{before.Sessions, before.Mappings}, []uint64{n.Stats().Sessions, n.Stats().Mappings})
	for p := range holder {
		if p == e {
			continue
		}
		// To a port with one mapping it goes by filtering, from a port that it shares.
		from, verdict, why := n.try(t, udp, endpoint(hostA, 52001), p)
		require.Equal(t, natcore.Hairpin, verdict, why)
		require.Contains(t, holder, from)
		break
	}
	check(t, n)
}

// TestOverloadUDPLite: a port serves UDP or UDP-Lite, and shared it does so too.
func TestOverloadUDPLite(t *testing.T) {
	n := newNAT(t, overloading)
	for i := range 8 {
		n.out(t, udp, endpoint(hostA, 40000+i), s1p1)
	}
	liteOut := func(port int, dst netip.AddrPort, want natcore.Verdict) netip.AddrPort {
		b := udpLite(t, endpoint(hostA, port), dst, 8, []byte("payload"))
		batch := []natcore.Packet{{Bytes: b}}
		n.Process(batch, n.now)
		require.Equal(t, want, batch[0].Verdict, batch[0].Reason)
		src, _ := readLite(t, b)
		return src
	}
	lites := map[netip.AddrPort]bool{}
	for i := range 8 {
		lites[liteOut(40000+i, s1p1, natcore.Forward)] = true
	}
	require.Len(t, lites, 8)
	for i := range 8 {
		require.False(t, lites[n.out(t, udp, endpoint(hostA, 50000+i), s2p1)])
		require.True(t, lites[liteOut(50000+i, s2p1, natcore.Forward)])
	}
	require.Equal(t, natcore.ReasonBlocksExhausted, n.refusal(t, 0, udp, endpoint(hostA, 51000), s2p1))
	liteOut(51000, s2p1, natcore.Drop)
	check(t, n)
}

// TestOverloadInClasses: where classes of remotes are port spaces of their own, a port is shared within each, by another host in each.
func TestOverloadInClasses(t *testing.T) {
	n := overlapping(t, func(c *natcore.Config) {
		p := &c.Pools[0]
		p.Mapping, p.Overload, p.Blocks.MaxBlocks, p.Blocks.Ports = natcore.AddressAndPortDependent, true, 1, portblock.RangeOf(1024, 1039)
	})
	owner := map[netip.AddrPort]map[netip.AddrPort]netip.AddrPort{} // by external and remote endpoint
	for i := range 64 {
		for h, server := range map[netip.Addr]netip.Addr{hostA: server1, hostB: server2} {
			src, dst := endpoint(h, 40000+i), endpoint(server, 1000+i%4)
			e := n.out(t, udp, src, dst)
			if owner[e] == nil {
				owner[e] = map[netip.AddrPort]netip.AddrPort{}
			}
			require.NotContains(t, owner[e], dst)
			owner[e][dst] = src
		}
	}
	require.Len(t, owner, 16)
	for e, all := range owner {
		require.Len(t, all, 8, "four remote endpoints in each class")
		for dst, src := range all {
			require.True(t, n.passes(t, udp, dst, e, src))
		}
		require.False(t, n.passes(t, udp, endpoint(server1, 9), e, netip.AddrPort{}))
	}
	check(t, n)
}

// TestOverloadNothingAllocatedPerPacket: a packet of a session at a shared port allocates nothing.
func TestOverloadNothingAllocatedPerPacket(t *testing.T) {
	n := newNAT(t, overloading)
	n.fill(t, udp)
	src := endpoint(hostA, 50000)
	e := n.out(t, udp, src, s2p1)
	out, in := build(t, udp, src, s2p1, nil, tcpFlags{}), build(t, udp, s2p1, e, nil, tcpFlags{})
	scratch := make([]byte, 100)
	for d, b := range map[natcore.Direction][]byte{natcore.Outbound: out, natcore.Inbound: in} {
		batch := []natcore.Packet{{Direction: d}}
		require.Zero(t, testing.AllocsPerRun(200, func() {
			batch[0].Bytes = scratch[:copy(scratch, b)]
			n.Process(batch, n.now)
			require.Equal(t, natcore.Forward, batch[0].Verdict)
		}))
	}
	refused := build(t, udp, endpoint(hostA, 51000), s1p1, nil, tcpFlags{})
	batch := []natcore.Packet{{}}
	require.Zero(t, testing.AllocsPerRun(200, func() {
		batch[0].Bytes = scratch[:copy(scratch, refused)]
		n.Process(batch, n.now)
		require.Equal(t, natcore.Drop, batch[0].Verdict)
	}), "a refusal for want of ports that fit")
}
