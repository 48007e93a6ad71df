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

// golden is the table as plain maps and lists: no hashing, no packing, no halves.
type golden struct {
	now      time.Time
	mappings map[goldenInternal]*goldenMapping
}

type goldenInternal struct {
	realm    uint16
	space    portblock.Space
	internal Endpoint
}

type goldenMapping struct {
	external Endpoint
	until    time.Time
	sessions map[Endpoint]*goldenSession
}

type goldenSession struct {
	last  time.Time
	phase string
}

func (g *golden) byExternal(space portblock.Space, external Endpoint) (goldenInternal, *goldenMapping) {
	for k, m := range g.mappings {
		if k.space == space && m.external == external {
			return k, m
		}
	}
	return goldenInternal{}, nil
}

func (s *goldenSession) over(now time.Time) bool {
	limit := map[string]time.Duration{
		"udp": idle.UDP, "icmp": idle.ICMP, "opening": idle.TCPOpening, "established": idle.TCPEstablished,
		"fin-internal": idle.TCPEstablished, "fin-remote": idle.TCPEstablished, "closing": idle.TCPClosing, "reset": idle.TCPClosing,
	}[s.phase]
	return now.Sub(s.last) >= limit
}

// expire removes what is over and returns it as text, for comparison as sets.
func (g *golden) expire() map[string]bool {
	ended := map[string]bool{}
	for k, m := range g.mappings {
		for remote, s := range m.sessions {
			if s.over(g.now) {
				delete(m.sessions, remote)
				ended[fmt.Sprint("session ", k, m.external, remote)] = true
			}
		}
		if len(m.sessions) == 0 && !m.until.After(g.now) {
			delete(g.mappings, k)
			ended[fmt.Sprint("mapping ", k, m.external)] = true
		}
	}
	return ended
}

// settled tells the mapping of each ended session and returns all that ended as text.
func settled(t *Table, sessions []Session, mappings []Mapping, permits bool, now Tick) map[string]bool {
	text := map[string]bool{}
	for _, s := range sessions {
		text[fmt.Sprint("session ", goldenInternal{s.Realm, s.Space, s.Internal}, s.External, s.Remote)] = true
		if permits {
			t.Forbid(s.Space, s.External, s.Remote.Addr, 3)
		}
		if m, gone := t.Leave(s.Realm, s.Space, s.Internal, Endpoint{}, now); gone {
			mappings = append(mappings, m)
		}
	}
	for _, m := range mappings {
		text[fmt.Sprint("mapping ", goldenInternal{m.Realm, m.Space, m.Internal}, m.External)] = true
	}
	return text
}

// TestTableAgainstModel drives the table and the golden model with the same
// operations. TCP segments here are plain ACKs and valid RSTs and FINs; the table of
// states has its own test.
func TestTableAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := NewTable(testKey, idle, start)
		g := &golden{now: start, mappings: map[goldenInternal]*goldenMapping{}}
		permits := rapid.Bool().Draw(t, "permits")
		hosts := rapid.SampledFrom([]int{2, 40}).Draw(t, "hosts")
		internal := func() goldenInternal {
			return goldenInternal{
				uint16(rapid.IntRange(0, 1).Draw(t, "realm")), portblock.Space(rapid.IntRange(0, 2).Draw(t, "space")),
				Endpoint{0x64400000 + uint32(rapid.IntRange(1, hosts).Draw(t, "host")), uint16(rapid.SampledFrom([]int{0, 1023, 40000, 65535}).Draw(t, "port"))},
			}
		}
		external := func() Endpoint {
			return Endpoint{0xcb007105, uint16(rapid.IntRange(1024, 1024+2*hosts).Draw(t, "external"))}
		}
		remote := func() Endpoint {
			return Endpoint{0xc6336400 + uint32(rapid.IntRange(1, 3).Draw(t, "remote")), uint16(rapid.SampledFrom([]int{0, 53, 443}).Draw(t, "remote port"))}
		}
		pick := func() (goldenInternal, Endpoint) {
			k, r := internal(), remote()
			return k, r
		}
		t.Repeat(map[string]func(*rapid.T){
			"map": func(t *rapid.T) {
				k, e := internal(), external()
				_, held := g.byExternal(k.space, e)
				free := g.mappings[k] == nil && held == nil
				got := table.AddMapping(Mapping{Realm: k.realm, Space: k.space, Internal: k.internal, External: e})
				require.Equal(t, free, got, "AddMapping %v -> %v", k, e)
				if free {
					g.mappings[k] = &goldenMapping{external: e, sessions: map[Endpoint]*goldenSession{}}
				}
			},
			"open": func(t *rapid.T) {
				k, r := pick()
				m := g.mappings[k]
				s := Session{Realm: k.realm, Space: k.space, Internal: k.internal, Remote: r}
				if m != nil {
					s.External = m.external
				}
				seg := Segment{Seq: 100, Flags: FlagSYN}
				got := table.Open(&s, Endpoint{}, &seg, table.Tick(g.now))
				if got && permits {
					table.Permit(s.Space, s.External, s.Remote.Addr, 3)
				}
				require.Equal(t, m != nil && m.sessions[r] == nil, got, "Open %v", s)
				if got {
					m.sessions[r] = &goldenSession{g.now, [...]string{"opening", "udp", "icmp"}[k.space]}
				}
			},
			"outbound": func(t *rapid.T) {
				k, r := pick()
				seg := Segment{Seq: 100, Flags: FlagSYN}
				e, ok := table.Outbound(k.realm, k.space, k.internal, r, &seg, table.Tick(g.now))
				m := g.mappings[k]
				live := m != nil && m.sessions[r] != nil && !m.sessions[r].over(g.now)
				require.Equal(t, live, ok, "Outbound %v %v", k, r)
				if live {
					require.Equal(t, m.external, e)
					m.sessions[r].last = g.now
				}
			},
			"inbound": func(t *rapid.T) {
				space, e, r := portblock.Space(rapid.IntRange(0, 2).Draw(t, "space")), external(), remote()
				k, m := g.byExternal(space, e)
				s, had := g.expireProbe(k, m, r)
				seg := Segment{Seq: 7, Flags: FlagRST} // out of window: it must change nothing
				i, realm, ok := table.Inbound(space, e, r, &seg, table.Tick(g.now))
				if had && s.over(g.now) {
					return // found or not, as the last packets were
				}
				require.Equal(t, had, ok, "Inbound %v %v", e, r)
				if ok {
					require.Equal(t, k.internal, i)
					require.Equal(t, k.realm, realm)
				}
			},
			"keep": func(t *rapid.T) {
				k := internal()
				d := time.Duration(rapid.IntRange(1, 900).Draw(t, "lifetime")) * time.Second
				m := g.mappings[k]
				require.Equal(t, m != nil, table.Keep(k.realm, k.space, k.internal, Endpoint{}, d, table.Tick(g.now)))
				if m != nil {
					m.until = g.now.Add(d)
				}
			},
			"release": func(t *rapid.T) {
				k := internal()
				m := g.mappings[k]
				explicit := table.Release(k.realm, k.space, k.internal, Endpoint{})
				if m == nil || !m.until.After(g.now) {
					// A lifetime that is over may be told by Release until Expire has met it.
					return
				}
				require.True(t, explicit)
				m.until = time.Time{}
			},
			"close": func(t *rapid.T) {
				k, r := pick()
				s, ok := table.Close(k.realm, k.space, k.internal, r)
				m := g.mappings[k]
				require.Equal(t, m != nil && m.sessions[r] != nil, ok)
				if !ok {
					return
				}
				ended := settled(table, []Session{s}, nil, permits, table.Tick(g.now))
				delete(m.sessions, r)
				gone := len(m.sessions) == 0 && !m.until.After(g.now)
				require.Equal(t, gone, ended[fmt.Sprint("mapping ", k, m.external)])
				if gone {
					delete(g.mappings, k)
				}
			},
			"time": func(t *rapid.T) {
				g.now = g.now.Add(rapid.SampledFrom([]time.Duration{
					time.Millisecond, time.Second, 59999 * time.Millisecond, 60 * time.Second, 239 * time.Second, 299999 * time.Millisecond, time.Hour,
				}).Draw(t, "step"))
			},
			"expire": func(t *rapid.T) {
				w := Sweep{Since: table.Tick(g.now.Add(-time.Minute))}
				for !table.Expire(table.Tick(g.now), 64, &w) {
				}
				require.Equal(t, g.expire(), settled(table, w.Sessions, w.Mappings, permits, table.Tick(g.now)))
				// Every live session with an outbound packet within the minute is told, with its time.
				told := map[Use]bool{}
				for _, u := range w.Uses {
					told[u] = true
				}
				for k, m := range g.mappings {
					for r, s := range m.sessions {
						if s.last.After(g.now.Add(-time.Minute)) {
							require.True(t, told[Use{k.realm, k.space, k.internal.Addr, m.external, r, table.Tick(s.last)}], "use of %v", k)
						}
					}
				}
			},
			"": func(t *rapid.T) {
				sessions := 0
				for k, m := range g.mappings {
					sessions += len(m.sessions)
					e, ok := table.Mapped(k.realm, k.space, k.internal, Endpoint{})
					require.True(t, ok)
					require.Equal(t, m.external, e)
					holder, ok := table.Holder(k.space, m.external, 0)
					require.True(t, ok)
					require.Equal(t, Mapping{Realm: k.realm, Space: k.space, Internal: k.internal, External: m.external}, holder)
					for _, addr := range []uint32{0xc6336401, 0xc6336402, 0xc6336403} {
						reached := false
						for r := range m.sessions {
							reached = reached || r.Addr == addr
						}
						require.Equal(t, permits && reached, table.Permitted(k.space, m.external, addr, 3))
						require.False(t, table.Permitted(k.space, m.external, addr, 0), "a permit of another class")
					}
				}
				require.Equal(t, len(g.mappings), table.Mappings())
				require.Equal(t, sessions, table.Sessions())
				require.NoError(t, table.CheckInvariants())
			},
		})
	})
}

// expireProbe reports whether the model has the session, over or not: an inbound packet
// finds it until Expire does.
func (g *golden) expireProbe(_ goldenInternal, m *goldenMapping, r Endpoint) (*goldenSession, bool) {
	if m == nil {
		return nil, false
	}
	s, ok := m.sessions[r]
	return s, ok
}
