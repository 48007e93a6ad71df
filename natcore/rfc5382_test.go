package natcore_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// connection plays the segments of one TCP connection through an engine.
type connection struct {
	n                          *nat
	internal, external, remote netip.AddrPort
	next                       [2]uint32 // sequence number of each direction's next segment
	last                       [2]uint32 // and of its last one
}

func (n *nat) connection() *connection {
	return &connection{n: n, internal: a40000, remote: s1p1, next: [2]uint32{1000, 5000}}
}

// try sends a segment and tells what became of it. A segment is written as its direction, its flags and a mark:
// ">S" is the internal end's SYN, "<SA" the remote end's SYN with ACK, "D" is ten bytes, with an ACK but for a SYN; the mark "=" repeats the
// sequence number of the last segment, "+" is within the window and not the next, "!" is far outside it.
func (c *connection) try(t failer, segment string) (natcore.Verdict, natcore.Reason) {
	t.Helper()
	d := natcore.Outbound
	src, dst := c.internal, c.remote
	if segment[0] == '<' {
		d, src, dst = natcore.Inbound, c.remote, c.external
	}
	has := func(flag string) bool { return strings.Contains(segment, flag) }
	f := tcpFlags{syn: has("S"), fin: has("F"), rst: has("R"), ack: has("A") || has("D") && !has("S"), seq: c.next[d]}
	var payload []byte
	if has("D") {
		payload = []byte("ten bytes!")
	}
	switch segment[len(segment)-1] {
	case '=':
		f.seq = c.last[d]
	case '+':
		f.seq += 100
	case '!':
		f.seq += 1 << 28
	default:
		c.last[d] = f.seq
		c.next[d] += uint32(len(payload))
		if f.syn {
			c.next[d]++
		}
		if f.fin {
			c.next[d]++
		}
	}
	b := build(t, tcp, src, dst, payload, f)
	before := bytes.Clone(b)
	batch := []natcore.Packet{{Bytes: b, Direction: d}}
	c.n.Process(batch, c.n.now)
	if batch[0].Verdict == natcore.Drop {
		require.Equal(t, before, b)
		return batch[0].Verdict, batch[0].Reason
	}
	s := read(t, b)
	require.True(t, s.right && s.rightIP)
	require.Equal(t, before[24:36], b[24:36], "%s: sequence numbers, flags and window are as they were", segment)
	if d == natcore.Outbound {
		if c.external.IsValid() {
			require.Equal(t, c.external, s.src)
		}
		c.external = s.src
	} else {
		require.Equal(t, c.internal, s.dst)
	}
	return batch[0].Verdict, batch[0].Reason
}

// play sends segments and requires that all are forwarded.
func (c *connection) play(t failer, segments string) *connection {
	t.Helper()
	for _, s := range strings.Fields(segments) {
		verdict, why := c.try(t, s)
		require.Equal(t, natcore.Forward, verdict, "%s of %q: %v", s, segments, why)
	}
	return c
}

// state returns the state of the connection's session, or "".
func (c *connection) state() string {
	for s := range c.n.Sessions() {
		if s.Protocol == 6 && s.Internal == c.internal && s.Remote == c.remote {
			return s.State
		}
	}
	return ""
}

const handshake = ">S <SA >A "

func TestRFC5382_01_EndpointIndependentMapping(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, tcp, a40000, s1p1)
	for _, to := range []netip.AddrPort{s1p2, s2p1, s2p2} {
		require.Equal(t, e, n.out(t, tcp, a40000, to))
	}
}

// TestRFC5382_02_EveryTransition plays the ways through the state diagram of RFC 9293.
func TestRFC5382_02_EveryTransition(t *testing.T) {
	for name, segments := range map[string]string{
		"closed from inside":   handshake + ">D <D >FA <A <FA >A",
		"closed from outside":  handshake + "<FA >A >FA <A",
		"closed by three":      handshake + ">FA <FA >A",
		"closed at once":       handshake + ">FA <FA >A <A",
		"half-closed inside":   handshake + ">FA <A <D >A <D >A <FA >A",
		"half-closed outside":  handshake + "<FA >A >D <A >D <A >FA <A",
		"retransmissions":      ">S >S= <SA <SA= >A >A= >D >D= <A >FA >FA= <A <FA <FA= >A >A=",
		"data with the SYN":    ">SD <SA >A <D",
		"reset while opening":  ">S <RA",
		"reset by the client":  handshake + ">D >R",
		"opened simultaneous":  ">S <S >SA <SA >D <D",
		"opened, crossed acks": ">S <S >SA <SA >A <A >D <D",
		"opened from outside":  "<S >SA <A <D >D <FA >A >FA <A",
	} {
		t.Run(name, func(t *testing.T) {
			n := newNAT(t)
			c := n.connection()
			if segments[0] == '<' {
				c.external = n.out(t, tcp, a40000, s2p2) // the mapping is there
			}
			c.play(t, segments)
			check(t, n)
		})
	}
	t.Run("5382-02a", func(t *testing.T) {
		for f := natcore.EndpointIndependent; f <= natcore.AddressAndPortDependent; f++ {
			n := newNAT(t, func(c *natcore.Config) { c.Pools[0].Filtering = f })
			c := n.connection().play(t, ">S <S >SA <SA")
			require.Equal(t, "established", c.state())
			n.lasts(t, 7440*time.Second)
		}
	})
}

func TestRFC5382_03_Filtering(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, tcp, a40000, s1p1)
	require.True(t, n.passes(t, tcp, endpoint(stranger, 50000), e, a40000))
	n = newNAT(t, func(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressDependent })
	e = n.out(t, tcp, a40000, s1p1)
	require.True(t, n.passes(t, tcp, s1p2, e, a40000))
	require.False(t, n.passes(t, tcp, s2p2, e, a40000))
	// One pool for each protocol has its own filtering.
	t.Run("5382-03b", func(t *testing.T) {
		n := newNAT(t, func(c *natcore.Config) {
			c.Pools = append(c.Pools, natcore.PoolConfig{
				Name: "tcp", Addresses: alloc.MustParseRanges("192.0.2.1"), Filtering: natcore.AddressDependent,
			})
			c.Rules = []natcore.Rule{{Protocol: 6, Pool: "tcp"}, {Pool: "cgn"}}
		})
		require.Equal(t, behaviour{filtering: natcore.AddressDependent}, n.discover(t, tcp, hostA, 40000))
		require.Equal(t, behaviour{filtering: natcore.EndpointIndependent}, n.discover(t, udp, hostA, 40000))
	})
}

// TestRFC5382_04_UnsolicitedSYN: a SYN that filtering does not admit is dropped in silence, so that the other end's
// SYN, three seconds later, finds the connection as it left it.
//
// Rows: 5382-04a, 5382-04c, 5461-02, ATK-09.
func TestRFC5382_04_UnsolicitedSYN(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Pools[0].Filtering = natcore.AddressAndPortDependent })
	c := n.connection()
	c.external = n.out(t, tcp, a40000, s2p2)
	sessions := n.Stats().Sessions
	for range 3 {
		verdict, why := c.try(t, "<S=")
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonFiltered, why)
		n.wait(time.Second)
	}
	c.last[natcore.Inbound], c.next[natcore.Inbound] = 5000, 5001
	c.play(t, ">S <S= >SA <SA")
	require.Equal(t, "established", c.state())
	n.wait(3*time.Second + tick)
	n.expire()
	require.Empty(t, n.Drain(nil), "no answer, not then and not later")
	for i := range 10_000 {
		_, verdict, _ := n.in(t, tcp, endpoint(stranger, 1+i), c.external, tcpFlags{syn: true})
		require.Equal(t, natcore.Drop, verdict)
	}
	require.Equal(t, sessions+1, n.Stats().Sessions, "a SYN that is not admitted holds nothing")
}

func TestRFC5382_05_Timers(t *testing.T) {
	for name, c := range map[string]struct {
		segments string
		state    string
		idle     time.Duration
	}{
		"5382-05 established":                {handshake, "established", 7440 * time.Second},
		"5382-05 with data":                  {handshake + ">D <A <D >A", "established", 7440 * time.Second},
		"5382-05b SYN":                       {">S", "opening", 240 * time.Second},
		"5382-05b no ACK of the client":      {">S <SA", "opening", 240 * time.Second},
		"5382-05b both FINs":                 {handshake + ">FA <FA", "closing", 240 * time.Second},
		"5382-05c FIN of the internal end":   {handshake + ">FA <A", "fin-internal", 7440 * time.Second},
		"5382-05c FIN of the remote end":     {handshake + "<FA >A", "fin-remote", 7440 * time.Second},
		"5382-05c ACKs do not extend FINs":   {handshake + ">FA <FA >A <A", "closing", 240 * time.Second},
		"5382-05c simultaneous, first SYNs":  {">S <S", "opening", 240 * time.Second},
		"5382-05c simultaneous, one SYN-ACK": {">S <S >SA", "opening", 240 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNAT(t)
			conn := n.connection().play(t, c.segments)
			require.Equal(t, c.state, conn.state())
			n.lasts(t, c.idle)
		})
	}
	t.Run("5382-05d", func(t *testing.T) {
		n := newNAT(t, func(c *natcore.Config) {
			c.Timeouts.TCPEstablished, c.Timeouts.TCPOpening, c.Timeouts.TCPClosing = 3*time.Hour, 20*time.Second, 300*time.Second
		})
		n.connection().play(t, ">S")
		n.lasts(t, 20*time.Second)
		n.connection().play(t, handshake)
		n.lasts(t, 3*time.Hour)
		n.connection().play(t, handshake+">FA <FA")
		n.lasts(t, 300*time.Second)
	})
}

// TestRFC5382_05e_EndsInSilence: a session that ends says nothing to either end, and what comes later is dropped.
func TestRFC5382_05e_EndsInSilence(t *testing.T) {
	n := newNAT(t)
	c := n.connection().play(t, handshake)
	n.wait(7440 * time.Second)
	n.expire()
	require.Empty(t, n.Drain(nil))
	for _, late := range []string{">D", "<D", ">FA", "<FA", ">R", "<R", ">A", "<A", "<SA"} {
		verdict, _ := c.try(t, late)
		require.Equal(t, natcore.Drop, verdict, late)
	}
}

// TestRFC5382_05f_NoSYNNoSession: a segment without SYN makes no mapping and does not leave untranslated, unless that is asked for.
//
// Rows: ATK-03, ATK-04.
func TestRFC5382_05f_NoSYNNoSession(t *testing.T) {
	for _, segment := range []string{">A", ">D", ">FA", ">R", ">RA", ">SA"} {
		n := newNAT(t)
		c := n.connection()
		verdict, why := c.try(t, segment)
		require.Equal(t, natcore.Drop, verdict, segment)
		require.Equal(t, natcore.ReasonNoSession, why)
		st := n.Stats()
		require.Zero(t, st.Mappings+st.Sessions+st.BlocksAllocated)
		// From outside, with a mapping of the port.
		c.external = n.out(t, tcp, a40000, s2p2)
		verdict, why = c.try(t, "<"+segment[1:])
		require.Equal(t, natcore.Drop, verdict, segment)
		require.Equal(t, natcore.ReasonNoSession, why)
	}
	n := newNAT(t, func(c *natcore.Config) { c.AdmitNonSYN = true })
	require.Equal(t, "established", n.connection().play(t, ">D <A").state())
}

// TestRFC5382_07_NoPortOverloading: endpoints of many hosts have as many external endpoints, all to one server.
func TestRFC5382_07_NoPortOverloading(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5") })
	owner := map[netip.AddrPort]netip.AddrPort{}
	for i := range 600 {
		src := endpoint(netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + i%30)}), 40000+i/30)
		e := n.out(t, tcp, src, s1p1)
		require.NotContains(t, owner, e)
		owner[e] = src
	}
}

// TestRFC5382_09_Unreachable: every code of ICMP type 3 about a segment passes, both ways.
func TestRFC5382_09_Unreachable(t *testing.T) {
	n := newNAT(t)
	c := n.connection().play(t, handshake)
	sent := build(t, tcp, c.internal, c.remote, []byte("data"), tcpFlags{ack: true, seq: 1001})
	left := bytes.Clone(sent)
	_, _ = n.Outbound(left, n.now)
	came := build(t, tcp, c.remote, c.external, []byte("data"), tcpFlags{ack: true, seq: 5001})
	arrived := bytes.Clone(came)
	_, _ = n.Inbound(arrived, n.now)
	for code := range uint8(16) {
		mtu := [4]byte{0, 0, 5, 120}
		b := icmpError(t, router, c.external.Addr(), 3, code, mtu, left)
		verdict, why := n.Inbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, icmpError(t, router, hostA, 3, code, mtu, sent), b)
		b = icmpError(t, hostA, server1, 3, code, mtu, arrived)
		verdict, why = n.Outbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, icmpError(t, c.external.Addr(), server1, 3, code, mtu, came), b)
	}
}

// TestRFC5382_10_ErrorsEndNothing: no ICMP error ends or shortens a connection, whether its quote is in the window or not.
//
// Rows: 5927-03.
func TestRFC5382_10_ErrorsEndNothing(t *testing.T) {
	n := newNAT(t)
	c := n.connection().play(t, handshake)
	before := n.only(t)
	n.wait(time.Hour)
	for _, seq := range []uint32{1001, 0, 1 << 31} {
		left := build(t, tcp, c.external, c.remote, []byte("data"), tcpFlags{ack: true, seq: seq})
		arrived := build(t, tcp, c.remote, c.internal, []byte("data"), tcpFlags{ack: true, seq: seq})
		for _, et := range everyError() {
			_, _ = n.Inbound(icmpError(t, router, c.external.Addr(), et.t, et.c, [4]byte{}, left), n.now)
			_, _ = n.Outbound(icmpError(t, hostA, server1, et.t, et.c, [4]byte{}, arrived), n.now)
			require.Equal(t, before, n.only(t), "%d/%d", et.t, et.c)
		}
	}
	n.lasts(t, 7440*time.Second-time.Hour)
}

// TestRFC5382_11_SequenceNumbersStay: of a segment with SACK blocks, only source port and checksum change.
func TestRFC5382_11_SequenceNumbersStay(t *testing.T) {
	n := newNAT(t)
	c := n.connection().play(t, handshake)
	ip := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: 6, SrcIP: hostA.AsSlice(), DstIP: server1.AsSlice()}
	segment := &layers.TCP{
		SrcPort: 40000, DstPort: layers.TCPPort(s1p1.Port()), Seq: 1001, Ack: 5001, ACK: true, PSH: true, URG: true, Urgent: 3, Window: 77,
		Options: []layers.TCPOption{
			{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindNop},
			{OptionType: layers.TCPOptionKindSACK, OptionLength: 18, OptionData: []byte("\x00\x00\x20\x00\x00\x00\x21\x00\x00\x00\x30\x00\x00\x00\x31\x00")},
			{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: []byte("\x01\x02\x03\x04\x05\x06\x07\x08")},
		},
	}
	require.NoError(t, segment.SetNetworkLayerForChecksum(ip))
	buf := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, segment, gopacket.Payload("data")))
	b := bytes.Clone(buf.Bytes())
	verdict, why := n.Outbound(b, n.now)
	require.Equal(t, natcore.Forward, verdict, why)
	s := read(t, b)
	require.True(t, s.right && s.rightIP)
	require.Equal(t, c.external, s.src)
	require.Equal(t, buf.Bytes()[22:36], b[22:36])
	require.Equal(t, buf.Bytes()[38:], b[38:], "urgent pointer, options, payload")
}

// TestRFC5382_12_OutOfWindow: segments from outside the window pass and leave state and idle time alone.
func TestRFC5382_12_OutOfWindow(t *testing.T) {
	for _, segment := range []string{">R!", "<R!", "<RA!", ">FA!", "<FA!", "<S!", "<SA!"} {
		t.Run(segment, func(t *testing.T) {
			n := newNAT(t)
			c := n.connection().play(t, handshake)
			c.play(t, strings.Repeat(segment+" ", 5))
			require.Equal(t, "established", c.state())
			n.lasts(t, 7440*time.Second)
		})
	}
}

// TestATK_01_RandomResets: resets with random sequence numbers at an established connection, from either side, neither end nor shorten it.
//
// Rows: ATK-15.
func TestATK_01_RandomResets(t *testing.T) {
	const seed = 5961
	rnd := rand.New(rand.NewPCG(seed, 1))
	n := newNAT(t)
	c := n.connection().play(t, handshake)
	b := build(t, tcp, c.remote, c.external, nil, tcpFlags{rst: true})
	scratch := make([]byte, len(b))
	for range 65_536 {
		seq := rnd.Uint32()
		if seq == c.next[natcore.Inbound] {
			continue
		}
		copy(scratch, b)
		scratch[24], scratch[25], scratch[26], scratch[27] = byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq)
		verdict, why := n.Inbound(scratch, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
	}
	require.Equal(t, "established", c.state(), "seed %d", seed)
	n.wait(7440*time.Second - tick)
	n.expire()
	c.play(t, ">D <D")
	// Even the right number shortens it to no less than 240 s, and the next segment brings it back.
	c.play(t, "<R")
	require.Equal(t, "reset", c.state())
	n.wait(240*time.Second - tick)
	n.expire()
	require.Equal(t, "established", c.play(t, ">D").state())
	n.lasts(t, 7440*time.Second)
}

// TestATK_05_ResetIsOfTheSession: a reset ends its own session and no other of the same mapping.
func TestATK_05_ResetIsOfTheSession(t *testing.T) {
	n := newNAT(t)
	other := n.connection()
	other.remote = s2p2
	other.play(t, handshake)
	c := n.connection().play(t, handshake+"<R")
	n.wait(240 * time.Second)
	n.expire()
	require.Equal(t, "", c.state())
	require.Equal(t, "established", other.state())
	require.EqualValues(t, 1, n.Stats().Mappings)
}

// again starts a new connection on the endpoints of an old one: both ends choose new numbers.
func (c *connection) again() *connection {
	for d := range c.next {
		c.next[d] += 1 << 28
		c.last[d] = c.next[d]
	}
	return c
}

// TestB51_NewConnectionOnOldEndpoints: a connection on the endpoints of one that was reset, refused or never answered is tracked as any other.
//
// Rows: 5382-05.
func TestB51_NewConnectionOnOldEndpoints(t *testing.T) {
	for name, before := range map[string]string{
		"reset by the server": handshake + ">D <R",
		"reset by the client": handshake + ">D >R",
		"refused":             ">S <RA",
		"unanswered":          ">S",
		"closed":              handshake + ">FA <FA >A",
		"forgotten":           handshake,
	} {
		t.Run(name, func(t *testing.T) {
			n := newNAT(t)
			c := n.connection().play(t, before)
			n.wait(time.Second)
			c.again().play(t, handshake+">D <D >A")
			require.Equal(t, "established", c.state())
			for range 40 { // under traffic it lives on
				n.wait(10 * time.Second)
				n.expire()
				c.play(t, ">D <A")
			}
			n.lasts(t, 7440*time.Second)
		})
	}
}
