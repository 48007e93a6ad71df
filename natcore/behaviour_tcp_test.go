package natcore_test

import (
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// refuses requires that a segment is dropped because it belongs to no session, and that it makes none.
func (c *connection) refuses(t failer, segments ...string) {
	t.Helper()
	before := c.n.Stats().Sessions
	for _, s := range segments {
		verdict, why := c.try(t, s)
		require.Equal(t, natcore.Drop, verdict, s)
		require.Contains(t, []natcore.Reason{natcore.ReasonNoSession, natcore.ReasonNoMapping, natcore.ReasonFiltered}, why, s)
	}
	require.Equal(t, before, c.n.Stats().Sessions)
}

// TestB47_Close: closed from inside, from outside, or by both at once, a connection stays for its closing time, in which late segments pass; then
// the next segment is dropped. A late FIN wipes nothing and makes nothing.
//
// Rows: B47, B50.
func TestB47_Close(t *testing.T) {
	for _, end := range []string{">FA <A <FA >A", "<FA >A >FA <A", ">FA <FA >A <A"} {
		n := newNAT(t)
		c := n.connection().play(t, handshake+">D <D "+end)
		require.Equal(t, "closing", c.state())
		require.EqualValues(t, 1, n.Stats().Sessions)
		n.wait(200 * time.Second)
		c.play(t, "<A= >A= <A= >A=")
		require.EqualValues(t, 1, n.Stats().Sessions)
		n.wait(241 * time.Second)
		n.expire()
		require.Zero(t, n.Stats().Sessions)
		c.refuses(t, "<A", ">A", ">FA", "<FA", ">D", "<D")
		check(t, n)
	}
}

// TestB48_HalfReopen: after FINs of both ends a SYN of one end alone revives nothing.
//
// Rows: B48, B49.
func TestB48_HalfReopen(t *testing.T) {
	for _, one := range []string{">S", "<S"} {
		n := newNAT(t)
		c := n.connection().play(t, handshake+">FA <FA >A")
		n.wait(10 * time.Second)
		c.far().play(t, one)
		n.wait(240 * time.Second)
		n.expire()
		require.Empty(t, c.state(), one)
	}
	// SYNs of both ends are a connection in full.
	n := newNAT(t)
	c := n.connection().play(t, handshake+">FA <FA >A")
	n.wait(10 * time.Second)
	c.far().play(t, handshake)
	require.Equal(t, "established", c.state())
	n.lasts(t, 7440*time.Second)
}

// TestB51_AfterAReset: after a RST and its time data is dropped, and a SYN opens anew.
//
// Rows: B51.
func TestB51_AfterAReset(t *testing.T) {
	for _, reset := range []string{"<R", ">R"} {
		n := newNAT(t)
		c := n.connection().play(t, handshake+">D "+reset)
		n.wait(240 * time.Second)
		n.expire()
		c.refuses(t, ">D", "<D")
		c = n.connection().play(t, handshake+">D <D")
		require.Equal(t, "established", c.state())
	}
}

// TestB52_DataAfterAReset: data that passes after a RST shows that the RST was not taken by the other end: the connection has its long
// timer again (RFC 7857 section 2.2).
//
// Rows: B52.
func TestB52_DataAfterAReset(t *testing.T) {
	n := newNAT(t)
	c := n.connection().play(t, handshake+">D <R")
	n.wait(100 * time.Second)
	c.play(t, ">D")
	require.Equal(t, "established", c.state())
	n.lasts(t, 7440*time.Second)
}

// TestB53_LostAcknowledgment: the client's ACK is lost or late, the SYN-ACK comes again, before and after data: the connection is established, and
// data passes after the opening time.
//
// Rows: B53.
func TestB53_LostAcknowledgment(t *testing.T) {
	for _, segments := range []string{">S <SA <SA= >A", ">S <SA >A <SA=", ">S <SA >D <SA= >A", ">S <SA <SA= >D <D <SA!"} {
		n := newNAT(t)
		c := n.connection().play(t, segments)
		require.Equal(t, "established", c.state(), segments)
		n.wait(time.Hour)
		n.expire()
		c.play(t, ">D <D")
	}
}

// TestB54_NoSYN: a segment without SYN and without session is refused, and counted as that.
//
// Rows: B54.
func TestB54_NoSYN(t *testing.T) {
	n := newNAT(t)
	c := n.connection()
	c.refuses(t, ">A", ">D", ">FA", ">R", ">RA", ">SA")
	require.EqualValues(t, 6, n.Stats().Drops[natcore.ReasonNoSession])
	require.Zero(t, n.Stats().Mappings)
}

// TestB55_FullOfWhatIsOver: a table that is full of sessions whose time is over takes new ones, and the live ones stay.
//
// Rows: B55.
func TestB55_FullOfWhatIsOver(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Limits.Sessions = 50
		c.Timeouts = natcore.Timeouts{UDP: time.Second, AllowShort: true}
		c.ICMP.Off = true
	})
	c := n.connection().play(t, handshake)
	for i := range 49 {
		n.out(t, udp, endpoint(hostB, 5000+i), s1p1)
	}
	_, verdict, why := n.try(t, icmp, endpoint(hostB, 40000), s1p1)
	require.Equal(t, natcore.Drop, verdict, "nothing that lives gives way")
	require.Equal(t, natcore.ReasonSessionLimit, why)
	n.wait(time.Second)
	n.expire()
	for i := range 49 {
		n.out(t, icmp, endpoint(hostB, 5000+i), s1p1)
	}
	c.play(t, ">D <D")
	check(t, n)
}
