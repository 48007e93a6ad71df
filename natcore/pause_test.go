package natcore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestLongPauses: whoever leaves an engine alone for weeks, or lets packets go on and does not call Expire, finds nothing that is over live again: neither
// dynamic sessions nor static ones, nor what rests, waits or is remembered for a while.
func TestLongPauses(t *testing.T) {
	const day = 24 * time.Hour
	for _, pause := range []time.Duration{25 * day, 30 * day, 50 * day, 60 * day, 75 * day} {
		for _, step := range []time.Duration{pause, 9 * day, 6 * time.Hour} {
			for _, rounds := range []bool{false, true} {
				t.Run(fmt.Sprintf("pause=%v,step=%v,expire=%v", pause, step, rounds), func(t *testing.T) { longPause(t, pause, step, rounds) })
			}
		}
	}
}

func longPause(t *testing.T, pause, step time.Duration, rounds bool) {
	web := natcore.Static{Name: "web", Protocol: 6, External: ip("192.0.2.9"), ExternalPort: 80, Servers: servers(1, 1, 1, 1), Affinity: time.Hour, Sources: alloc.MustParseRanges("10.255.0.1")}
	cfg := config(logging.NewMemory(0))
	cfg.Shards, cfg.RefreshInbound = 1, true
	small(1024, 1055, 16)(&cfg)
	cfg.Pools[0].Blocks.MaxBlocks = 1
	cfg.Pools[0].Mapping, cfg.Pools[0].Overload = natcore.AddressAndPortDependent, true
	cfg.Static = []natcore.Static{web}
	n := newNAT(t, func(c *natcore.Config) { *c = cfg })
	n.log = cfg.Log.(*logging.Memory)

	// A session of each kind, a port that rests towards a remote endpoint while others share it, a source endpoint that rests, a client whose server
	// is remembered, half a datagram, a SYN that waits.
	fresh := func(i int) { n.out(t, udp, endpoint(hostB, 500+i), remoteN(i)) }
	n.fill(t, udp)
	shared := n.out(t, udp, endpoint(hostA, 60000), remoteN(900))
	n.wait(200 * time.Second)
	for i := range 16 { // the other mappings go on
		n.out(t, udp, endpoint(hostA, 40000+i), s1p1)
	}
	n.wait(150 * time.Second)
	n.expire() // that of remoteN(900) has ended, and its port rests
	c := client(1, 4000)
	n.comes(t, tcp, c, at("192.0.2.9:80"), synFlags)
	n.wait(time.Minute)
	n.expire() // nobody has answered: the source endpoint rests
	web2 := n.comes(t, tcp, client(2, 4000), at("192.0.2.9:80"), synFlags)
	require.Equal(t, natcore.Forward, web2.verdict)
	n.leaves(t, 0, tcp, web2.dst, web2.src, synAckFlags)
	n.comes(t, tcp, client(2, 4000), at("192.0.2.9:80"), ackFlags)
	tcpEnd := n.out(t, tcp, endpoint(hostA, 7), s1p1, tcpFlags{syn: true, seq: 1})
	half := split(build(t, udp, endpoint(hostB, 900), s1p1, make([]byte, 64), tcpFlags{}), 32)
	_, _ = n.fragment(natcore.Outbound, half[1])
	n.in(t, tcp, s2p2, shared, tcpFlags{syn: true, seq: 4})
	check(t, n)

	end := n.now.Add(pause)
	for i := 0; n.now.Before(end); i++ {
		n.wait(min(step, end.Sub(n.now)))
		if n.now.Before(end) {
			fresh(i)
			require.Equal(t, natcore.Drop, n.comes(t, tcp, client(3, 4000), at("192.0.2.9:80"), ackFlags).verdict) // and the clock of what is static goes on
			if rounds && i%3 == 2 {
				n.expire()
			}
		}
	}

	_, verdict, why := n.in(t, tcp, s1p1, tcpEnd, tcpFlags{ack: true, seq: 9})
	require.Equal(t, natcore.Drop, verdict, why)
	require.Equal(t, natcore.Drop, n.comes(t, tcp, client(2, 4000), at("192.0.2.9:80"), ackFlags).verdict)
	require.Equal(t, natcore.Drop, n.leaves(t, 0, tcp, web2.dst, web2.src, ackFlags).verdict)
	check(t, n)
	for range 3 {
		n.restored(t, cfg)
		n.expire()
	}
	s := n.Stats()
	require.Zero(t, s.Datagrams)
	require.Zero(t, s.StaticSessions)
	require.LessOrEqual(t, s.Sessions, uint64(1))
	require.Equal(t, natcore.Forward, n.comes(t, tcp, c, at("192.0.2.9:80"), synFlags).verdict)
	for range 3 {
		n.wait(time.Hour)
		n.expire()
	}
	n.fill(t, udp)
	check(t, n)
}
