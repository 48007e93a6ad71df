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

// numbered is a fragment with another identification; the header checksum follows it.
func numbered(b []byte, id int) []byte {
	b = bytes.Clone(b)
	binary.BigEndian.PutUint16(b[4:], uint16(id))
	return refit(b)
}

// halves are a datagram of two fragments.
func halves(t failer, src, dst netip.AddrPort) [][]byte {
	f := split(build(t, udp, src, dst, make([]byte, 64), tcpFlags{}), 40)
	require.Len(t, f, 2)
	return f
}

// TestFragmentsWithClocksThatGoBack: callers whose clocks differ by a minute bring later fragments
// of the same datagrams; each entry ends once.
func TestFragmentsWithClocksThatGoBack(t *testing.T) {
	n := newNAT(t)
	f := halves(t, endpoint(hostA, 1), endpoint(server1, 2))
	for _, s := range []int{100, 50, 70, 100, 40, 111, 60, 122} {
		n.Outbound(numbered(f[1], s%3), began.Add(time.Duration(s)*time.Second))
	}
	n.now = began.Add(200 * time.Second)
	n.expire()
	st := n.Stats()
	require.Zero(t, st.Datagrams+st.FragmentsHeld)
	require.Len(t, n.pass(t, natcore.Outbound, natcore.Forward, [][]byte{f[1], f[0]}), 2)
}

// TestFragmentsHeldAreBounded: small fragments count with what they cost, not with their bytes alone (ATK-10).
func TestFragmentsHeldAreBounded(t *testing.T) {
	const limit = 1 << 16
	n := newNAT(t, func(c *natcore.Config) { c.Limits.FragmentBytes = limit })
	empty := bytes.Clone(build(t, udp, endpoint(hostA, 1), endpoint(server1, 2), nil, tcpFlags{})[:20])
	empty[2], empty[3], empty[6], empty[7] = 0, 20, 0, 100
	held := 0
	for i := range 5000 {
		if verdict, _ := n.Outbound(numbered(empty, i%7), n.now); verdict == natcore.Held {
			held++
		}
	}
	require.Equal(t, limit/(64+20), held)
}

// TestDrainIsBounded: fragments that a caller does not fetch count against the limit of fragments.
func TestDrainIsBounded(t *testing.T) {
	const limit = 2000
	n := newNAT(t, func(c *natcore.Config) { c.Limits.FragmentBytes = limit })
	f := halves(t, endpoint(hostA, 1), endpoint(server1, 2))
	for i := range 1000 {
		n.Outbound(numbered(f[1], i), n.now)
		verdict, why := n.Outbound(numbered(f[0], i), n.now)
		require.Equal(t, natcore.Forward, verdict, why)
	}
	cost := 0
	for _, p := range n.Drain(nil) {
		cost += len(p.Bytes) + 64
	}
	require.Positive(t, cost)
	require.LessOrEqual(t, cost, limit)
	require.Empty(t, n.Drain(nil))
}

// TestRoomOfFragmentsComesBack: many times the limit passes in turns, be the fragments fetched, be
// they dropped with their first one, or be their time over.
func TestRoomOfFragmentsComesBack(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Limits.FragmentBytes = 300 })
	good := halves(t, endpoint(hostA, 1), endpoint(server1, 2))
	bad := halves(t, endpoint(netip.MustParseAddr("203.0.113.5"), 1), endpoint(server1, 2)) // a spoofed source
	lost := 0
	for i := range 20 {
		for j := range 2 {
			verdict, why := n.Outbound(numbered(good[1], 10*i+j), n.now)
			require.Equal(t, natcore.Held, verdict, "turn %d: %v", i, why)
		}
		require.EqualValues(t, 2, n.Stats().FragmentsHeld)
		switch i % 3 {
		case 0:
			for j := range 2 {
				n.Outbound(numbered(good[0], 10*i+j), n.now)
			}
			require.Len(t, n.Drain(nil), 2)
		case 1:
			n.wait(10 * time.Second)
			lost += 2
		case 2:
			for j := range 2 {
				n.Outbound(numbered(good[0], 10*i+j), n.now)
			}
			n.Drain(nil)
			verdict, why := n.Outbound(numbered(bad[1], 10*i), n.now)
			require.Equal(t, natcore.Held, verdict, why)
			verdict, why = n.Outbound(numbered(bad[0], 10*i), n.now)
			require.Equal(t, natcore.Drop, verdict)
			require.Equal(t, natcore.ReasonSpoofed, why)
			require.Empty(t, n.Drain(nil), "who waits for a first fragment that is dropped waits in vain")
			lost++
		}
		n.expire()
		st := n.Stats()
		require.Zero(t, st.FragmentsHeld)
		require.EqualValues(t, lost, st.FragmentsLost)
	}
}

// TestHeldFragmentIsACopy: the caller's buffer is free again when Process returns.
func TestHeldFragmentIsACopy(t *testing.T) {
	n := newNAT(t)
	f := halves(t, endpoint(hostA, 1), endpoint(server1, 2))
	buffer := bytes.Clone(f[1])
	verdict, _ := n.Outbound(buffer, n.now)
	require.Equal(t, natcore.Held, verdict)
	for i := range buffer {
		buffer[i] = 0xaa
	}
	n.Outbound(bytes.Clone(f[0]), n.now)
	drained := n.Drain(nil)
	require.Len(t, drained, 1)
	require.Equal(t, natcore.Forward, drained[0].Verdict)
	require.Equal(t, f[1][20:], drained[0].Bytes[20:])
	require.Equal(t, f[1][16:20], drained[0].Bytes[16:20])
}

// TestDroppedFirstFragmentsTakeNoRoom: first fragments that strangers send to ports of nobody leave the
// room for datagrams to others.
func TestDroppedFirstFragmentsTakeNoRoom(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Limits.Fragments = 10 })
	f := halves(t, endpoint(server2, 1), endpoint(netip.MustParseAddr("203.0.113.5"), 2000))
	for i := range 10 {
		verdict, _ := n.Inbound(numbered(f[0], i), n.now)
		require.Equal(t, natcore.Drop, verdict)
	}
	require.Zero(t, n.Stats().Datagrams)
	require.Len(t, n.pass(t, natcore.Outbound, natcore.Forward, halves(t, endpoint(hostA, 1), endpoint(server1, 2))), 2)
}

// TestLaterFragmentsForNobodyAreNotHeld: later fragments that arrive for no external address, or claim to come from one, are
// dropped at once.
func TestLaterFragmentsForNobodyAreNotHeld(t *testing.T) {
	n := newNAT(t)
	own := netip.MustParseAddr("203.0.113.5")
	for _, c := range []struct {
		src, dst netip.Addr
		want     natcore.Reason
	}{
		{server2, netip.MustParseAddr("8.8.8.8"), natcore.ReasonNotExternal},
		{server2, hostA, natcore.ReasonNotExternal},
		{netip.MustParseAddr("203.0.113.6"), own, natcore.ReasonSpoofed},
	} {
		verdict, why := n.Inbound(halves(t, endpoint(c.src, 1), endpoint(c.dst, 2000))[1], n.now)
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, c.want, why)
	}
	st := n.Stats()
	require.Zero(t, st.Datagrams+st.FragmentsHeld)
}
