package natcore_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// oneAddress is a pool of one address and 512 ports.
func oneAddress(c *natcore.Config) {
	c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
	c.Pools[0].Blocks = portblock.Config{Ports: portblock.RangeOf(1024, 1535), MaxBlocks: 2}
}

// TestB65_AddStatic: mappings are added while packets flow. A live dynamic mapping that holds a port is told and refuses the addition, or ends, as the
// caller chooses; the host's next packet has the static address and its own port.
//
// Rows: B65, H27.
func TestB65_AddStatic(t *testing.T) {
	n := newNAT(t, oneAddress)
	held := n.out(t, udp, endpoint(hostA, 4000), endpoint(server1, 80))
	add := []natcore.Static{
		{Name: "one", External: ip("192.0.2.9"), Internal: hostB},
		{Name: "taken", Protocol: 17, External: held.Addr(), ExternalPort: held.Port(), Internal: ip("10.9.0.1"), InternalPort: 80},
	}
	b := n.out(t, udp, endpoint(hostB, 5000), endpoint(server1, 80))
	var conflict *natcore.ConflictError
	require.ErrorAs(t, n.AddStatic(add, natcore.RefuseConflicts, n.now), &conflict)
	require.Equal(t, []natcore.Conflict{{Static: "taken", Protocol: 17, Internal: endpoint(hostA, 4000), External: held}}, conflict.Conflicts)
	require.ErrorContains(t, conflict, "RetireConflicts")
	require.Empty(t, n.Statics())
	require.False(t, n.External(ip("192.0.2.9")))
	require.Equal(t, held, n.out(t, udp, endpoint(hostA, 4000), endpoint(server2, 80)), "nothing has changed")
	check(t, n)

	require.NoError(t, n.AddStatic(add, natcore.RetireConflicts, n.now))
	require.Len(t, n.Statics(), 2)
	check(t, n)
	require.NotEqual(t, held, n.out(t, udp, endpoint(hostA, 4000), endpoint(server1, 80)), "the port is the mapping's")
	require.Equal(t, at("192.0.2.9:5000"), n.out(t, udp, endpoint(hostB, 5000), endpoint(server1, 80)))
	require.Equal(t, dropped(natcore.ReasonNoMapping), n.comes(t, udp, endpoint(server1, 80), b, synFlags))
	require.Equal(t, at("10.9.0.1:80"), n.comes(t, udp, endpoint(server1, 80), held, synFlags).dst)
	check(t, n)

	// No other port than the static one is lost to subscribers.
	seen := map[uint16]bool{}
	for i := range 600 {
		m := n.leaves(t, 0, udp, endpoint(hostA, 1+i), endpoint(server1, 80), synFlags)
		if m.verdict == natcore.Forward {
			require.NotEqual(t, held.Port(), m.src.Port())
			seen[m.src.Port()] = true
		}
	}
	require.NotEmpty(t, seen)
	check(t, n)
}

// TestB37_StaticOverLiveSession: a mapping that matches a live dynamic session leaves it alone: data flows both ways. When the
// session is over the port is the mapping's, and a new flow of the host gets another one.
//
// Rows: B37.
func TestB37_StaticOverLiveSession(t *testing.T) {
	n := newNAT(t, oneAddress)
	held := n.out(t, udp, endpoint(hostA, 4000), endpoint(server1, 80))
	// The host gets a mapping elsewhere; its live session is not in the way.
	require.NoError(t, n.AddStatic([]natcore.Static{{Name: "one", External: ip("192.0.2.9"), Internal: hostA}}, natcore.RefuseConflicts, n.now))
	require.Equal(t, held, n.out(t, udp, endpoint(hostA, 4000), endpoint(server1, 80)))
	require.Equal(t, endpoint(hostA, 4000), n.comes(t, udp, endpoint(server1, 80), held, synFlags).dst)
	require.EqualValues(t, 1, n.Stats().Sessions)
	require.Equal(t, at("192.0.2.9:4000"), n.out(t, udp, endpoint(hostA, 4000), endpoint(server2, 80)))
	n.wait(301 * time.Second)
	n.expire()
	require.Equal(t, at("192.0.2.9:4000"), n.out(t, udp, endpoint(hostA, 4000), endpoint(server1, 80)))
	check(t, n)
}

// TestRemoveStatic: the sessions of a mapping end with it, its port is the pool's again.
func TestRemoveStatic(t *testing.T) {
	n := newNAT(t, oneAddress, withStatic(
		natcore.Static{Name: "all", External: ip("203.0.113.5"), Internal: hostB},
		natcore.Static{Name: "twice", External: ip("192.0.2.9"), Internal: hostB, InboundOnly: true, Sources: alloc.MustParseRanges("10.255.0.1")},
	))
	require.Equal(t, natcore.ReasonAddressesExhausted, n.leaves(t, 0, udp, endpoint(hostA, 4000), endpoint(server1, 80), synFlags).why)
	n.comes(t, udp, endpoint(server1, 80), at("203.0.113.5:2000"), synFlags)
	n.comes(t, udp, endpoint(server1, 80), at("192.0.2.9:2000"), synFlags)
	require.EqualValues(t, 2, n.Stats().StaticSessions)
	require.True(t, n.RemoveStatic("all", n.now))
	require.False(t, n.RemoveStatic("all", n.now))
	require.EqualValues(t, 1, n.Stats().StaticSessions)
	check(t, n)
	require.Equal(t, ip("203.0.113.5"), n.out(t, udp, endpoint(hostA, 4000), endpoint(server1, 80)).Addr())
	require.True(t, n.RemoveStatic("twice", n.now))
	require.Zero(t, n.Stats().StaticSessions)
	require.False(t, n.External(ip("192.0.2.9")))
	require.Equal(t, dropped(natcore.ReasonNotExternal), n.comes(t, udp, endpoint(server1, 80), at("192.0.2.9:2000"), synFlags))
	check(t, n)
}

// TestStaticFaults: all faults of static mappings, peerings and protocols come together, each with its field and what to do.
//
// Rows: H54.
func TestStaticFaults(t *testing.T) {
	cfg := config(logging.Discard)
	cfg.Static = []natcore.Static{
		{},
		{Name: "a", External: ip("2001:db8::1"), Internal: ip("10.0.0.1"), Protocol: 47, ExternalPort: 5},
		{Name: "a", External: ip("192.0.2.1"), Internal: ip("10.0.0.1"), ExternalPort: 65000, Ports: 1000, Addresses: -1, MaxSessions: -1},
		{Name: "b", External: ip("192.0.2.2"), Servers: []natcore.Server{{Internal: at("10.0.0.1:0"), Weight: -1}, {Internal: at("10.0.0.1:5")}}, Filtering: 9, Twice: 7, Balance: 4},
		{Name: "c", External: ip("192.0.2.3"), Internal: ip("192.0.2.3"), Filtering: natcore.AddressDependent, Twice: natcore.TwiceSelf},
		{Name: "d", Protocol: 51, External: ip("192.0.2.4"), Internal: ip("10.0.0.4"), Remotes: make([]netip.Prefix, 1), Affinity: -1},
		{Name: "e", Protocol: 6, External: ip("255.255.255.255"), Internal: ip("10.0.0.4"), Addresses: 2, Ports: 4},
	}
	cfg.Peerings = []natcore.Peering{
		{}, {Name: "p", From: natcore.ExternalRealm, To: 1, Protocol: 33, Destination: netip.MustParsePrefix("10.0.0.0/8"), Target: netip.MustParsePrefix("10.0.0.0/9"),
			SourceAs: netip.MustParsePrefix("10.0.0.0/9"), Sources: alloc.MustParseRanges("10.0.0.0"), TargetPort: 7, SourcePorts: portblock.RangeOf(0, 5)},
		{Name: "p", From: 1, To: natcore.ExternalRealm, Destination: netip.MustParsePrefix("10.0.0.0/8"), DestinationPorts: portblock.RangeOf(1, 9), Protocol: 47},
	}
	cfg.Protocols = []uint8{6, 51, 47, 47}
	_, err := natcore.New(cfg, began)
	for _, field := range []string{
		"Static[0].Name", "Static[0].External", "Static[0].Internal", "Static[1].External", "Static[1].Protocol", "Static[2].Name", "Static[2].ExternalPort",
		"Static[2].InternalPort", "Static[2].Addresses", "Static[2].MaxSessions", "Static[3].Servers[0].Weight", "Static[3].Servers[1].Internal", "Static[3].Filtering",
		"Static[3].Twice", "Static[3].Balance", "Static[4].Filtering", "Static[4].Sources", "Static[5].Protocol", "Static[5].Remotes[0]", "Static[5].Affinity",
		"Static[6].External", "Static[6].ExternalPort", "Peerings[0].Name", "Peerings[0].To", "Peerings[0].Destination", "Peerings[1].From", "Peerings[1].Protocol",
		"Peerings[1].Target", "Peerings[1].SourceAs", "Peerings[1].DestinationPorts", "Peerings[1].SourcePorts", "Peerings[2].Name", "Peerings[2].Sources",
		"Peerings[2].DestinationPorts", "Protocols[0]", "Protocols[1]", "Protocols[3]",
	} {
		require.ErrorContains(t, err, field+" = ")
	}
}

// TestStaticOverlaps: mappings that claim one external endpoint, or one internal endpoint both ways, and such that a deterministic map has given away, are
// faults that name both.
func TestStaticOverlaps(t *testing.T) {
	web := natcore.Static{Name: "web", Protocol: 6, External: ip("203.0.113.5"), ExternalPort: 80, Internal: hostA}
	for name, c := range map[string]struct {
		other natcore.Static
		want  string
	}{
		"same port":         {natcore.Static{Name: "x", Protocol: 6, External: ip("203.0.113.5"), ExternalPort: 70, Ports: 20, Internal: hostB}, `Static[1].External = 203.0.113.5 ports 70-89 of protocol 6: overlaps "web"`},
		"any protocol":      {natcore.Static{Name: "x", External: ip("203.0.113.5"), ExternalPort: 80, Internal: hostB}, `overlaps "web"`},
		"whole address":     {natcore.Static{Name: "x", External: ip("203.0.113.4"), Addresses: 4, Internal: ip("10.9.0.0")}, `overlaps "web"`},
		"internal endpoint": {natcore.Static{Name: "x", Protocol: 6, External: ip("203.0.113.6"), ExternalPort: 81, Internal: hostA, InternalPort: 80}, `Static[1].Internal = 10.0.0.2 port`},
		"other protocol":    {natcore.Static{Name: "x", Protocol: 17, External: ip("203.0.113.5"), ExternalPort: 80, Internal: hostB}, ""},
		"inbound only":      {natcore.Static{Name: "x", Protocol: 6, External: ip("203.0.113.6"), ExternalPort: 81, Internal: hostA, InternalPort: 80, InboundOnly: true}, ""},
		"other realm":       {natcore.Static{Name: "x", Realm: 2, Protocol: 6, External: ip("203.0.113.6"), ExternalPort: 81, Internal: hostA, InternalPort: 80}, ""},
	} {
		cfg := config(logging.Discard)
		cfg.Static = []natcore.Static{web, c.other}
		_, err := natcore.New(cfg, began)
		n := newNAT(t, withStatic(web))
		added := n.AddStatic([]natcore.Static{c.other}, natcore.RefuseConflicts, n.now)
		if c.want == "" {
			require.NoError(t, err, name)
			require.NoError(t, added, name)
			continue
		}
		require.ErrorContains(t, err, c.want, name)
		require.ErrorContains(t, added, `overlaps "web"`, name)
		var f *natcore.FieldError
		require.True(t, errors.As(added, &f))
		require.Len(t, n.Statics(), 1)
	}
	n := newNAT(t, withStatic(web))
	require.ErrorContains(t, n.AddStatic([]natcore.Static{web}, natcore.RefuseConflicts, n.now), "is the name of another")
	require.ErrorContains(t, n.AddStatic(nil, 9, n.now), "how")

	m := example(t, nil)
	cfg := config(logging.Discard)
	cfg.Pools = []natcore.PoolConfig{{Name: "d", Map: m}}
	cfg.Static = []natcore.Static{{Name: "low", External: ip("192.0.2.1"), ExternalPort: 80, Internal: hostA}, {Name: "high", External: ip("192.0.2.1"), ExternalPort: 2000, Internal: hostB}}
	_, err := natcore.New(cfg, began)
	require.ErrorContains(t, err, `Static[1].External = 192.0.2.1 ports 2000: port 2000 is`)
	require.NotContains(t, err.Error(), "Static[0]")
}

// TestStatics: what Statics tells has all defaults filled in, and is the caller's own.
func TestStatics(t *testing.T) {
	n := newNAT(t, withStatic(balanced(1, 0)))
	s := n.Statics()[0]
	require.Equal(t, 1, s.Servers[1].Weight)
	require.Equal(t, 1, s.Ports)
	require.True(t, s.InboundOnly)
	s.Servers[0].Weight = 77
	require.Equal(t, 1, n.Statics()[0].Servers[0].Weight)
	require.Nil(t, newNAT(t).Statics())
}

// TestRestoreWithMoreStatics: an engine that is restored with a static mapping which the saved one had not ends what is in its way, and nothing else.
func TestRestoreWithMoreStatics(t *testing.T) {
	n := newNAT(t, oneAddress)
	held := n.out(t, udp, endpoint(hostA, 4000), endpoint(server1, 80))
	other := n.out(t, udp, endpoint(hostA, 4001), endpoint(server1, 80))
	n.Stop()
	cfg := config(n.log)
	oneAddress(&cfg)
	cfg.Static = []natcore.Static{{Name: "taken", External: held.Addr(), ExternalPort: held.Port(), Internal: hostB}, {Name: "a", External: ip("192.0.2.9"), Internal: hostA}}
	e, err := natcore.Restore(cfg, n.AppendSnapshot(nil), n.now)
	require.NoError(t, err)
	n.Engine = e
	check(t, n)
	require.Equal(t, other, n.out(t, udp, endpoint(hostA, 4001), endpoint(server1, 80)), "a live session goes on")
	require.Equal(t, at("192.0.2.9:4000"), n.out(t, udp, endpoint(hostA, 4000), endpoint(server1, 80)))
	require.Equal(t, hostB, n.comes(t, udp, endpoint(server1, 80), held, synFlags).dst.Addr())
	check(t, n)
}

// TestStaticsAcrossReconfiguration: addresses with static ports join a pool and leave it, its reserved ports change, and no static port is ever a subscriber's.
func TestStaticsAcrossReconfiguration(t *testing.T) {
	n := newNAT(t, oneAddress, withStatic(
		natcore.Static{Name: "beside", External: ip("203.0.113.6"), ExternalPort: 1024, Ports: 300, Internal: hostB, InboundOnly: true},
		natcore.Static{Name: "whole", External: ip("203.0.113.7"), Internal: ip("10.9.0.1")},
	))
	n.reconfigure(t, addresses("203.0.113.5-203.0.113.8"))
	n.reconfigure(t, func(c *natcore.Config) {
		c.Pools[0].Blocks.Reserved = []portblock.Reservation{{Ports: portblock.RangeOf(1400, 1409)}}
	})
	seen := map[netip.AddrPort]bool{}
	for host := range 4 {
		for port := range 600 {
			m := n.leaves(t, 0, udp, endpoint(netip.AddrFrom4([4]byte{10, 0, 7, byte(host)}), 1+port), endpoint(server1, 80), synFlags)
			if m.verdict == natcore.Drop {
				continue
			}
			require.False(t, seen[m.src])
			seen[m.src] = true
			require.NotEqual(t, ip("203.0.113.7"), m.src.Addr())
			require.False(t, m.src.Addr() == ip("203.0.113.6") && m.src.Port() < 1324, "%v", m.src)
			require.False(t, m.src.Port() >= 1400 && m.src.Port() < 1410, "%v", m.src)
		}
	}
	require.Greater(t, len(seen), 700)
	check(t, n)
	require.Equal(t, hostB, n.comes(t, udp, endpoint(server1, 1), at("203.0.113.6:1300"), synFlags).dst.Addr())
	n.reconfigure(t, addresses("203.0.113.5"))
	require.Equal(t, hostB, n.comes(t, udp, endpoint(server1, 2), at("203.0.113.6:1300"), synFlags).dst.Addr())
	require.True(t, n.External(ip("203.0.113.7")))
	check(t, n)
}
