package natcore_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// tuple is an external endpoint of one transport towards a class of remotes:
// what at most one subscriber may own at a time.
type tuple struct {
	kind     kind
	external netip.AddrPort
	remotes  class
}

// class is a class of remote endpoints as the test sees it: the bits that the masks keep.
type class struct {
	addr byte
	port uint16
}

// classMasks give four classes: servers 1 and 2 differ in bit 2 of their address, ports 53 and 443 in bit 1.
const (
	classAddrMask = 4
	classPortMask = 2
)

func classOf(k kind, remote netip.AddrPort, split bool) class {
	if !split {
		return class{}
	}
	c := class{addr: remote.Addr().As4()[3] & classAddrMask}
	if k != icmp {
		c.port = remote.Port() & classPortMask
	}
	return c
}

// ledger is what an observer on the wire knows: who last used which external
// endpoint, and until when it certainly is his. It knows nothing of the engine.
type ledger struct {
	owner map[tuple]netip.AddrPort
	until map[tuple]time.Time
	seen  []sighting
	// fixed is the map of a deterministic pool, asked in reverse only, or nil.
	fixed *deterministic.Map
	// number is how records call a class.
	number map[class]uint32
}

// sighting is one translated packet: the evidence for the question who used an
// address and port at a time.
type sighting struct {
	tuple
	at         time.Time
	subscriber netip.Addr
}

const holdDown = 120 * time.Second

// life is how long a mapping certainly lives after an outbound packet: the idle times of RFC 4787, 5382, 5508.
func (k kind) life() time.Duration {
	return [...]time.Duration{300 * time.Second, 240 * time.Second, 60 * time.Second}[k]
}

// use enters a translated outbound packet and checks rules 1 and 2: an external endpoint
// changes hands only when its mapping's idle time and its hold-down are over.
func (l *ledger) use(t failer, k kind, internal, external netip.AddrPort, remotes class, now time.Time) {
	u := tuple{k, external, remotes}
	if owner, ok := l.owner[u]; ok && owner != internal {
		rest := holdDown
		if who, fixed := l.byFormula(external); fixed {
			require.Equal(t, internal.Addr(), who, "rule 6: %v is not of %v", external, internal)
			rest = 0 // RFC 6888 REQ-8 B: nobody else ever has it
		}
		require.False(t, now.Before(l.until[u].Add(rest)),
			"rule 1: %v %v of %v goes to %v at %v, before %v", k, external, owner, internal, now, l.until[u].Add(rest))
	}
	l.owner[u], l.until[u] = internal, now.Add(k.life())
	l.seen = append(l.seen, sighting{u, now, internal.Addr()})
}

// byFormula returns the subscriber that an external endpoint belongs to by the deterministic map.
func (l *ledger) byFormula(external netip.AddrPort) (netip.Addr, bool) {
	if l.fixed == nil {
		return netip.Addr{}, false
	}
	p, err := l.fixed.Reverse(external.Addr(), external.Port())
	return p.Addr(), err == nil
}

// who answers the question of rule 5: by formula, else from the records.
func (l *ledger) who(records []logging.Record, external netip.AddrPort, c class, at time.Time) []netip.Addr {
	if who, fixed := l.byFormula(external); fixed {
		return []netip.Addr{who}
	}
	return holders(records, external, l.number[c], at)
}

// learn finds out how the records call the classes of remotes: a first packet towards each gets a
// block of its own.
func (l *ledger) learn(t failer, n *nat) {
	scout := endpoint(netip.MustParseAddr("10.0.0.1"), 1)
	for _, server := range []netip.Addr{server1, server2} {
		for _, port := range []int{53, 443} {
			remote := endpoint(server, port)
			e := n.out(t, udp, scout, remote)
			records := n.blockRecords()
			l.number[classOf(udp, remote, true)] = records[len(records)-1].Class
			l.use(t, udp, scout, e, classOf(udp, remote, true), n.now)
		}
	}
	require.Len(t, l.number, 4, "four classes have four numbers")
}

// holders answers from the records alone, by reading them all: who held the
// port at the time.
func holders(records []logging.Record, external netip.AddrPort, number uint32, at time.Time) []netip.Addr {
	var found []netip.Addr
	ms := logging.MillisOf(at)
	for i, r := range records {
		if r.Kind != logging.BlockAllocated || r.External != external.Addr() || r.Class != number ||
			external.Port() < r.First || external.Port() > r.Last || r.Time > ms {
			continue
		}
		released := false
		for _, q := range records[i+1:] {
			if q.Kind == logging.BlockReleased && q.External == r.External && q.First == r.First && q.Class == r.Class {
				released = q.Time < ms
				break
			}
		}
		if !released {
			found = append(found, r.Subscriber)
		}
	}
	return found
}

// TestRules drives an engine with random traffic of some hosts, with a log that refuses at times, and
// checks the rules of the design that an observer of packets and records can check.
func TestRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		filtering := natcore.Behaviour(rapid.IntRange(0, 2).Draw(t, "filtering"))
		shards := rapid.SampledFrom([]int{1, 4}).Draw(t, "shards")
		mode := rapid.SampledFrom([]string{"blocks", "classes", "deterministic"}).Draw(t, "mode")
		split := mode == "classes"
		var fixed *deterministic.Map
		if mode == "deterministic" {
			// Ports 1024-1151 of two addresses: 4 subscribers each with 16 ports, and 64 for blocks.
			m, err := deterministic.New(deterministic.Config{
				Internal: deterministic.Spans("10.0.0.2-10.0.0.9"), External: deterministic.Spans("203.0.113.5-203.0.113.6"),
				Reserved:     []portblock.Range{portblock.RangeOf(0, 1023), portblock.RangeOf(1152, 65535)},
				SharingRatio: 4, DynamicFactor: 4, MaxPorts: 48,
				Algorithm: rapid.SampledFrom([]deterministic.Algorithm{deterministic.Sequential, deterministic.Staggered, deterministic.Random}).Draw(t, "algorithm"),
			})
			require.NoError(t, err)
			require.Equal(t, 16, m.PortsPerSubscriber())
			fixed = m
		}
		n := newNAT(t, func(c *natcore.Config) {
			c.Pools[0].Filtering = filtering
			c.Shards = shards
			c.Events = natcore.Events{Sessions: true, Bindings: true} // they change nothing that an observer sees
			// Small blocks over a small range make addresses and blocks run out.
			c.Pools[0].Blocks.BlockSize = 16
			c.Pools[0].Blocks.Ports = portblock.RangeOf(1024, 1024+16*8-1)
			c.Pools[0].Blocks.MaxBlocks = 3
			c.Limits.SessionsPerSubscriber = 60
			if fixed != nil {
				c.Pools[0].Map, c.Pools[0].Addresses, c.Pools[0].Blocks.Ports = fixed, nil, portblock.Range{}
			}
			if split {
				c.Pools[0].Select = flowmask.MustParseMask("0.0.0.1", "flow:src-ip")
				c.Pools[0].Remotes = flowmask.MustParseMask(fmt.Sprintf("0.0.0.%d,%d", classAddrMask, classPortMask), "flow:dst-ip,dst-port")
			}
		})
		l := &ledger{owner: map[tuple]netip.AddrPort{}, until: map[tuple]time.Time{}, number: map[class]uint32{}, fixed: fixed}
		if split {
			l.learn(t, n)
		}
		refusing := false
		anyKind := func() kind { return kind(rapid.IntRange(0, 2).Draw(t, "kind")) }
		host := func() netip.Addr {
			return netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(2, 9).Draw(t, "host"))})
		}
		internal := func() netip.AddrPort { return endpoint(host(), 40000+rapid.IntRange(0, 24).Draw(t, "port")) }
		remote := func() netip.AddrPort {
			return endpoint(rapid.SampledFrom([]netip.Addr{server1, server2}).Draw(t, "server"), rapid.SampledFrom([]int{53, 443}).Draw(t, "remote port"))
		}
		live := func() (tuple, netip.AddrPort) {
			for i := len(l.seen) - 1; i >= 0 && i > len(l.seen)-30; i-- {
				u := l.seen[i].tuple
				if n.now.Before(l.until[u]) && rapid.IntRange(0, 3).Draw(t, "take it") == 0 {
					return u, l.owner[u]
				}
			}
			return tuple{}, netip.AddrPort{}
		}
		send := func(k kind, src, dst netip.AddrPort) {
			e, verdict, why := n.try(t, k, src, dst)
			if verdict == natcore.Drop {
				require.Contains(t, []natcore.Reason{
					natcore.ReasonAddressesExhausted, natcore.ReasonBlocksExhausted, natcore.ReasonBlockLimit,
					natcore.ReasonSessionLimit, natcore.ReasonPortsResting, natcore.ReasonLogRefused, natcore.ReasonWithdrawn,
				}, why)
				if why == natcore.ReasonLogRefused {
					require.True(t, refusing, "rule 4: the log refuses nothing now")
				}
				return
			}
			c := classOf(k, dst, split)
			l.use(t, k, src, e, c, n.now)
			// Rule 4: the record of the block is there before the packet is.
			records := n.blockRecords()
			require.Equal(t, []netip.Addr{src.Addr()}, l.who(records, e, c, n.now), "rules 4 and 5: %v at %v", e, n.now)
			if split {
				require.Equal(t, 5+src.Addr().As4()[3]&1, e.Addr().As4()[3], "the mask chooses the address")
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"outbound": func(t *rapid.T) { send(anyKind(), internal(), remote()) },
			"burst": func(t *rapid.T) {
				k, h, r := anyKind(), host(), remote()
				for i := range 20 {
					send(k, endpoint(h, 40000+i), r)
				}
			},
			"answer": func(t *rapid.T) {
				u, owner := live()
				if !owner.IsValid() {
					return
				}
				src := remote()
				i, verdict, why := n.in(t, u.kind, src, u.external, tcpFlags{syn: u.kind == tcp, ack: u.kind != udp, seq: 9})
				if verdict == natcore.Forward {
					// Rule 7: what comes back goes to the endpoint that the mapping towards its sender is of.
					u.remotes = classOf(u.kind, src, split)
					require.Equal(t, l.owner[u], i)
					return
				}
				if classOf(u.kind, src, split) != u.remotes {
					return
				}
				if u.kind != tcp && filtering == natcore.EndpointIndependent && u.kind != icmp {
					require.Equal(t, natcore.ReasonSessionLimit, why, "a live mapping admits any remote endpoint")
				}
			},
			"stranger": func(t *rapid.T) {
				e := endpoint(netip.MustParseAddr("203.0.113.5"), rapid.IntRange(1024, 1160).Draw(t, "port"))
				k := anyKind()
				i, verdict, _ := n.in(t, k, endpoint(server2, 9999), e, tcpFlags{syn: true, seq: 9})
				if verdict == natcore.Forward {
					require.Equal(t, l.owner[tuple{k, e, classOf(k, endpoint(server2, 9999), split)}], i, "rule 1: delivered to who never owned %v", e)
				}
			},
			"hairpin": func(t *rapid.T) {
				u, owner := live()
				if !owner.IsValid() || u.kind == icmp {
					return
				}
				src := internal()
				e, verdict, _ := n.try(t, u.kind, src, u.external)
				if verdict == natcore.Hairpin {
					c := classOf(u.kind, u.external, split)
					l.use(t, u.kind, src, e, c, n.now)
				}
			},
			"log": func(t *rapid.T) {
				refusing = !refusing
				n.log.Refuse(nil)
				if refusing {
					n.log.Refuse(errors.New("the disk is full"))
				}
			},
			"time": func(t *rapid.T) {
				n.wait(rapid.SampledFrom([]time.Duration{
					time.Millisecond, time.Second, 59999 * time.Millisecond, 60 * time.Second, 119999 * time.Millisecond,
					120 * time.Second, 299 * time.Second, 20 * time.Minute,
				}).Draw(t, "step"))
			},
			"expire": func(t *rapid.T) { n.expire() },
			"restart": func(t *rapid.T) {
				if refusing { // the parameters of maps are recorded first
					return
				}
				cfg := n.Config()
				n.Stop()
				var err error
				n.Engine, err = natcore.Restore(cfg, n.AppendSnapshot(nil), n.now)
				require.NoError(t, err)
			},
			"reconfigure": func(t *rapid.T) {
				if mode != "blocks" {
					return
				}
				cfg := n.Config()
				cfg.Pools[0].Addresses = alloc.MustParseRanges(rapid.SampledFrom([]string{
					"203.0.113.5-203.0.113.6", "203.0.113.6-203.0.113.7", "203.0.113.5-203.0.113.7", "203.0.113.5",
				}).Draw(t, "addresses"))
				_, err := n.Reconfigure(cfg, n.now)
				require.NoError(t, err)
				if rapid.Bool().Draw(t, "end") {
					n.EndDisallowed(n.now)
					for u, until := range l.until { // what was on withdrawn addresses ends with this, and rests from here on
						if !cfg.Pools[0].Addresses[0].Contains(u.external.Addr()) && n.now.Before(until) {
							l.until[u] = n.now
						}
					}
				}
			},
			"": func(t *rapid.T) {
				require.NoError(t, n.CheckInvariants())
			},
		})
		// Rule 5: every packet leads through the records alone to its subscriber.
		records := n.blockRecords()
		for _, s := range l.seen {
			require.Equal(t, []netip.Addr{s.subscriber}, l.who(records, s.external, s.remotes, s.at), "rule 5: %v %v at %v", s.kind, s.external, s.at)
		}
		// When all is over everything is free again, and every block that was recorded is recorded as released.
		n.log.Refuse(nil)
		n.runsOut(t)
	})
}

// runsOut lets everything end, and requires that all is free again and every block that was recorded is recorded as released.
func (n *nat) runsOut(t failer) {
	for range 4 {
		n.wait(3 * time.Hour)
		n.expire()
	}
	st := n.Stats()
	require.Zero(t, st.Sessions+st.Mappings+st.Subscribers+st.ReleasesPending+st.Pools[0].BlocksHeating)
	allocated := 0
	for _, r := range n.blockRecords() {
		if r.Kind == logging.BlockAllocated {
			allocated++
		}
	}
	require.Len(t, n.blockRecords(), 2*allocated)
}
