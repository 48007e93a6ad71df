package natcore_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// loose is a packet that may be fragmented, with an identification.
func loose(b []byte, id int) []byte {
	b[6] &^= 0x40
	return numbered(b, id)
}

func idOf(b []byte) uint16 { return binary.BigEndian.Uint16(b[4:]) }

// TestRFC7857_17_Identifications: two hosts behind one address send datagrams that may be fragmented, with the same identifications, to one
// server: 65,536 of them leave with as many different ones, whatever protocol and server others use meanwhile. Nothing else of a datagram changes.
//
// Rows: 7857-17b.
func TestRFC7857_17_Identifications(t *testing.T) {
	for _, k := range []kind{udp, icmp, tcp} {
		n := newNAT(t, small(1024, 65535, 256))
		var hosts [2][]byte
		for i, h := range []netip.Addr{hostA, hostB} {
			hosts[i] = build(t, k, endpoint(h, 40000), endpoint(server1, 0), []byte("payload"), tcpFlags{syn: true})
		}
		other := loose(build(t, k, endpoint(hostA, 40000), endpoint(server2, 0), []byte("payload"), tcpFlags{syn: true}), 3)
		var seen [1 << 16]bool
		b := make([]byte, len(other))
		times := 1 << 16
		if k != udp {
			times = 1 << 12
		}
		for i := range times {
			copy(b, loose(hosts[i%2], i/2))
			verdict, why := n.Outbound(b, n.now)
			require.Equal(t, natcore.Forward, verdict, why)
			id := idOf(b)
			if seen[id] {
				require.Fail(t, "repeated", "%v: identification %d after %d datagrams", k, id, i)
			}
			seen[id] = true
			if i%1000 == 0 {
				s := read(t, b)
				require.True(t, s.right && s.rightIP)
				_, _ = n.Outbound(bytes.Clone(other), n.now)
			}
		}
	}
}

// TestRFC7857_17_IdentificationsAfterRestart: what an engine sends after a restart repeats no identification of what was sent before, whether
// the snapshot is of that moment or older, also when one snapshot is restored twice, and with other pools than New had.
//
// Rows: 7857-17b.
func TestRFC7857_17_IdentificationsAfterRestart(t *testing.T) {
	for _, c := range []struct {
		name         string
		before, late int           // datagrams before and after the snapshot
		away         time.Duration // from the snapshot to the restart
	}{
		{"at once", 16000, 0, 0},
		{"a moment later", 16000, 0, time.Millisecond},
		{"older", 8000, 8000, 20 * time.Second},
		{"a minute older", 6000, 12000, time.Minute},
	} {
		n := newNAT(t, small(1024, 65535, 256))
		var seen [1 << 16]bool
		send := func(n *nat, times int) {
			b := loose(build(t, udp, endpoint(hostA, 40000), endpoint(server1, 53), []byte("payload"), tcpFlags{}), 9)
			p := make([]byte, len(b))
			for i := range times {
				copy(p, b)
				verdict, why := n.Outbound(p, n.now)
				require.Equal(t, natcore.Forward, verdict, why)
				require.False(t, seen[idOf(p)], "%s: repeated after %d", c.name, i)
				seen[idOf(p)] = true
			}
		}
		send(n, c.before)
		snapshot, cfg := n.AppendSnapshot(nil), n.Config()
		send(n, c.late)
		n.wait(c.away)
		for range 2 {
			var err error
			n.Engine, err = natcore.Restore(cfg, snapshot, n.now)
			require.NoError(t, err)
			send(n, 5000)
			n.wait(10 * time.Second)
		}
		// A configuration that keeps identifications goes with any snapshot, and the other way round.
		cfg.KeepID = true
		kept, err := natcore.Restore(cfg, snapshot, n.now)
		require.NoError(t, err)
		cfg.KeepID = false
		_, err = natcore.Restore(cfg, kept.AppendSnapshot(nil), n.now)
		require.NoError(t, err)
	}
}

// TestATK14_IdentificationsTellNothing: identifications are neither counted up nor the same towards another server or with another secret.
//
// Rows: ATK-14.
func TestATK14_IdentificationsTellNothing(t *testing.T) {
	sequence := func(n *nat, server netip.Addr) (ids []uint16) {
		for range 4096 {
			b := loose(build(t, udp, a40000, endpoint(server, 53), nil, tcpFlags{}), 1)
			verdict, why := n.Outbound(b, n.now)
			require.Equal(t, natcore.Forward, verdict, why)
			ids = append(ids, idOf(b))
		}
		return ids
	}
	n := newNAT(t)
	one, two := sequence(n, server1), sequence(n, server2)
	three := sequence(newNAT(t, func(c *natcore.Config) { c.Seed[9] = 77 }), server1)
	for name, pair := range map[string][2][]uint16{"servers": {one, two}, "secrets": {one, three}} {
		same := 0
		for i := range pair[0] {
			if pair[0][i] == pair[1][i] {
				same++
			}
		}
		require.Less(t, same, 8, name)
	}
	steps, between := map[uint16]bool{}, map[uint16]bool{}
	for i := 1; i < len(one); i++ {
		steps[one[i]-one[i-1]] = true
		between[one[i]^two[i]] = true
	}
	// 4,095 random draws out of 65,536 give about 3,970 different ones.
	require.Greater(t, len(steps), 3800)
	require.Greater(t, len(between), 3800)
}

// TestRFC7857_17_FragmentsOfTwoHosts: hosts that share an address send fragmented datagrams with one identification to one server, with
// fragments in every order and interleaved: those of one datagram share an identification that the other does not have.
//
// Rows: 7857-17b.
func TestRFC7857_17_FragmentsOfTwoHosts(t *testing.T) {
	for _, order := range permutations {
		n := newNAT(t, small(1024, 65535, 256))
		payload := bytes.Repeat([]byte("fragment"), 9)
		var cut [2][][]byte
		for i, h := range []netip.Addr{hostA, hostB} {
			cut[i] = split(build(t, udp, endpoint(h, 40000), s1p1, payload, tcpFlags{}), 32)
		}
		byID := map[uint16][][]byte{}
		for _, f := range order {
			for i := range cut {
				for _, b := range n.pass(t, natcore.Outbound, natcore.Forward, [][]byte{cut[i][f]}) {
					byID[idOf(b)] = append(byID[idOf(b)], b)
				}
			}
		}
		require.Len(t, byID, 2)
		for id, fragments := range byID {
			require.Len(t, fragments, 3)
			s := read(t, join(t, fragments))
			require.True(t, s.right, "fragments of two datagrams are mixed")
			require.Equal(t, payload, s.payload)
			require.NotEqual(t, uint16(7), id)
		}
		first := n.pass(t, natcore.Outbound, natcore.Forward, [][]byte{cut[0][0], cut[0][0]})
		require.Equal(t, first[0], first[1], "a repeated fragment is of the same datagram")
	}
}

// TestIdentificationsThatStay: those of atomic datagrams, of what arrives, of what is exempt, and all where KeepID says so.
func TestIdentificationsThatStay(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Rules = []natcore.Rule{{Remote: netip.PrefixFrom(server2, 32), Action: natcore.Exempt}, {Pool: "cgn"}}
	})
	keeps := func(n *nat, d natcore.Direction, want natcore.Verdict, b []byte) {
		t.Helper()
		id := idOf(b)
		batch := []natcore.Packet{{Bytes: b, Direction: d}}
		n.Process(batch, n.now)
		require.Equal(t, want, batch[0].Verdict, "%v", batch[0].Reason)
		require.Equal(t, id, idOf(b))
	}
	e := n.out(t, udp, a40000, s1p1)
	for id := range 100 {
		keeps(n, natcore.Outbound, natcore.Forward, numbered(build(t, udp, a40000, s1p1, nil, tcpFlags{}), id))
		keeps(n, natcore.Inbound, natcore.Forward, loose(build(t, udp, s1p1, e, nil, tcpFlags{}), id))
		keeps(n, natcore.Outbound, natcore.Bypass, loose(build(t, udp, a40000, s2p2, nil, tcpFlags{}), id))
	}
	n = newNAT(t, func(c *natcore.Config) { c.KeepID = true })
	for id := range 100 {
		keeps(n, natcore.Outbound, natcore.Forward, loose(build(t, udp, a40000, s1p1, nil, tcpFlags{}), id))
	}
	for _, b := range n.pass(t, natcore.Outbound, natcore.Forward, split(build(t, udp, a40000, s1p1, make([]byte, 80), tcpFlags{}), 32)) {
		require.EqualValues(t, 7, idOf(b))
	}
}

// TestHairpinnedIdentifications: a hairpinned datagram comes from an external address that others share, so it gets a number, too.
func TestHairpinnedIdentifications(t *testing.T) {
	n := newNAT(t)
	eb := n.out(t, udp, endpoint(hostB, 41000), s1p1)
	seen := map[uint16]bool{}
	for range 1000 {
		batch := []natcore.Packet{{Bytes: loose(build(t, udp, a40000, eb, nil, tcpFlags{}), 9)}}
		n.Process(batch, n.now)
		require.Equal(t, natcore.Hairpin, batch[0].Verdict)
		require.False(t, seen[idOf(batch[0].Bytes)])
		seen[idOf(batch[0].Bytes)] = true
		require.True(t, read(t, batch[0].Bytes).rightIP)
	}
}

// withMSS builds a SYN with a maximum segment size option.
func withMSS(t failer, src, dst netip.AddrPort, mss uint16, f tcpFlags) []byte {
	b := build(t, tcp, src, dst, []byte{2, 4, byte(mss >> 8), byte(mss)}, f)
	b[32] = 6 << 4 // the payload is an option
	b[36], b[37] = 0, 0
	pseudo := uint32(6) + uint32(len(b)-20)
	for i := 12; i < 20; i += 2 {
		pseudo += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[36:], ^sum(b[20:], pseudo))
	return b
}

// TestB84_MSSClamp: the size in a SYN and in its answer is lowered and never raised, hairpinned SYNs too; checksums are right.
func TestB84_MSSClamp(t *testing.T) {
	for _, c := range []struct{ clamp, sent, want uint16 }{{1000, 1400, 1000}, {0, 1400, 1400}, {1500, 1400, 1400}, {1400, 1400, 1400}, {64, 65535, 64}} {
		n := newNAT(t, func(cfg *natcore.Config) { cfg.MSS = c.clamp })
		require.True(t, read(t, withMSS(t, a40000, s1p1, c.sent, tcpFlags{syn: true})).right)
		size := func(want natcore.Verdict, d natcore.Direction, b []byte) seen {
			t.Helper()
			batch := []natcore.Packet{{Bytes: b, Direction: d}}
			n.Process(batch, n.now)
			require.Equal(t, want, batch[0].Verdict, "%v", batch[0].Reason)
			s := read(t, b)
			require.True(t, s.right && s.rightIP)
			require.Equal(t, c.want, binary.BigEndian.Uint16(b[42:]))
			return s
		}
		e := size(natcore.Forward, natcore.Outbound, withMSS(t, a40000, s1p1, c.sent, tcpFlags{syn: true, seq: 1})).src
		size(natcore.Forward, natcore.Inbound, withMSS(t, s1p1, e, c.sent, tcpFlags{syn: true, ack: true}))
		size(natcore.Hairpin, natcore.Outbound, withMSS(t, endpoint(hostB, 1), e, c.sent, tcpFlags{syn: true}))
		b := withMSS(t, a40000, s1p1, c.sent, tcpFlags{ack: true, seq: 2})
		_, _ = n.Outbound(b, n.now)
		require.Equal(t, c.sent, binary.BigEndian.Uint16(b[42:]), "without SYN it is no segment size")
	}
	n := newNAT(t, func(c *natcore.Config) { c.MSS = 1000; c.Rules = []natcore.Rule{{Action: natcore.Refuse}} })
	n.answer(t, natcore.Packet{Bytes: withMSS(t, a40000, s1p1, 1400, tcpFlags{syn: true})}, natcore.ReasonRuleDrop)
	cfg := config(n.log)
	cfg.MSS = 63
	_, err := natcore.New(cfg, began)
	require.ErrorContains(t, err, "MSS")
}

// TestFinishAllocatesNothing: what is done to datagrams that may be fragmented and to SYNs takes no memory.
func TestFinishAllocatesNothing(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.MSS = 1000 })
	udp1 := loose(build(t, udp, a40000, s1p1, nil, tcpFlags{}), 1)
	syn := withMSS(t, a40000, s1p1, 1400, tcpFlags{syn: true})
	batch := make([]natcore.Packet, 2)
	one, two := bytes.Clone(udp1), bytes.Clone(syn)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		copy(one, udp1)
		copy(two, syn)
		batch[0], batch[1] = natcore.Packet{Bytes: one}, natcore.Packet{Bytes: two}
		n.Process(batch, n.now)
	}))
	require.Equal(t, natcore.Forward, batch[1].Verdict)
}
