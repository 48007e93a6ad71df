package mapping

import (
	"testing"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestEdges: the least and the greatest of all that a key is made of are kept apart, and come out as they went in.
func TestEdges(t *testing.T) {
	type internal struct {
		realm uint16
		space portblock.Space
		Endpoint
	}
	table := NewTable([24]byte{}, idle, start)
	var sessions []SavedSession
	seg := Segment{Seq: 1, Flags: FlagSYN}
	n := uint32(0) // external addresses: 0, the last one, 1, the last but one ...
	open := func(v SavedSession) {
		v.Block = table.AddBlock(Block{Realm: v.Realm, Internal: v.Internal.Addr, External: v.External.Addr, Class: v.Scope.Class, Ports: 1})
		m := Mapping{Realm: v.Realm, Space: v.Space, Internal: v.Internal, External: v.External, Scope: v.Scope, Block: v.Block}
		var l, back Lookup
		table.LookOutbound(&l, v.Realm, v.Space, v.Internal, v.Remote)
		table.LookInbound(&back, v.Space, v.External, v.Scope.Class, v.Remote)
		if !table.AddFirst(&l, &back, &m, v.Idle, &seg, 0) {
			require.True(t, table.AddMapping(&m, 0), "%+v", m)
			require.True(t, table.Open(&v.Session, v.Scope, &seg, 0), "%+v", v)
		}
		sessions = append(sessions, v)
	}
	for _, realm := range []uint16{0, 65535} {
		for _, addr := range []uint32{0, 1<<32 - 1} {
			for _, port := range []uint16{0, 65533} {
				for space := range portblock.Space(spaces) {
					for on := OnNothing; on <= OnEndpoint; on++ {
						for i, class := range []uint16{0, 1, 65535} {
							v := SavedSession{Session: Session{
								Realm: realm, Space: space, Internal: Endpoint{addr, port}, Idle: IdleClasses - 1,
								Remote: Endpoint{^addr - uint32(on), port + uint16(i)}, External: Endpoint{n/2 ^ -(n & 1), port},
							}}
							if on == OnAddress { // three mappings differ in it
								v.Remote.Addr -= 8 * uint32(i)
							}
							v.Scope = ScopeOf(on, []uint16{0, 1023}[i%2], class, v.Remote)
							open(v)
						}
						n++
					}
				}
			}
		}
	}
	require.NoError(t, table.CheckInvariants())
	require.Equal(t, len(sessions), table.Sessions())
	var saved []SavedSession
	found := map[internal]int{}
	for part := 0; part >= 0; {
		saved, part = table.AppendSavedSessions(saved[:0], part)
		for _, v := range saved {
			found[internal{v.Realm, v.Space, v.Internal}]++
			require.Contains(t, sessions, SavedSession{Session: Session{
				Realm: v.Realm, Space: v.Space, Internal: v.Internal, External: v.External, Remote: v.Remote, Idle: v.Idle,
			}, Scope: v.Scope, Block: v.Block})
		}
	}
	for _, v := range sessions {
		e, ok := table.Outbound(v.Realm, v.Space, v.Internal, v.Remote, &seg, 0)
		require.True(t, ok)
		require.Equal(t, v.External, e)
		in, realm, ok := table.Inbound(v.Space, v.External, v.Scope.Class, v.Remote, &seg, 0)
		require.True(t, ok, "%+v", v)
		require.Equal(t, v.Internal, in)
		require.Equal(t, v.Realm, realm)
		require.NotEmpty(t, table.MappingsAt(v.Space, v.External, v.Scope.Class))
		require.Positive(t, found[internal{v.Realm, v.Space, v.Internal}])
	}
	for _, v := range sessions {
		ended, ok := table.CloseInbound(v.Space, v.External, v.Scope.Class, v.Remote, 0)
		require.True(t, ok)
		require.True(t, ended.Unmapped)
		require.True(t, table.RemoveBlock(ended.Block))
	}
	require.Zero(t, table.Sessions()+table.Mappings()+table.out.used+table.in.used)
}

// TestPoolsOfOneRemoteEndpoint: a mapping towards one remote endpoint is never taken for one of another pool.
func TestPoolsOfOneRemoteEndpoint(t *testing.T) {
	for _, anchored := range []bool{false, true} {
		table := NewTable(testKey, idle, start)
		block := table.AddBlock(Block{Internal: inside.Addr, External: outside.Addr, Ports: 4096})
		m := Mapping{Internal: inside, External: outside, Block: block, Scope: ScopeOf(OnEndpoint, 0, 0, Endpoint{1, 1})}
		if !anchored { // another mapping is
			require.True(t, table.AddMapping(&m, 0))
			m.External.Port++
		}
		m.Scope = ScopeOf(OnEndpoint, 1, 0, peer)
		require.True(t, table.AddMapping(&m, 0))
		other := ScopeOf(OnEndpoint, 2, 0, peer)
		_, ok := table.Mapped(0, 0, inside, other)
		require.False(t, ok)
		_, ok = table.Unmap(0, 0, inside, other)
		require.False(t, ok)
		require.False(t, table.Open(&Session{Internal: inside, External: m.External, Remote: peer}, other, &Segment{}, 0))
		m.Scope, m.External.Port = other, m.External.Port+1
		require.Equal(t, anchored, table.AddMapping(&m, 0))
		require.NoError(t, table.CheckInvariants())
	}
}
