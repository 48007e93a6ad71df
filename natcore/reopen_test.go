package natcore_test

import (
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// far moves the sequence numbers of both ends to another connection's, out of each window.
func (c *connection) far() *connection {
	c.next[0] += 1 << 30
	c.next[1] += 1 << 30
	return c
}

// TestNewConnectionAfterTheEnd: a handshake with other numbers on the endpoints of a connection that was reset, or closed by both
// ends, is a connection in full: it lasts as one, and its own RST and FINs count.
func TestNewConnectionAfterTheEnd(t *testing.T) {
	for _, end := range []string{"<R", ">R", ">F <F", "<F >F"} {
		for _, after := range []struct{ segments, state string }{
			{"", "established"}, {">D <D", "established"}, {"<R", "reset"}, {">R", "reset"},
			{"<F", "fin-remote"}, {">F <F", "closing"},
		} {
			n := newNAT(t)
			c := n.connection().play(t, handshake+end)
			require.Contains(t, []string{"reset", "closing"}, c.state())
			n.wait(time.Second)
			c.far().play(t, handshake)
			require.Equal(t, "established", c.state(), end)
			c.play(t, after.segments)
			require.Equal(t, after.state, c.state(), "%s, then %s", end, after.segments)
			if after.segments == "" {
				n.wait(2 * time.Hour)
				n.expire()
				c.play(t, ">D <D")
				require.EqualValues(t, 1, n.Stats().SessionsCreated)
			}
		}
	}
}

// TestSecondSYNWithAnotherNumber: the first SYN is lost and the application tries again; the connection is established and lasts.
func TestSecondSYNWithAnotherNumber(t *testing.T) {
	n := newNAT(t)
	c := n.connection().play(t, ">S")
	n.wait(30 * time.Second)
	c.far().play(t, handshake)
	require.Equal(t, "established", c.state())
	n.wait(2 * time.Hour)
	c.play(t, ">D")
	require.EqualValues(t, 1, n.Stats().SessionsCreated)
	c.play(t, "<R")
	require.Equal(t, "reset", c.state())
}

// TestStrangersSegmentsDoNotRefresh: with RefreshInbound, segments out of the window and RSTs keep nothing alive; those in it do.
func TestStrangersSegmentsDoNotRefresh(t *testing.T) {
	for _, c := range []struct {
		before, segment string
		idle            time.Duration
		keeps           bool
	}{
		{handshake, "<D", 7440 * time.Second, true},
		{handshake, "<D!", 7440 * time.Second, false},
		{handshake, "<A!", 7440 * time.Second, false},
		{handshake, "<R+", 7440 * time.Second, false},
		{handshake, "<R!", 7440 * time.Second, false},
		{">S <SA", "<A", 240 * time.Second, true},
		{">S <SA", "<R", 240 * time.Second, false},
		{">S <SA", "<A!", 240 * time.Second, false},
	} {
		n := newNAT(t, func(c *natcore.Config) { c.RefreshInbound = true })
		conn := n.connection().play(t, c.before)
		n.wait(c.idle - time.Second)
		conn.play(t, c.segment)
		n.wait(time.Second)
		n.expire()
		require.Equal(t, c.keeps, conn.state() != "", "%s after %s", c.segment, c.before)
	}
}

// TestResetInOpening: a RST changes nothing while the connection opens, whoever sends it, and the handshake goes on.
func TestResetInOpening(t *testing.T) {
	for _, reset := range []string{"<R", ">R"} {
		n := newNAT(t)
		c := n.connection().play(t, ">S <SA "+reset)
		require.Equal(t, "opening", c.state())
		c.play(t, ">A")
		require.Equal(t, "established", c.state())
	}
}

// TestResetAfterRetransmission: an old segment that is sent again does not move the sender's end back: the RST at the true next number counts.
func TestResetAfterRetransmission(t *testing.T) {
	for _, again := range []struct{ segments, reset string }{
		{"<D <D=", "<R"}, {"<D <D <D <D= <D=", "<R"}, {">D >D=", ">R"},
	} {
		n := newNAT(t)
		c := n.connection().play(t, handshake+again.segments)
		c.play(t, again.reset)
		require.Equal(t, "reset", c.state(), again.segments)
	}
}

// TestFINInTheThirdSegment: the ACK that completes the handshake may carry the FIN.
func TestFINInTheThirdSegment(t *testing.T) {
	n := newNAT(t)
	c := n.connection().play(t, ">S <SA >FA")
	require.Equal(t, "fin-internal", c.state())
	c.play(t, "<FA")
	require.Equal(t, "closing", c.state())
}

// TestResetAndFINOpenNothing: with AdmitNonSYN a segment in the middle opens a session, a RST or a FIN none.
func TestResetAndFINOpenNothing(t *testing.T) {
	for segment, opens := range map[string]bool{">R": false, ">RA": false, ">F": false, ">FA": false, ">A": true, ">D": true} {
		n := newNAT(t, func(c *natcore.Config) { c.AdmitNonSYN = true })
		c := n.connection()
		verdict, why := c.try(t, segment)
		st := n.Stats()
		if opens {
			require.Equal(t, natcore.Forward, verdict, "%s: %v", segment, why)
			require.Equal(t, "established", c.state())
			continue
		}
		require.Equal(t, natcore.Drop, verdict, segment)
		require.Equal(t, natcore.ReasonNoSession, why)
		require.Zero(t, st.Sessions+st.Mappings+st.BlocksAllocated, segment)
	}
}

// TestSYNsOfOneEndReviveNothing: after the end of a connection one end's SYNs, repeated or not, wait for the other end's.
func TestSYNsOfOneEndReviveNothing(t *testing.T) {
	for _, c := range []struct{ end, segments string }{
		{"<R", ">S >S="}, {">R", ">S >S="}, {"<R", "<S <S="}, {">F <F", ">S >S="}, {">F <F", "<S <S="},
	} {
		n := newNAT(t)
		conn := n.connection().play(t, handshake+c.end)
		before := conn.state()
		conn.far().play(t, c.segments)
		require.Equal(t, before, conn.state(), "%s then %s", c.end, c.segments)
	}
}
