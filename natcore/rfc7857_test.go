package natcore_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestRFC7857_01_StateMachine walks through figure 1: after each segment the session is in the state that the table wants.
func TestRFC7857_01_StateMachine(t *testing.T) {
	for _, walk := range []string{
		">S opening <SA opening >A established >D established >FA fin-internal <FA closing >A closing",
		">S opening <SA opening >A established <FA fin-remote >A fin-remote >FA closing <A closing",
		">S opening >S= opening <SA opening <SA= opening >A established >S! established <SA= established",
		">S opening <SA opening >A established <R reset >A established >R reset >R reset <D established",
		">S opening <SA opening >A established >FA fin-internal >R reset <D established",
		">S opening <SA opening >A established >FA fin-internal <D fin-internal >A fin-internal <FA closing",
		">S opening <F! opening <D opening >D opening",
		">S opening <RA opening",
		">S opening <SA opening >A established >FA fin-internal >FA= fin-internal <A fin-internal <FA closing",
		">S opening <SA opening >A established <FA fin-remote <FA= fin-remote >A fin-remote >FA closing",
		">S opening <S opening >SA opening <SA established",
	} {
		t.Run(walk, func(t *testing.T) {
			c := newNAT(t).connection()
			steps := strings.Fields(walk)
			for i := 0; i < len(steps); i += 2 {
				c.play(t, steps[i])
				require.Equal(t, steps[i+1], c.state(), "after %s", strings.Join(steps[:i+1], " "))
			}
			check(t, c.n)
		})
	}
	// What only the remote end sends does not establish a connection: the internal end has to answer its SYN.
	t.Run("7857-01b", func(t *testing.T) {
		for _, remote := range []string{"<A", "<D", "<SA", "<SA <D <D", "<FA"} {
			n := newNAT(t)
			c := n.connection().play(t, ">S "+remote)
			require.Equal(t, "opening", c.state(), remote)
			n.lasts(t, 240*time.Second)
		}
	})
}

// TestRFC7857_02_TransitoryTimeouts: opening and closing have a timeout each; opening may be short.
//
// Rows: 7857-02b.
func TestRFC7857_02_TransitoryTimeouts(t *testing.T) {
	for opening, closing := range map[time.Duration]time.Duration{0: 0, 30 * time.Second: 0, 250 * time.Second: 400 * time.Second} {
		n := newNAT(t, func(c *natcore.Config) { c.Timeouts.TCPOpening, c.Timeouts.TCPClosing = opening, closing })
		or := func(d time.Duration) time.Duration {
			if d == 0 {
				return 240 * time.Second
			}
			return d
		}
		n.connection().play(t, ">S")
		n.lasts(t, or(opening))
		n.connection().play(t, handshake+"<FA >FA")
		n.lasts(t, or(closing))
	}
	// What follows the FINs of both ends passes and extends nothing.
	n := newNAT(t)
	conn := n.connection().play(t, handshake+">FA <FA")
	n.wait(200 * time.Second)
	conn.play(t, ">A <A >FA= <FA=")
	n.lasts(t, 40*time.Second)
	c := config(newNAT(t).log)
	c.Timeouts.TCPClosing = 240*time.Second - tick
	_, err := natcore.New(c, began)
	require.Error(t, err)
}

// TestRFC7857_03_ResetsPass: every RST of a session is forwarded, in the window or not, in every state.
func TestRFC7857_03_ResetsPass(t *testing.T) {
	for _, before := range []string{">S", ">S <SA", handshake, handshake + ">FA", handshake + ">FA <FA", handshake + ">R"} {
		for _, reset := range []string{">R", "<R", "<RA", ">R+", "<R+", "<R!"} {
			newNAT(t).connection().play(t, before+" "+reset)
		}
	}
}

// TestRFC7857_04_AfterReset: the session stays for 240 s; a packet brings it back; with none it goes.
//
// Rows: 5961-03.
func TestRFC7857_04_AfterReset(t *testing.T) {
	for _, reset := range []string{">R", "<R"} {
		n := newNAT(t)
		c := n.connection().play(t, handshake+reset)
		n.wait(100 * time.Second)
		c.play(t, ">D! <D! >R! <R") // what does not belong to the connection, and resets, do not count
		n.lasts(t, 140*time.Second)
		for _, back := range []string{">A", "<A", ">D", "<D"} {
			n := newNAT(t)
			c := n.connection().play(t, handshake+reset)
			n.wait(239 * time.Second)
			n.expire()
			require.Equal(t, "established", c.play(t, back).state(), back)
			n.lasts(t, 7440*time.Second)
		}
	}
}

// TestRFC7857_05_ResetsAreVerified: a RST counts only when it is the very next segment of its sender.
//
// Rows: 5961-01, 5961-02.
func TestRFC7857_05_ResetsAreVerified(t *testing.T) {
	for _, segment := range []string{"<R+", ">R+", "<R!", ">R!", "<RA+", "<S+", "<S!", ">S+"} {
		n := newNAT(t)
		c := n.connection().play(t, handshake+segment)
		require.Equal(t, "established", c.state(), segment)
		n.lasts(t, 7440*time.Second)
	}
	require.Equal(t, "reset", newNAT(t).connection().play(t, handshake+"<D <R").state())
}

// overlapping returns an engine whose one address has 64 ports for each of two classes of remotes; server 1 and server 2 are in different ones.
func overlapping(t failer, change ...func(*natcore.Config)) *nat {
	t.Helper()
	return newNAT(t, append([]func(*natcore.Config){func(c *natcore.Config) {
		p := &c.Pools[0]
		p.Addresses = alloc.MustParseRanges("203.0.113.5")
		p.Blocks.BlockSize, p.Blocks.MaxBlocks, p.Blocks.Ports = 16, 4, portblock.RangeOf(1024, 1024+63)
		p.Select = flowmask.MustParseMask("0.0.0.1", "flow:src-ip")
		p.Remotes = flowmask.MustParseMask("0.0.0.4", "flow:dst-ip")
	}}, change...)...)
}

// TestRFC7857_06_PortOverlap: with classes of remotes, two subscribers use one external endpoint at a time, and each gets his own answers.
//
// Rows: 7857-06b.
func TestRFC7857_06_PortOverlap(t *testing.T) {
	for _, k := range []kind{udp, tcp} {
		n := overlapping(t)
		a, b := map[netip.AddrPort]netip.AddrPort{}, map[netip.AddrPort]netip.AddrPort{}
		for i := range 64 {
			src := endpoint(hostA, 40000+i)
			a[n.out(t, k, src, s1p1)] = src
			src = endpoint(hostB, 40000+i)
			b[n.out(t, k, src, s2p1)] = src
		}
		require.Len(t, a, 64)
		require.Len(t, b, 64)
		for e, src := range a {
			require.Contains(t, b, e, "all 64 ports serve twice")
			require.True(t, n.passes(t, k, s1p1, e, src))
			require.True(t, n.passes(t, k, s2p1, e, b[e]))
		}
		// Towards one and the same remote endpoint a port serves once.
		_, verdict, _ := n.try(t, k, endpoint(hostB, 50000), s1p1)
		require.Equal(t, natcore.Drop, verdict)
		check(t, n)
	}
}

// TestRFC7857_08_ProtocolsApart: without any configuration, a mapping is of one protocol, for what leaves and for what arrives.
//
// Rows: 7857-08b, 7857-09, 7857-09b.
func TestRFC7857_08_ProtocolsApart(t *testing.T) {
	for k, other := range map[kind]kind{tcp: udp, udp: tcp} {
		n := newNAT(t)
		e := n.out(t, k, a40000, s1p1)
		require.False(t, n.passes(t, other, s1p1, e, a40000))
		require.True(t, n.passes(t, k, s1p1, e, a40000))
		n.out(t, other, a40000, s1p1)
		require.EqualValues(t, 2, n.Stats().Mappings)
	}
}

// TestRFC7857_10_RefusedPacketsDoNotRefresh: packets that match a mapping and make no session keep nothing alive, even where inbound packets refresh.
func TestRFC7857_10_RefusedPacketsDoNotRefresh(t *testing.T) {
	for k, life := range map[kind]time.Duration{udp: 300 * time.Second, tcp: 240 * time.Second} {
		n := newNAT(t, func(c *natcore.Config) { c.RefreshInbound, c.Limits.SessionsPerSubscriber = true, 1 })
		e := n.out(t, k, a40000, s1p1)
		n.wait(life / 2)
		for i := range 100 {
			_, verdict, why := n.in(t, k, endpoint(stranger, 1+i), e, tcpFlags{syn: true})
			require.Equal(t, natcore.Forward, verdict, why)
		}
		require.EqualValues(t, 1, n.Stats().Sessions, "strangers make no sessions")
		n.lasts(t, life/2)
	}
	n := newNAT(t, func(c *natcore.Config) {
		c.RefreshInbound, c.Pools[0].Filtering = true, natcore.AddressDependent
	})
	e := n.out(t, udp, a40000, s1p1)
	n.wait(200 * time.Second)
	require.False(t, n.passes(t, udp, s2p1, e, a40000))
	n.lasts(t, 100*time.Second)
}

// TestRFC7857_11_AnswersThatDoNotRefresh: the ICMP errors and resets with which a host turns an inbound packet away do not keep its mapping.
func TestRFC7857_11_AnswersThatDoNotRefresh(t *testing.T) {
	n := newNAT(t)
	n.out(t, udp, a40000, s1p1)
	n.wait(200 * time.Second)
	b := icmpError(t, hostA, server1, 3, 3, [4]byte{}, build(t, udp, s1p1, a40000, nil, tcpFlags{}))
	verdict, why := n.Outbound(b, n.now)
	require.Equal(t, natcore.Forward, verdict, why)
	n.lasts(t, 100*time.Second)

	for before, life := range map[string]time.Duration{">S": 240 * time.Second, handshake: 7440 * time.Second} {
		n := newNAT(t)
		c := n.connection().play(t, before)
		n.wait(100 * time.Second)
		c.play(t, "<A! >R! >R+")
		n.lasts(t, life-100*time.Second)
	}
}

// TestRFC7857_16_NumbersAreObfuscated: without preservation no port follows from the one before; with it, only a taken one is replaced.
func TestRFC7857_16_NumbersAreObfuscated(t *testing.T) {
	n := newNAT(t)
	same, steps := 0, map[int]int{}
	last := 0
	for i := range 200 {
		p := int(n.out(t, udp, endpoint(hostA, 1024+i), s1p1).Port())
		if p == 1024+i {
			same++
		}
		steps[p-last]++
		last = p
	}
	require.Less(t, same, 10)
	for step, times := range steps {
		require.Less(t, times, 20, "a step of %d", step)
	}
}

// TestRFC7857_17c_AtomicDatagrams: the identification of a datagram that nobody may fragment is left alone.
func TestRFC7857_17c_AtomicDatagrams(t *testing.T) {
	n := newNAT(t)
	for _, id := range []uint16{0, 1, 0x1234, 0xffff} {
		b := build(t, udp, a40000, s1p1, nil, tcpFlags{})
		binary.BigEndian.PutUint16(b[4:], id)
		verdict, why := n.Outbound(refit(b), n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, id, binary.BigEndian.Uint16(b[4:]))
		require.True(t, read(t, b).rightIP)
	}
}
