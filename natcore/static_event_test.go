package natcore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestB19_StaticSessionRecords: sessions of static mappings, of both directions, and of peerings are recorded when they begin and when they end, as dynamic ones are: with the
// name in the pool's place, the endpoint that is translated to, and who began them.
//
// Rows: 8158-E04, 8158-E05.
func TestB19_StaticSessionRecords(t *testing.T) {
	setup := func(t *testing.T, v natcore.Events) *nat {
		return newNAT(t, events(v), withStatic(wholeHost, natcore.Static{
			Name: "lb", Realm: 2, Protocol: 6, External: ip("203.0.113.5"), ExternalPort: 80, Servers: servers(1), Sources: alloc.MustParseRanges("10.255.0.9"),
		}), withPeerings(natcore.Peering{Name: "p", From: 0, To: 1, Destination: prefix("172.16.0.0/24"), Target: prefix("10.0.0.0/24"), Sources: alloc.MustParseRanges("10.255.0.1")}))
	}
	begin := func(n *nat) {
		require.Equal(t, natcore.Forward, n.leaves(t, 0, udp, endpoint(hostA, 1000), s1p1, synFlags).verdict)
		require.Equal(t, natcore.Forward, n.comes(t, tcp, client(1, 4000), at("203.0.113.5:80"), synFlags).verdict)
		require.Equal(t, natcore.Forward, n.comes(t, icmp, endpoint(server1, 77), at("192.0.2.9:77"), synFlags).verdict)
		require.Equal(t, natcore.Hairpin, n.leaves(t, 0, udp, endpoint(hostB, 1000), at("172.16.0.9:80"), synFlags).verdict)
		require.Equal(t, natcore.Forward, n.sends(t, natcore.Outbound, 0, 47, hostA, server1).verdict)
	}
	type told struct {
		sessionRecord
		realm string // of the external address
		why   logging.Reason
	}
	tell := func(n *nat, k logging.Kind) (all []told) {
		for _, r := range n.records(t, k) {
			require.Equal(t, r.Internal.Addr(), r.Subscriber)
			require.Zero(t, r.PoolID)
			all = append(all, told{sessionRecord{r.Pool, r.Realm, r.Protocol, r.Internal, endpoint(r.External, int(r.First)), r.Remote}, r.ExternalRealm, r.Reason})
		}
		return all
	}
	n := setup(t, natcore.Events{Sessions: true, Destinations: true})
	begin(n)
	peered := n.sessionOf(t, "p").External
	want := []told{
		{sessionRecord{"one", "", 17, at("10.0.0.2:1000"), at("192.0.2.9:1000"), s1p1}, "", logging.ReasonOutbound},
		{sessionRecord{"lb", "2", 6, at("10.9.0.1:8080"), at("203.0.113.5:80"), client(1, 4000)}, "", logging.ReasonInbound},
		{sessionRecord{"one", "", 1, at("10.0.0.2:77"), at("192.0.2.9:77"), endpoint(server1, 0)}, "", logging.ReasonInbound},
		{sessionRecord{"p", "", 17, at("10.0.0.3:1000"), peered, at("10.0.0.9:80")}, "1", logging.ReasonOutbound},
		{sessionRecord{"one", "", 47, at("10.0.0.2:0"), at("192.0.2.9:0"), endpoint(server1, 0)}, "", logging.ReasonOutbound},
	}
	n.expire()
	require.ElementsMatch(t, want, tell(n, logging.SessionCreated))
	require.Empty(t, n.records(t, logging.SessionDeleted))
	ended := func(why logging.Reason, of ...told) (all []told) {
		for _, r := range of {
			r.why = why
			all = append(all, r)
		}
		return all
	}
	n.wait(60 * time.Second) // ICMP, and the server that has not answered
	n.expire()
	require.ElementsMatch(t, ended(logging.ReasonIdle, want[1:3]...), tell(n, logging.SessionDeleted))
	require.True(t, n.EndSession(n.sessionOf(t, "p"), n.now))
	n.expire()
	require.ElementsMatch(t, ended(logging.ReasonIdle, want[1:4]...), tell(n, logging.SessionDeleted))
	require.True(t, n.RemoveStatic("one", n.now))
	n.expire()
	require.ElementsMatch(t, append(ended(logging.ReasonIdle, want[1:4]...), ended(logging.ReasonAdmin, want[0], want[4])...), tell(n, logging.SessionDeleted))

	n = setup(t, natcore.Events{Sessions: true, Destinations: true})
	begin(n)
	require.NoError(t, n.Close(n.now))
	require.ElementsMatch(t, ended(logging.ReasonShutdown, want...), ended(logging.ReasonShutdown, tell(n, logging.SessionCreated)...))
	require.ElementsMatch(t, ended(logging.ReasonShutdown, want...), tell(n, logging.SessionDeleted))

	n = setup(t, natcore.Events{Sessions: true})
	begin(n)
	n.expire()
	for _, r := range tell(n, logging.SessionCreated) {
		require.False(t, r.remote.IsValid(), "destinations are asked for (RFC 6888 REQ-12)")
	}
	for _, v := range []natcore.Events{{}, {Off: true, Sessions: true}} {
		n = setup(t, v)
		begin(n)
		n.expire()
		require.Empty(t, n.records(t, logging.SessionCreated))
		require.NoError(t, n.Close(n.now))
		require.Empty(t, n.records(t, logging.SessionDeleted))
	}

	// Events change while sessions live; what the log refuses is offered again.
	n = setup(t, natcore.Events{})
	cfg := n.Config()
	cfg.Events.Sessions = true
	_, err := n.Reconfigure(cfg, n.now)
	require.NoError(t, err)
	n.log.Refuse(errors.New("the disk is full"))
	begin(n)
	n.expire()
	require.Empty(t, tell(n, logging.SessionCreated))
	n.log.Refuse(nil)
	n.expire()
	require.Len(t, tell(n, logging.SessionCreated), 5)
}

// TestManyStaticSessionsEnd: the records of many sessions that end at once, with their mapping, are all written.
func TestManyStaticSessionsEnd(t *testing.T) {
	n := newNAT(t, events(natcore.Events{Sessions: true}), withStatic(natcore.Static{
		Name: "s", Protocol: 17, External: ip("192.0.2.9"), ExternalPort: 80, Internal: hostA, Sources: alloc.MustParseRanges("10.255.0.1"),
	}))
	const many = 20_000
	for i := range many {
		require.Equal(t, natcore.Forward, n.leavesFast(t, i).verdict)
	}
	require.True(t, n.RemoveStatic("s", n.now))
	n.expire()
	require.Len(t, n.records(t, logging.SessionCreated), many)
	require.Len(t, n.records(t, logging.SessionDeleted), many)
	require.Zero(t, n.Stats().EventsLost)
}

// sessionLike returns some session of a static mapping or a peering.
func (n *nat) sessionLike(t failer, name string) natcore.SessionInfo {
	for s := range n.Sessions() {
		if s.Static == name {
			return s
		}
	}
	require.Fail(t, "no session of "+name)
	return natcore.SessionInfo{}
}

// sessionOf returns the one session of a static mapping or a peering.
func (n *nat) sessionOf(t failer, name string) (found natcore.SessionInfo) {
	count := 0
	for s := range n.Sessions() {
		if s.Static == name {
			found = s
			count++
		}
	}
	require.Equal(t, 1, count)
	return found
}
