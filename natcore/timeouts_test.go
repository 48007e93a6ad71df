package natcore_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

func portTimeout(proto uint8, first, last uint16, idle time.Duration) natcore.PortTimeout {
	return natcore.PortTimeout{Protocol: proto, Ports: portblock.RangeOf(first, last), Idle: idle}
}

// TestRFC4787_05a_ShorterTimersForSomeDestinationPorts: sessions with destination port 53 end after ten seconds, those of the same mapping with
// others after the usual time; a mapping without others ends with its session.
func TestRFC4787_05a_ShorterTimersForSomeDestinationPorts(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Timeouts.Ports = []natcore.PortTimeout{portTimeout(17, 53, 53, 10*time.Second), portTimeout(6, 22, 22, 24*time.Hour)}
	})
	alone, both := endpoint(hostA, 1000), endpoint(hostA, 1001)
	n.out(t, udp, alone, endpoint(server1, 53))
	n.out(t, udp, both, endpoint(server1, 53))
	e := n.out(t, udp, both, endpoint(server1, 123))
	ssh := endpoint(hostA, 1002)
	n.out(t, tcp, ssh, endpoint(server1, 22))
	n.out(t, tcp, ssh, endpoint(server1, 53)) // the timer of UDP's port 53 is not TCP's

	n.wait(10*time.Second - time.Millisecond)
	n.expire()
	require.EqualValues(t, 5, n.Stats().Sessions)
	n.wait(time.Millisecond)
	n.expire()
	require.EqualValues(t, 3, n.Stats().Sessions)
	require.EqualValues(t, 2, n.Stats().Mappings)
	require.Equal(t, e, n.out(t, udp, both, endpoint(server1, 123)))
	n.wait(300*time.Second - time.Millisecond)
	n.expire()
	require.EqualValues(t, 1, n.Stats().Sessions, "opening connections have ended at 240 s, UDP has a millisecond left")
	n.wait(time.Millisecond)
	n.expire()
	require.Zero(t, n.Stats().Sessions)
	check(t, n)
}

// TestRFC5382_05_LongerTimersForSomeDestinationPorts: an established connection with a port of its own stays for that time.
func TestRFC5382_05_LongerTimersForSomeDestinationPorts(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Timeouts.Ports = []natcore.PortTimeout{portTimeout(6, 20, 30, 24*time.Hour)}
	})
	for _, port := range []int{22, 443} {
		src, dst := endpoint(hostA, 1000+port), endpoint(server1, port)
		e := n.out(t, tcp, src, dst)
		n.in(t, tcp, dst, e, tcpFlags{syn: true, ack: true, seq: 5000})
		n.out(t, tcp, src, dst, tcpFlags{ack: true, seq: 1001})
	}
	n.wait(7440 * time.Second)
	n.expire()
	require.EqualValues(t, 1, n.Stats().Sessions)
	n.wait(24*time.Hour - 7440*time.Second)
	n.expire()
	require.Zero(t, n.Stats().Sessions)
}

// TestTimeoutsOfPortsAreChecked: all that the RFCs do not allow is told at once.
func TestTimeoutsOfPortsAreChecked(t *testing.T) {
	faulty := natcore.Timeouts{Ports: []natcore.PortTimeout{
		portTimeout(17, 53, 1024, 10*time.Second), portTimeout(6, 22, 22, 7439*time.Second), portTimeout(1, 0, 0, time.Hour),
		{Protocol: 17, Idle: time.Hour}, portTimeout(17, 53, 53, 0), portTimeout(17, 53, 53, 11*24*time.Hour),
		portTimeout(17, 5000, 5010, 120*time.Second), portTimeout(17, 0, 1023, time.Second), portTimeout(6, 1, 65535, 7440*time.Second),
	}}
	cfg := config(newNAT(t).log)
	cfg.Timeouts = faulty
	_, err := natcore.New(cfg, began)
	require.Error(t, err)
	n := newNAT(t)
	n.out(t, udp, endpoint(hostA, 1), endpoint(server1, 5000))
	changed := n.SetTimeouts(faulty, n.now)
	require.EqualError(t, changed, err.Error())
	for _, at := range []string{"Ports[0].Idle", "Ports[1].Idle", "Ports[2].Protocol", "Ports[3].Ports", "Ports[4].Idle", "Ports[5].Idle"} {
		require.ErrorContains(t, err, "Timeouts."+at)
	}
	for _, at := range []string{"Ports[6]", "Ports[7]", "Ports[8]"} {
		require.NotContains(t, err.Error(), at)
	}
	require.ErrorContains(t, n.SetTimeouts(natcore.Timeouts{Ports: make([]natcore.PortTimeout, 16)}, n.now), "at most 15")
	n.wait(299 * time.Second)
	n.expire()
	require.EqualValues(t, 1, n.Stats().Sessions, "what is refused changes nothing")
	faulty.AllowShort, faulty.Ports = true, faulty.Ports[:2]
	require.NoError(t, n.SetTimeouts(faulty, n.now))
}

// TestTimeoutsChangeOnLiveSessions: sessions that are there end by the times that hold then, shorter or longer, with the
// classes of their ports.
func TestTimeoutsChangeOnLiveSessions(t *testing.T) {
	n := newNAT(t)
	dns, web, echo := endpoint(hostA, 1000), endpoint(hostA, 1001), endpoint(hostA, 7)
	n.out(t, udp, dns, endpoint(server1, 53))
	n.out(t, udp, web, endpoint(server1, 443))
	n.out(t, icmp, echo, endpoint(server1, 0))
	sessions := func(want uint64) {
		t.Helper()
		n.expire()
		require.Equal(t, want, n.Stats().Sessions)
		check(t, n)
	}
	sessions(3)
	n.wait(59 * time.Second)
	sessions(3)
	require.NoError(t, n.SetTimeouts(natcore.Timeouts{
		UDP: 400 * time.Second, ICMP: 90 * time.Second, Ports: []natcore.PortTimeout{portTimeout(17, 1, 100, 70*time.Second)},
	}, n.now))
	sessions(3)
	n.wait(11 * time.Second)
	sessions(2) // the port's
	_, known, _ := n.try(t, udp, dns, endpoint(server1, 53))
	require.Equal(t, natcore.Forward, known, "a session that is over begins anew")
	n.wait(20 * time.Second)
	sessions(2) // 90 s: the query
	require.NoError(t, n.SetTimeouts(natcore.Timeouts{}, n.now))
	n.wait(200 * time.Second)
	sessions(2) // 290 s of 300, and 220 s: the port's class is gone
	require.NoError(t, n.SetTimeouts(natcore.Timeouts{UDP: 230 * time.Second}, n.now))
	sessions(1)
	n.wait(9 * time.Second)
	sessions(1)
	n.wait(time.Second)
	sessions(0)
}

// TestRFC4787_05a_StaticSessions: sessions of static mappings, of both directions, and of peerings have the idle times of their destination ports, and follow
// a change of these while they live.
//
// Rows: 5382-05d.
func TestRFC4787_05a_StaticSessions(t *testing.T) {
	ports := []natcore.PortTimeout{portTimeout(17, 53, 53, 10*time.Second), portTimeout(6, 22, 22, 24*time.Hour)}
	n := newNAT(t, withStatic(
		natcore.Static{Name: "one", External: ip("192.0.2.9"), Internal: hostA},
		natcore.Static{Name: "dns", Protocol: 17, External: ip("192.0.2.8"), ExternalPort: 53, Internal: hostB, InternalPort: 5353, InboundOnly: true},
	), func(c *natcore.Config) {
		c.Timeouts.Ports = ports
		c.Peerings = []natcore.Peering{{Name: "p", From: 0, To: 1, Destination: prefix("172.16.0.0/24"), Sources: alloc.MustParseRanges("10.255.0.1")}}
	})
	sessions := func() (names []string) {
		for s := range n.Sessions() {
			names = append(names, fmt.Sprintf("%s %v", s.Static, s.Remote.Port()))
		}
		slices.Sort(names)
		return names
	}
	begin := func() {
		for _, port := range []int{53, 123} {
			require.Equal(t, natcore.Forward, n.leaves(t, 0, udp, endpoint(hostA, 1000), client(1, port), synFlags).verdict)
			require.Equal(t, natcore.Hairpin, n.leaves(t, 0, udp, endpoint(hostB, 1000), endpoint(ip("172.16.0.7"), port), synFlags).verdict)
		}
		m := n.comes(t, udp, client(2, 4000), at("192.0.2.8:53"), synFlags)
		require.Equal(t, natcore.Forward, n.leaves(t, 0, udp, m.dst, m.src, synFlags).verdict) // answered
		m = n.comes(t, udp, client(2, 53), at("192.0.2.9:4000"), synFlags)
		require.Equal(t, natcore.Forward, n.leaves(t, 0, udp, m.dst, m.src, synFlags).verdict)
		m = n.comes(t, tcp, client(3, 4000), at("192.0.2.9:22"), synFlags)
		n.leaves(t, 0, tcp, m.dst, m.src, synAckFlags)
		n.comes(t, tcp, client(3, 4000), at("192.0.2.9:22"), tcpFlags{ack: true, seq: 1001})
	}
	begin()
	require.Len(t, sessions(), 7)
	n.wait(10*time.Second - time.Millisecond)
	n.expire()
	require.Len(t, sessions(), 7)
	n.wait(time.Millisecond)
	n.expire()
	require.Equal(t, []string{"one 123", "one 4000", "one 53", "p 123"}, sessions(), "a remote port 53 of who asks for another port is no destination port")
	n.wait(7440 * time.Second)
	n.expire()
	require.Equal(t, []string{"one 4000"}, sessions())

	// Ports and idle times change on live sessions.
	begin()
	require.NoError(t, n.SetTimeouts(natcore.Timeouts{Ports: []natcore.PortTimeout{portTimeout(17, 123, 123, 20*time.Second), portTimeout(17, 53, 53, 100*time.Second)}}, n.now))
	n.wait(20 * time.Second)
	n.expire()
	require.Equal(t, []string{"dns 4000", "one 4000", "one 53", "one 53", "p 53"}, sessions())
	require.NoError(t, n.SetTimeouts(natcore.Timeouts{Ports: []natcore.PortTimeout{portTimeout(17, 123, 123, 20*time.Second), portTimeout(17, 53, 53, 20*time.Second)}}, n.now))
	n.expire()
	require.Equal(t, []string{"one 4000", "one 53"}, sessions())
	cfg := n.Config()
	cfg.Timeouts = natcore.Timeouts{Ports: ports}
	_, err := n.Reconfigure(cfg, n.now)
	require.NoError(t, err)
	n.wait(7440 * time.Second)
	n.expire()
	require.Equal(t, []string{"one 4000"}, sessions())
	check(t, n)
}
