package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/examples/quickstart/internal/testpacket"
)

func TestDirectoryTrustsWhileTheMappingLives(t *testing.T) {
	const internal, external, remote = "100.64.0.1:5000", "203.0.113.7:40961", "198.18.0.9:53"
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(d time.Duration) time.Time { return now.Add(d) }
	fresh := func() *directory {
		return newDirectory(map[uint8]time.Duration{tcp: idleTCP, udp: idleUDP, icmp: idleICMP})
	}
	e := netip.MustParseAddrPort(internal)
	ext := netip.MustParseAddrPort(external)
	knows := func(d *directory, protocol uint8, when time.Duration) bool {
		got, ok := d.find(endpoint{protocol, e}, at(when))
		return ok && got == ext
	}

	d := fresh()
	require.False(t, knows(d, udp, 0))
	before, after := parsed(t, testpacket.UDP(internal, remote, "")), parsed(t, testpacket.UDP(external, remote, ""))
	d.learn(before, after, now)
	require.True(t, knows(d, udp, idleUDP-margin-1))
	require.False(t, knows(d, udp, idleUDP-margin))
	require.False(t, knows(d, tcp, 0), "protocols have spaces of their own")
	a, ok := d.address(e.Addr())
	require.True(t, ok)
	require.Equal(t, ext.Addr(), a)
	d.learn(before, after, at(100*time.Second))
	require.True(t, knows(d, udp, 100*time.Second+idleUDP-margin-1))

	segment := func(flags int) (ipv4, ipv4) {
		return parsed(t, testpacket.TCP(internal, remote, flags, "")), parsed(t, testpacket.TCP(external, remote, flags, ""))
	}
	d = fresh()
	b, a2 := segment(testpacket.SYN)
	d.learn(b, a2, now)
	b, a2 = segment(testpacket.FIN | testpacket.ACK)
	d.learn(b, a2, at(10*time.Second))
	b, a2 = segment(testpacket.ACK)
	d.learn(b, a2, at(200*time.Second))
	require.True(t, knows(d, tcp, 10*time.Second+idleTCP-margin-1))
	require.False(t, knows(d, tcp, 10*time.Second+idleTCP-margin), "what follows a FIN does not prolong it")
	b, a2 = segment(testpacket.SYN)
	d.learn(b, a2, at(300*time.Second))
	d.learn(b, a2, at(310*time.Second))
	require.True(t, knows(d, tcp, 310*time.Second+idleTCP-margin-1), "a SYN opens it again")

	d = fresh()
	d.told(endpoint{udp, e}, ext, now, lifetime)
	require.True(t, knows(d, udp, lifetime-margin-1))
	require.False(t, knows(d, udp, lifetime-margin))

	// An ICMP error may come from a router: nothing is learned of it.
	d = fresh()
	d.learn(parsed(t, testpacket.Unreachable("100.64.0.1", "198.18.0.9", before.b)), parsed(t, testpacket.Unreachable("203.0.113.7", "198.18.0.9", before.b)), now)
	_, ok = d.address(e.Addr())
	require.False(t, ok)
}
