package natcore_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// twoClasses splits the remote endpoints by the lowest bit of their port.
func twoClasses(c *natcore.Config) {
	c.Pools[0].Select = flowmask.MustParseMask("0.0.0.1", "flow:src-ip")
	c.Pools[0].Remotes = flowmask.MustParseMask("1", "flow:dst-port")
}

// TestScanFromInsideLeavesNothing: a host that sends to every port of the pool where nobody listens gets no session, no
// mapping, no block and no record.
func TestScanFromInsideLeavesNothing(t *testing.T) {
	n := newNAT(t)
	n.out(t, tcp, endpoint(hostB, 5000), endpoint(server1, 80))
	before := n.Stats()
	records := n.log.Len()
	for _, addr := range []string{"203.0.113.5", "203.0.113.6"} {
		for port := 1; port < 65536; port += 97 {
			for _, k := range []kind{udp, icmp, tcp} {
				if k == tcp && port%2 == 0 {
					continue
				}
				b := build(t, k, endpoint(hostA, 5000), endpoint(netip.MustParseAddr(addr), port), nil, tcpFlags{syn: true})
				if k == icmp {
					b = build(t, k, endpoint(hostA, port), endpoint(netip.MustParseAddr(addr), 0), nil, tcpFlags{})
				}
				sent := bytes.Clone(b)
				verdict, _ := n.Outbound(b, n.now)
				require.Equal(t, natcore.Drop, verdict, "%v to %v:%d", k, addr, port)
				require.Equal(t, sent, b)
			}
		}
	}
	after := n.Stats()
	before.Packets, before.Drops = after.Packets, after.Drops
	require.Equal(t, before, after)
	require.Equal(t, records, n.log.Len())
	check(t, n)
}

// TestDroppedHairpinLeavesNoSession: what arrives nowhere, with classes of remotes, by filtering or
// by the host's own limits, makes neither session nor mapping, and its bytes are as they came.
func TestDroppedHairpinLeavesNoSession(t *testing.T) {
	for name, change := range map[string]func(*natcore.Config){
		"plain":    func(*natcore.Config) {},
		"classes":  twoClasses,
		"filtered": func(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressAndPortDependent },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNAT(t, change)
			for _, k := range []kind{udp, tcp, icmp} {
				held := n.out(t, k, endpoint(hostB, 5000), endpoint(server1, 80))
				before := n.Stats()
				for i := range 100 {
					to := endpoint(held.Addr(), 2000+i)
					if name == "filtered" {
						to = held
					} else if to == held {
						continue
					}
					if k == icmp {
						to = endpoint(held.Addr(), 0)
					}
					_, verdict, _ := n.try(t, k, endpoint(hostA, 5000), to)
					require.Equal(t, natcore.Drop, verdict)
				}
				st := n.Stats()
				require.Equal(t, before.Sessions, st.Sessions)
				require.Equal(t, before.Mappings, st.Mappings)
				check(t, n)
			}
			n.rest()
			n.empty(t)
		})
	}
}

// TestDroppedHairpinKeepsAllChecksums: bytes are restored, not computed back: 0xffff and 0 are the same sum and not the same bytes.
func TestDroppedHairpinKeepsAllChecksums(t *testing.T) {
	for _, change := range []func(*natcore.Config){
		func(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressAndPortDependent },
		func(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressAndPortDependent; twoClasses(c) },
	} {
		for _, k := range []kind{udp, tcp} {
			n := newNAT(t, change)
			e := n.out(t, k, endpoint(hostB, 5000), endpoint(server1, 80))
			b := build(t, k, endpoint(hostA, 4000), e, nil, tcpFlags{syn: true, seq: 1})
			at := map[kind]int{udp: 26, tcp: 36}[k]
			for _, header := range []int{-1, 0, 0xffff} {
				for _, transport := range []int{-1, 0, 0xffff} {
					c := bytes.Clone(b)
					if header >= 0 {
						c[10], c[11] = byte(header), byte(header)
					}
					if transport >= 0 {
						c[at], c[at+1] = byte(transport), byte(transport)
					}
					sent := bytes.Clone(c)
					verdict, why := n.Outbound(c, n.now)
					require.Equal(t, natcore.Drop, verdict)
					require.Contains(t, []natcore.Reason{natcore.ReasonFiltered, natcore.ReasonNoMapping}, why) // the class is that of the sender's port
					require.Equal(t, sent, c)
				}
			}
		}
	}
}

// TestDroppedErrorIsAsItCame: an internal host's error to an external address of this NAT, about a packet that did not
// come from there, is dropped with all its bytes.
func TestDroppedErrorIsAsItCame(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, udp, endpoint(hostB, 5000), endpoint(server1, 80))
	arrived := build(t, udp, endpoint(server1, 80), e, []byte("x"), tcpFlags{})
	verdict, why := n.Inbound(arrived, n.now)
	require.Equal(t, natcore.Forward, verdict, why)
	for _, to := range []netip.Addr{e.Addr(), netip.MustParseAddr("203.0.113.6")} {
		b := icmpError(t, hostB, to, 3, 3, [4]byte{}, arrived)
		sent := bytes.Clone(b)
		verdict, why = n.Outbound(b, n.now)
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonICMPNoMatch, why)
		require.Equal(t, sent, b)
	}
	// The same with a wish for 0xffff where the quoted checksum is 0.
	quote := bytes.Clone(arrived)
	quote[26], quote[27] = 0, 0
	b := icmpError(t, hostB, e.Addr(), 3, 3, [4]byte{}, quote)
	sent := bytes.Clone(b)
	verdict, _ = n.Outbound(b, n.now)
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, sent, b)
}

// TestErrorsAboutOtherTransports: an error that quotes UDP-Lite, which is never translated, is not one about an echo
// whose identifier is in its place.
func TestErrorsAboutOtherTransports(t *testing.T) {
	for _, proto := range []byte{136, 33, 132, 47} {
		n := newNAT(t)
		e := n.out(t, icmp, endpoint(hostA, 77), endpoint(server1, 0))
		for _, port := range []int{int(e.Port()), 0, 77} {
			quote := build(t, udp, endpoint(e.Addr(), port), endpoint(server1, 53), []byte("x"), tcpFlags{})
			quote[9] = proto
			quote = refit(quote)
			verdict, why := n.Inbound(icmpError(t, router, e.Addr(), 3, 3, [4]byte{}, quote), n.now)
			require.Equal(t, natcore.Drop, verdict)
			require.Equal(t, natcore.ReasonICMPNoMatch, why)
		}
	}
}

// TestPermitsOfOneClassServeNoOther: a remote address that a host of one class has written to does not reach
// the holder of the same external port in another class (RFC 4787 REQ-8).
func TestPermitsOfOneClassServeNoOther(t *testing.T) {
	n := newNAT(t, small(1024, 1039, 16), twoClasses, func(c *natcore.Config) {
		c.Pools[0].Filtering, c.Shards = natcore.AddressDependent, 1
	})
	ports := map[uint16]bool{}
	for i := range 16 {
		ports[n.out(t, udp, endpoint(hostA, 5000+i), endpoint(server1, 80)).Port()] = true
	}
	e := n.out(t, udp, endpoint(hostB, 6000), endpoint(server2, 81))
	require.True(t, ports[e.Port()], "the same port in the other class")
	_, verdict, why := n.in(t, udp, endpoint(server1, 81), e)
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, natcore.ReasonFiltered, why)
	to, verdict, why := n.in(t, udp, endpoint(server2, 83), e)
	require.Equal(t, natcore.Forward, verdict, why)
	require.Equal(t, endpoint(hostB, 6000), to)
}

// TestPermitsAreCounted: a remote address may send as long as one of several sessions with it lasts, and no longer.
func TestPermitsAreCounted(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressDependent })
	a := endpoint(hostA, 5000)
	e := n.out(t, udp, a, endpoint(server1, 1))
	n.out(t, udp, a, endpoint(server1, 2))
	enter := func() natcore.Verdict {
		_, verdict, _ := n.in(t, udp, endpoint(server1, 9), e)
		return verdict
	}
	require.Equal(t, natcore.Forward, enter())
	keep := func(to ...netip.AddrPort) {
		for range 2 {
			n.wait(200e9)
			for _, r := range to {
				n.out(t, udp, a, r)
			}
			n.expire()
		}
	}
	keep(endpoint(server1, 2), endpoint(server2, 2))
	require.EqualValues(t, 2, n.Stats().Sessions)
	require.Equal(t, natcore.Forward, enter(), "one of two sessions is left")
	keep(endpoint(server2, 2))
	require.EqualValues(t, 1, n.Stats().Sessions)
	require.Equal(t, natcore.Drop, enter(), "none is left")
}

// TestOneEndpointInTwoPools: rules send one internal endpoint to two pools; it has a mapping in each, whichever came first.
func TestOneEndpointInTwoPools(t *testing.T) {
	pools := func(c *natcore.Config) {
		c.Pools = []natcore.PoolConfig{
			{Name: "a", Addresses: alloc.MustParseRanges("203.0.113.5")},
			{Name: "b", Addresses: alloc.MustParseRanges("192.0.2.5")},
		}
		c.Rules = []natcore.Rule{{Remote: netip.MustParsePrefix("198.51.100.20/32"), Pool: "b"}, {Pool: "a"}}
	}
	for _, known := range []bool{false, true} {
		for _, k := range []kind{udp, tcp, icmp} {
			n := newNAT(t, pools)
			if known {
				n.out(t, k, endpoint(hostA, 999), endpoint(server2, 53))
			}
			byA := n.out(t, k, endpoint(hostA, 1000), endpoint(server1, 53))
			byB := n.out(t, k, endpoint(hostA, 1000), endpoint(server2, 53))
			require.Equal(t, "203.0.113.5", byA.Addr().String())
			require.Equal(t, "192.0.2.5", byB.Addr().String())
			for remote, e := range map[netip.Addr]netip.AddrPort{server1: byA, server2: byB} {
				src := endpoint(remote, 53)
				if k == icmp {
					src = endpoint(remote, 0)
				}
				to, verdict, why := n.in(t, k, src, e, tcpFlags{syn: true, ack: true, seq: 1})
				require.Equal(t, natcore.Forward, verdict, why)
				require.Equal(t, endpoint(hostA, 1000), to)
			}
			check(t, n)
			n.rest()
			n.empty(t)
		}
	}
}
