package natcore_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

func filtered(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressAndPortDependent }

// TestRFC5382_04b_PortUnreachable: a SYN that is not admitted waits 6 s; its sender then gets one ICMP 3/3 that quotes it, from the address
// that it was sent to, however often it was repeated.
func TestRFC5382_04b_PortUnreachable(t *testing.T) {
	for name, mapped := range map[string]bool{"filtered": true, "nobody's": false} {
		t.Run(name, func(t *testing.T) {
			n := newNAT(t, filtered)
			external := endpoint(lowest, 5000)
			want := natcore.ReasonNoMapping
			if mapped {
				external, want = n.out(t, tcp, a40000, s2p2), natcore.ReasonFiltered
			}
			syn := build(t, tcp, s1p1, external, nil, tcpFlags{syn: true, seq: 77})
			for range 3 {
				require.Empty(t, n.answer(t, natcore.Packet{Bytes: bytes.Clone(syn), Direction: natcore.Inbound}, want))
				n.wait(time.Second)
			}
			require.EqualValues(t, 1, n.Stats().SYNsHeld)
			n.wait(3*time.Second - time.Millisecond)
			n.expire()
			require.Empty(t, n.Drain(nil), "5.999 s")
			n.wait(time.Millisecond)
			n.expire()
			require.Equal(t, []natcore.Packet{{
				Bytes: ownError(t, external.Addr(), server1, 3, 3, 0, syn), Direction: natcore.Outbound, Verdict: natcore.Forward, Flags: natcore.Generated,
			}}, n.Drain(nil))
			require.Zero(t, n.Stats().SYNsHeld)
			n.wait(time.Minute)
			n.expire()
			require.Empty(t, n.Drain(nil), "one")
			check(t, n)
		})
	}
}

// TestRFC5382_04a_OpenedMeanwhile: the internal end opens the same connection while the SYN waits, and nobody is ever told.
func TestRFC5382_04a_OpenedMeanwhile(t *testing.T) {
	n := newNAT(t, filtered)
	c := n.connection()
	c.external = n.out(t, tcp, a40000, s2p2)
	_, why := c.try(t, "<S=")
	require.Equal(t, natcore.ReasonFiltered, why)
	require.EqualValues(t, 1, n.Stats().SYNsHeld)
	n.wait(3 * time.Second)
	c.play(t, ">S")
	c.last[natcore.Inbound], c.next[natcore.Inbound] = 5000, 5001
	c.play(t, "<S= >SA <SA")
	require.Equal(t, "established", c.state())
	for range 10 {
		n.wait(time.Second)
		n.expire()
		require.Empty(t, n.Drain(nil))
	}
	require.Zero(t, n.Stats().SYNsHeld)
}

// TestRFC5382_04c_SilentWhereTooManyWait: SYNs wait within the limits, of one remote address, to one subscriber, and in all; and not at all
// where that is chosen. Only SYNs do.
//
// Rows: ATK-09.
func TestRFC5382_04c_SilentWhereTooManyWait(t *testing.T) {
	n := newNAT(t, filtered, func(c *natcore.Config) {
		c.ICMP.SYNs, c.ICMP.SYNsPerAddress = 50, 8
		c.ICMP.PerReceiver = 100
	})
	other := netip.MustParseAddr("203.0.113.6")
	syn := func(src netip.Addr, port int, to netip.AddrPort) {
		_, verdict, _ := n.in(t, tcp, endpoint(src, port), to, tcpFlags{syn: true})
		require.Equal(t, natcore.Drop, verdict)
	}
	held := func() int { return int(n.Stats().SYNsHeld) }
	for i := range 100 {
		syn(server1, 1+i, endpoint(lowest, 2000+i))
	}
	require.Equal(t, 8, held(), "of one address, to nobody's ports of one address")
	for i := range 100 {
		syn(host(i), 1, endpoint(other, 2000))
	}
	require.Equal(t, 16, held(), "from many to one address")
	for h := range 20 {
		e := n.out(t, tcp, endpoint(host(1000+h), 1), s2p2)
		for i := range 20 {
			syn(netip.AddrFrom4([4]byte{198, 18, byte(h), byte(i)}), 1, e)
		}
		require.Equal(t, min(50, 16+8*(h+1)), held(), "to subscribers that share addresses")
	}
	for _, f := range []tcpFlags{{ack: true}, {syn: true, ack: true}, {fin: true}, {rst: true}, {syn: true, rst: true}} {
		n.wait(7 * time.Second)
		n.expire()
		n.Drain(nil)
		n.in(t, tcp, endpoint(server1, 9), endpoint(lowest, 9999), f)
		n.in(t, udp, endpoint(server1, 9), endpoint(lowest, 9999))
		require.Zero(t, held(), "%+v", f)
	}
	for i := range 8 {
		syn(server1, 1+i, endpoint(lowest, 3000+i))
	}
	require.Equal(t, 8, held(), "the room comes back")
	n.wait(6 * time.Second)
	require.Len(t, n.Drain(nil), 0, "the clock of Drain is the engine's")
	n.Outbound(nil, n.now)
	require.Len(t, n.Drain(nil), 8, "Drain looks for waits that are over, too")

	for _, off := range []func(*natcore.Config){
		func(c *natcore.Config) { c.ICMP.SYNWait = -1 }, func(c *natcore.Config) { c.ICMP.Off = true },
	} {
		n = newNAT(t, filtered, off)
		syn(server1, 1, endpoint(lowest, 2000))
		require.Zero(t, held())
		n.wait(time.Minute)
		n.expire()
		require.Empty(t, n.Drain(nil))
	}
}

// TestRFC5382_04a_StaticMappings: the same holds where the internal end has a static mapping.
func TestRFC5382_04a_StaticMappings(t *testing.T) {
	for _, opens := range []bool{true, false} {
		n := newNAT(t, withStatic(natcore.Static{
			Name: "one", Protocol: 6, External: ip("192.0.2.9"), ExternalPort: 80, Internal: hostA, Filtering: natcore.AddressAndPortDependent,
		}))
		syn := build(t, tcp, endpoint(server1, 7), at("192.0.2.9:80"), nil, tcpFlags{syn: true, seq: 5})
		require.Empty(t, n.answer(t, natcore.Packet{Bytes: bytes.Clone(syn), Direction: natcore.Inbound}, natcore.ReasonFiltered))
		n.wait(3 * time.Second)
		if opens {
			require.Equal(t, at("192.0.2.9:80"), n.out(t, tcp, endpoint(hostA, 80), endpoint(server1, 7)))
			require.Equal(t, natcore.Forward, n.comes(t, tcp, endpoint(server1, 7), at("192.0.2.9:80"), synFlags).verdict)
		}
		n.wait(3 * time.Second)
		n.expire()
		got := n.Drain(nil)
		if opens {
			require.Empty(t, got)
			continue
		}
		require.Len(t, got, 1)
		require.Equal(t, ownError(t, ip("192.0.2.9"), server1, 3, 3, 0, syn), got[0].Bytes)
	}
}
