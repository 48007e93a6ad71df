package mapping

import (
	"fmt"
	"testing"
	"time"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var (
	start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	idle  = Timeouts{
		UDP: 300 * time.Second, ICMP: 60 * time.Second, TCPOpening: 240 * time.Second,
		TCPEstablished: 7440 * time.Second, TCPClosing: 240 * time.Second,
	}
	testKey = [24]byte{1, 2, 3, 9: 4, 17: 5}
)

// golden is the table as plain maps: no hashing, no packing, no anchors, no hints.
type golden struct {
	now      time.Time
	idle     [2]Timeouts // by class
	mappings map[goldenKey]*goldenMapping
	sessions map[goldenFlow]*goldenSession
}

type goldenOwner struct {
	realm    uint16
	space    portblock.Space
	internal Endpoint
}

type goldenKey struct {
	goldenOwner
	scope Scope
}

type goldenFlow struct {
	goldenOwner
	remote Endpoint
}

type goldenMapping struct {
	external Endpoint
	block    BlockID
	until    time.Time
}

type goldenSession struct {
	of      goldenKey
	out, in time.Time
	class   uint8
	opening bool // of a TCP session, which else is established
}

// serving returns the mapping that serves a remote endpoint at an external one.
func (g *golden) serving(space portblock.Space, external Endpoint, class uint16, remote Endpoint) (goldenKey, *goldenMapping) {
	for k, m := range g.mappings {
		serves := k.scope.On == OnNothing || k.scope.Remote.Addr == remote.Addr && (k.scope.On == OnAddress || k.scope.Remote == remote)
		if k.space == space && m.external == external && k.scope.Class == class && serves {
			return k, m
		}
	}
	return goldenKey{}, nil
}

// fits reports whether a mapping can have an external endpoint.
func (g *golden) fits(k goldenKey, external Endpoint) bool {
	for other, m := range g.mappings {
		ports := PortsOf(other.space) == PortsOf(k.space)
		if m.external != external || !ports || other.scope.Class != k.scope.Class {
			continue
		}
		if other.space != k.space || k.scope.On == OnNothing || other.scope.On != k.scope.On || other.scope.Remote == k.scope.Remote {
			return false
		}
	}
	return true
}

func (g *golden) idleOf(f goldenFlow, s *goldenSession) time.Duration {
	of := g.idle[s.class]
	switch {
	case PortsOf(f.space) == portblock.UDP:
		return of.UDP
	case f.space == portblock.ICMP:
		return of.ICMP
	case s.opening:
		return of.TCPOpening
	}
	return of.TCPEstablished
}

func (g *golden) over(f goldenFlow, s *goldenSession) bool {
	last := s.out
	if g.idle[0].RefreshInbound && s.in.After(last) {
		last = s.in
	}
	return g.now.Sub(last) >= g.idleOf(f, s)
}

func (g *golden) uses(k goldenKey) (n int) {
	for _, s := range g.sessions {
		if s.of == k {
			n++
		}
	}
	return n
}

// end removes a session, and its mapping where that has no other use.
func (g *golden) end(f goldenFlow) (unmapped bool) {
	k := g.sessions[f].of
	delete(g.sessions, f)
	return g.settle(k)
}

func (g *golden) settle(k goldenKey) (unmapped bool) {
	if g.uses(k) > 0 || g.mappings[k].until.After(g.now) {
		return false
	}
	delete(g.mappings, k)
	return true
}

// expire removes what is over and returns it as text, for comparison as sets.
func (g *golden) expire() map[string]bool {
	ended := map[string]bool{}
	for f, s := range g.sessions {
		if g.over(f, s) {
			ended[fmt.Sprint("session ", f, g.mappings[s.of].external)] = true
			delete(g.sessions, f)
		}
	}
	for k, m := range g.mappings {
		if g.settle(k) {
			ended[fmt.Sprint("mapping ", k.goldenOwner, m.external)] = true
		}
	}
	return ended
}

// told returns what the table says has ended as text.
func told(t *Table, sessions []Ended, mappings []Mapping, permits bool) map[string]bool {
	text := map[string]bool{}
	for _, s := range sessions {
		o := goldenOwner{s.Realm, s.Space, s.Internal}
		text[fmt.Sprint("session ", goldenFlow{o, s.Remote}, s.External)] = true
		if permits {
			t.Forbid(s.Space, s.External, s.Remote.Addr, 3)
		}
		if s.Unmapped {
			text[fmt.Sprint("mapping ", o, s.External)] = true
		}
	}
	for _, m := range mappings {
		text[fmt.Sprint("mapping ", goldenOwner{m.Realm, m.Space, m.Internal}, m.External)] = true
	}
	return text
}

// TestTableAgainstModel drives the table and the golden model with the same
// operations: several mappings of an internal endpoint, several sessions of a mapping, two classes of timeouts. TCP segments
// here are SYNs, plain ACKs and RSTs out of window; the table of states has its own test.
func TestTableAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := NewTable(testKey, idle, start)
		g := &golden{now: start, mappings: map[goldenKey]*goldenMapping{}, sessions: map[goldenFlow]*goldenSession{}}
		g.idle = [2]Timeouts{idle, idle}
		permits := rapid.Bool().Draw(t, "permits")
		hosts := rapid.SampledFrom([]int{2, 20}).Draw(t, "hosts")
		const ports = 5
		// Each pool has an external address in each realm, and each host a block in it; in the last pool one for each class of remotes.
		behaviour := []Dependence{OnNothing, OnAddress, OnEndpoint, OnNothing}
		pools := rapid.IntRange(1, len(behaviour)).Draw(t, "pools")
		class := func(pool uint16, remote Endpoint) uint16 {
			if pool == 3 {
				return uint16(1 + remote.Addr%2)
			}
			return 0
		}
		type where struct {
			realm, pool, class uint16
			host               uint32
		}
		blocks := map[where]BlockID{}
		address := func(w where) uint32 { return 0xcb007100 + uint32(w.realm)*16 + uint32(w.pool) }
		blockOf := func(w where) BlockID {
			if blocks[w] == 0 {
				blocks[w] = table.AddBlock(Block{
					Realm: w.realm, Internal: 0x64400000 + w.host, External: address(w), Class: w.class, Number: uint16(w.host), Ports: ports,
				})
			}
			return blocks[w]
		}
		host := func() uint32 { return uint32(rapid.IntRange(1, hosts).Draw(t, "host")) }
		space := func() portblock.Space { return portblock.Space(rapid.IntRange(0, 3).Draw(t, "space")) }
		owner := func() goldenOwner {
			return goldenOwner{
				uint16(rapid.IntRange(0, 1).Draw(t, "realm")), space(),
				Endpoint{0x64400000 + host(), uint16(rapid.SampledFrom([]int{0, 1023, 40000, 65535}).Draw(t, "port"))},
			}
		}
		remote := func() Endpoint {
			return Endpoint{0xc6336400 + uint32(rapid.IntRange(1, 3).Draw(t, "remote")), uint16(rapid.SampledFrom([]int{0, 53, 443}).Draw(t, "remote port"))}
		}
		scope := func(r Endpoint) Scope {
			pool := uint16(rapid.IntRange(0, pools-1).Draw(t, "pool"))
			return ScopeOf(behaviour[pool], pool, class(pool, r), r)
		}
		key := func() (goldenKey, Endpoint) {
			r := remote()
			return goldenKey{owner(), scope(r)}, r
		}
		port := func(w where) Endpoint {
			return Endpoint{address(w), uint16(1024 + ports*int(w.host) + rapid.IntRange(0, ports-1).Draw(t, "offset"))}
		}
		of := func(k goldenKey) where {
			return where{k.realm, k.scope.Pool, k.scope.Class, k.internal.Addr - 0x64400000}
		}
		tick := func() Tick { return table.Advance(g.now) }
		t.Repeat(map[string]func(*rapid.T){
			"map": func(t *rapid.T) {
				k, _ := key()
				e := port(of(k))
				m := Mapping{Realm: k.realm, Space: k.space, Internal: k.internal, External: e, Scope: k.scope, Block: blockOf(of(k))}
				if rapid.IntRange(0, 9).Draw(t, "foreign") == 0 {
					w := of(k)
					w.realm = 1 - w.realm
					m.Block = blockOf(w)
					require.False(t, table.AddMapping(&m, tick()))
					return
				}
				free := g.mappings[k] == nil && g.fits(k, e)
				require.Equal(t, g.fits(k, e), table.Fits(k.space, e, k.scope))
				require.Equal(t, free, table.AddMapping(&m, tick()), "AddMapping %v -> %v", k, e)
				if free {
					g.mappings[k] = &goldenMapping{external: e, block: m.Block}
				}
			},
			"first": func(t *rapid.T) {
				k, r := key()
				e := port(of(k))
				m := Mapping{Realm: k.realm, Space: k.space, Internal: k.internal, External: e, Scope: k.scope, Block: blockOf(of(k))}
				class := uint8(rapid.IntRange(0, 1).Draw(t, "class"))
				vacant, free := true, true
				for other, there := range g.mappings {
					vacant = vacant && other.goldenOwner != k.goldenOwner
					free = free && !(there.external == e && PortsOf(other.space) == PortsOf(k.space) && other.scope.Class == k.scope.Class)
				}
				if rapid.IntRange(0, 9).Draw(t, "foreign") == 0 {
					w := of(k)
					w.realm = 1 - w.realm
					m.Block, free = blockOf(w), false
				}
				var l, back Lookup
				table.LookOutbound(&l, k.realm, k.space, k.internal, r)
				table.LookInbound(&back, k.space, e, k.scope.Class, r)
				require.Equal(t, vacant, table.Vacant(&l))
				_, lingers := g.sessions[goldenFlow{k.goldenOwner, r}]
				require.Equal(t, lingers, table.Lingers(&l))
				seg := Segment{Seq: 100, Flags: rapid.SampledFrom([]uint8{FlagSYN, FlagACK}).Draw(t, "flags")}
				require.Equal(t, vacant && free, table.AddFirst(&l, &back, &m, class, &seg, tick()), "AddFirst %v -> %v", k, e)
				if vacant && free {
					if permits {
						table.Permit(k.space, e, r.Addr, 3)
					}
					g.mappings[k] = &goldenMapping{external: e, block: m.Block}
					g.sessions[goldenFlow{k.goldenOwner, r}] = &goldenSession{k, g.now, g.now, class, seg.Flags == FlagSYN}
				}
			},
			"open": func(t *rapid.T) {
				k, r := key()
				f, m := goldenFlow{k.goldenOwner, r}, g.mappings[k]
				s := Session{Realm: k.realm, Space: k.space, Internal: k.internal, Remote: r, Idle: uint8(rapid.IntRange(0, 1).Draw(t, "class"))}
				if m != nil {
					s.External = m.external
				}
				seg := Segment{Seq: 100, Flags: rapid.SampledFrom([]uint8{FlagSYN, FlagACK}).Draw(t, "flags")}
				got := table.Open(&s, k.scope, &seg, tick())
				if got && permits {
					table.Permit(s.Space, s.External, s.Remote.Addr, 3)
				}
				require.Equal(t, m != nil && g.sessions[f] == nil, got, "Open %v", s)
				if got {
					g.sessions[f] = &goldenSession{k, g.now, g.now, s.Idle, seg.Flags == FlagSYN}
				}
			},
			"outbound": func(t *rapid.T) {
				f := goldenFlow{owner(), remote()}
				seg := Segment{Seq: 100, Flags: FlagSYN}
				e, ok := table.Outbound(f.realm, f.space, f.internal, f.remote, &seg, tick())
				s := g.sessions[f]
				live := s != nil && !g.over(f, s)
				require.Equal(t, live, ok, "Outbound %v", f)
				if live {
					require.Equal(t, g.mappings[s.of].external, e)
					s.out = g.now
				}
			},
			"inbound": func(t *rapid.T) {
				sp, r := space(), remote()
				w := where{realm: uint16(rapid.IntRange(0, 1).Draw(t, "realm")), pool: uint16(rapid.IntRange(0, pools-1).Draw(t, "pool")), host: host()}
				w.class = class(w.pool, r)
				e := port(w)
				k, m := g.serving(sp, e, w.class, r)
				f := goldenFlow{k.goldenOwner, r}
				s := g.sessions[f]
				found := m != nil && s != nil && s.of == k
				if found && g.over(f, s) && g.now.Sub(s.in) >= g.idleOf(f, s) {
					found = false // silent from both ends
				}
				seg := Segment{Seq: 7, Flags: FlagRST} // out of window: it must change nothing
				i, realm, ok := table.Inbound(sp, e, w.class, r, &seg, tick())
				require.Equal(t, found, ok, "Inbound %v %v", e, r)
				if ok {
					require.Equal(t, k.internal, i)
					require.Equal(t, k.realm, realm)
					if sp != portblock.TCP {
						s.in = g.now
					}
				}
			},
			"keep": func(t *rapid.T) {
				k, _ := key()
				d := time.Duration(rapid.IntRange(1, 900).Draw(t, "lifetime")) * time.Second
				m := g.mappings[k]
				require.Equal(t, m != nil, table.Keep(k.realm, k.space, k.internal, k.scope, d, tick()))
				if m != nil {
					m.until = g.now.Add(d)
				}
			},
			"release": func(t *rapid.T) {
				k, _ := key()
				m := g.mappings[k]
				explicit := table.Release(k.realm, k.space, k.internal, k.scope, tick())
				if m == nil || !m.until.After(g.now) {
					// A lifetime that is over may be told by Release until Expire has met it.
					return
				}
				require.True(t, explicit)
				m.until = time.Time{}
			},
			"close": func(t *rapid.T) {
				f := goldenFlow{owner(), remote()}
				s := g.sessions[f]
				var ended Ended
				var ok bool
				if s != nil && rapid.Bool().Draw(t, "by the external side") {
					m := g.mappings[s.of]
					ended, ok = table.CloseInbound(f.space, m.external, s.of.scope.Class, f.remote, tick())
				} else {
					ended, ok = table.Close(f.realm, f.space, f.internal, f.remote, tick())
				}
				require.Equal(t, s != nil, ok)
				if !ok {
					return
				}
				if permits {
					table.Forbid(ended.Space, ended.External, ended.Remote.Addr, 3)
				}
				require.Equal(t, f, goldenFlow{goldenOwner{ended.Realm, ended.Space, ended.Internal}, ended.Remote})
				of := s.of
				require.Equal(t, g.mappings[of].block, ended.Block)
				require.Equal(t, g.end(f), ended.Unmapped)
				if ended.Unmapped {
					shared := false
					for k, m := range g.mappings {
						shared = shared || k.space == of.space && m.external == ended.External && k.scope.Class == of.scope.Class
					}
					require.Equal(t, shared, ended.Shared)
				}
			},
			"time": func(t *rapid.T) {
				g.now = g.now.Add(rapid.SampledFrom([]time.Duration{
					time.Millisecond, time.Second, 59999 * time.Millisecond, 60 * time.Second, 239 * time.Second, 299999 * time.Millisecond, time.Hour, 5 * time.Hour,
				}).Draw(t, "step"))
			},
			"timeouts": func(t *rapid.T) {
				scale := func() time.Duration { return time.Duration(rapid.IntRange(1, 600).Draw(t, "idle")) * time.Second }
				for c := range g.idle {
					g.idle[c] = Timeouts{UDP: scale(), ICMP: scale(), TCPOpening: scale(), TCPEstablished: scale(), TCPClosing: scale()}
				}
				g.idle[0].RefreshInbound = rapid.Bool().Draw(t, "inbound refreshes")
				table.SetTimeouts(g.idle[0], g.idle[1])
			},
			"remove block": func(t *rapid.T) {
				k, _ := key()
				id := blocks[of(k)]
				live := false
				for _, m := range g.mappings {
					live = live || m.block == id
				}
				require.Equal(t, id != 0 && !live, table.RemoveBlock(id))
				if !live {
					delete(blocks, of(k))
				}
			},
			"expire": func(t *rapid.T) {
				var w Sweep
				for !table.Expire(tick(), 64, &w) {
				}
				require.Equal(t, g.expire(), told(table, w.Sessions, w.Mappings, permits))
			},
			"": func(t *rapid.T) {
				for k, m := range g.mappings {
					e, ok := table.Mapped(k.realm, k.space, k.internal, k.scope)
					require.True(t, ok)
					require.Equal(t, m.external, e)
					require.True(t, table.Taken(k.space, m.external, k.scope.Class))
					in, realm, ok := table.Holder(k.space, m.external, k.scope.Class, k.scope.Remote)
					require.True(t, ok)
					require.Equal(t, k.internal, in)
					require.Equal(t, k.realm, realm)
					sharing := 0
					for other, v := range g.mappings {
						if other.space == k.space && v.external == m.external && other.scope.Class == k.scope.Class {
							sharing++
						}
					}
					stranger, _, ok := table.Holder(k.space, m.external, k.scope.Class, Endpoint{1, 1})
					require.Equal(t, sharing == 1, ok, "whatever the port served before")
					if ok {
						require.Equal(t, k.internal, stranger)
					}
					for _, addr := range []uint32{0xc6336401, 0xc6336402, 0xc6336403} {
						reached := false
						for f, s := range g.sessions {
							reached = reached || f.space == k.space && g.mappings[s.of].external == m.external && f.remote.Addr == addr
						}
						require.Equal(t, permits && reached, table.Permitted(k.space, m.external, addr, 3))
						require.False(t, table.Permitted(k.space, m.external, addr, 0), "a permit of another class")
					}
				}
				for f, s := range g.sessions {
					p, ok := table.Peek(f.space, g.mappings[s.of].external, s.of.scope.Class, f.remote)
					require.True(t, ok)
					require.Equal(t, f, goldenFlow{goldenOwner{p.Realm, p.Space, p.Internal}, p.Remote})
				}
				require.Equal(t, len(g.mappings), table.Mappings())
				require.Equal(t, len(g.sessions), table.Sessions())
				require.NoError(t, table.CheckInvariants())
			},
		})
	})
}
