package natcore_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestB12_CountersAreExact: 1500 flows of each protocol, each translated once and answered once; drops are none, and the
// sessions that are counted are as many as the external endpoints that were seen.
//
// Rows: B12, B58.
func TestB12_CountersAreExact(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Shards = 8 })
	seen := map[kind]map[netip.AddrPort]bool{}
	for _, k := range []kind{udp, tcp, icmp} {
		seen[k] = map[netip.AddrPort]bool{}
		for i := range 1500 {
			src := endpoint(host(i%100), 10000+i)
			e := n.out(t, k, src, s1p1)
			seen[k][e] = true
			to, verdict, why := n.in(t, k, s1p1, e, tcpFlags{syn: true, ack: true, seq: 5000})
			require.Equal(t, natcore.Forward, verdict, why)
			require.Equal(t, src, to)
		}
	}
	st := n.Stats()
	require.EqualValues(t, len(seen[udp])+len(seen[tcp])+len(seen[icmp]), st.Sessions)
	require.EqualValues(t, 4500, st.Sessions)
	require.EqualValues(t, 4500, st.SessionsCreated)
	require.EqualValues(t, 4500, st.Packets[natcore.Outbound][natcore.Forward])
	require.EqualValues(t, 4500, st.Packets[natcore.Inbound][natcore.Forward])
	require.Zero(t, st.Packets[natcore.Outbound][natcore.Drop]+st.Packets[natcore.Inbound][natcore.Drop])
	require.EqualValues(t, 100, st.Subscribers)
	check(t, n)
}

// TestB13_EdgePorts: whatever the internal port, the external one is in the pool's range; answers to ports that are held pass, packets to ports
// that nobody holds are counted as dropped.
//
// Rows: B13.
func TestB13_EdgePorts(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5") })
	held := map[netip.AddrPort]bool{}
	for i, port := range []int{0, 1, 1023, 1024, 32767, 32768, 65534, 65535} {
		src := endpoint(host(i), port)
		e := n.out(t, udp, src, s1p1)
		require.GreaterOrEqual(t, e.Port(), uint16(1024))
		require.True(t, n.passes(t, udp, s1p1, e, src))
		held[e] = true
	}
	dropped := 0
	for port := range 65536 {
		if e := endpoint(netip.MustParseAddr("203.0.113.5"), port); !held[e] {
			require.False(t, n.passes(t, udp, s1p1, e, netip.AddrPort{}))
			dropped++
		}
	}
	st := n.Stats()
	require.EqualValues(t, dropped, st.Drops[natcore.ReasonNoMapping])
	require.EqualValues(t, dropped, st.Packets[natcore.Inbound][natcore.Drop])
}

// TestB15_MoreFlowsThanPorts: of 64,512 + 256 flows to one remote endpoint by one address no two share an external port, and the
// excess is counted.
//
// Rows: B15.
func TestB15_MoreFlowsThanPorts(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
		c.Limits.SessionsPerSubscriber = 1 << 17
		c.ICMP.Off = true
	})
	const flows = 64512 + 256
	used := map[uint16]bool{}
	packet := build(t, udp, a40000, s1p1, nil, tcpFlags{})
	for i := range flows {
		b := append([]byte(nil), packet...)
		h := host(i / 256).As4()
		copy(b[12:16], h[:])
		b[20], b[21] = byte(i%256), byte(i%256)
		refit(b)
		if verdict, _ := n.Outbound(b, n.now); verdict != natcore.Drop {
			port := uint16(b[20])<<8 | uint16(b[21])
			require.False(t, used[port], "port %d is used twice", port)
			used[port] = true
		}
	}
	require.Len(t, used, 64512)
	st := n.Stats()
	require.EqualValues(t, 256, st.Drops[natcore.ReasonAddressesExhausted]+st.Drops[natcore.ReasonBlocksExhausted])
	check(t, n)
}

// TestB16_HostsSpread: 100 hosts on 64 addresses are spread evenly: with one or two on each the variance is below 0.33.
func TestB16_HostsSpread(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.0/26") })
	on := map[netip.Addr]float64{}
	for i := range 100 {
		on[n.out(t, udp, endpoint(host(i), 5000), s1p1).Addr()]++
	}
	variance := 0.0
	for a := range n.Addresses("cgn") {
		d := on[a.External] - 100.0/64
		variance += d * d / 64
	}
	require.Less(t, variance, 0.33)
}

// TestB82_ThreePorts: a pool with the ports 1025 to 1027 serves three of five flows, each from one of these.
//
// Rows: B82.
func TestB82_ThreePorts(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
		c.Pools[0].Blocks = portblock.Config{Ports: portblock.RangeOf(1025, 1027), BlockSize: 16}
	})
	used := map[uint16]bool{}
	for i := range 5 {
		if e, verdict, _ := n.try(t, udp, endpoint(hostA, 5000+i), s1p1); verdict == natcore.Forward {
			used[e.Port()] = true
		}
	}
	require.Equal(t, map[uint16]bool{1025: true, 1026: true, 1027: true}, used)
	require.EqualValues(t, 2, n.Stats().Packets[natcore.Outbound][natcore.Drop])
	check(t, n)
}

// TestB118_RestsOutliveARestart: freed ports and blocks rest for their time, whether the engine is saved and restored meanwhile or not.
//
// Rows: B118.
func TestB118_RestsOutliveARestart(t *testing.T) {
	change := func(c *natcore.Config) {
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
		c.Pools[0].Blocks = portblock.Config{Ports: portblock.RangeOf(4096, 4111), BlockSize: 16, IdleTimeout: portblock.Off}
	}
	for _, restart := range []bool{false, true} {
		n := newNAT(t, change)
		for i := range 16 {
			n.out(t, udp, endpoint(hostA, 5000+i), s1p1)
		}
		n.wait(300 * time.Second)
		n.expire()
		require.Zero(t, n.Stats().Sessions)
		if restart {
			cfg := config(n.log)
			change(&cfg)
			n = n.restored(t, cfg)
		}
		n.wait(120*time.Second - tick)
		n.expire()
		_, verdict, _ := n.try(t, udp, endpoint(hostB, 40000), s1p1)
		require.Equal(t, natcore.Drop, verdict, "a tick before the rest is over (restart: %v)", restart)
		n.wait(tick)
		n.expire()
		n.out(t, udp, endpoint(hostB, 40000), s1p1)
		check(t, n)
	}
}
