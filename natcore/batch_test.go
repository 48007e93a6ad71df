package natcore_test

import (
	"bytes"
	"cmp"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// twins are two engines with the same secrets. One gets packets in batches; the other gets the same ones each on its own, and some of
// them the whole way. Nothing may tell them apart.
type twins struct {
	failer
	rnd           *rand.Rand
	script        fuzzed // what is drawn first
	batched, each *nat
	shards        int
	refusing      bool // the logs refuse
	loss          bool // session events may be lost
	left          []natcore.Packet
	arrived       []natcore.Packet
	seenA         int // records that were compared
}

// n draws a number below most.
func (w *twins) n(most int) int {
	if len(w.script.b) > 0 {
		return int(w.script.byte()) % most
	}
	return w.rnd.IntN(most)
}

func (w *twins) one(in int) bool { return w.n(in) == 0 }

func pick[T any](w *twins, values ...T) T { return values[w.n(len(values))] }

// config draws a configuration in which the order of packets of different shards tells nothing.
func (w *twins) config() natcore.Config { return w.configOf(w.n(4)) }

// configOf is config with what the pools and rules are.
func (w *twins) configOf(mode int) natcore.Config {
	cfg := config(nil)
	cfg.Shards = 1
	cfg.Events = natcore.Events{Sessions: w.one(2), Bindings: w.one(2)}
	cfg.Events.Destinations = cfg.Events.Sessions
	cfg.AdmitNonSYN, cfg.RefreshInbound, cfg.KeepID = w.one(3), w.one(3), w.one(3)
	cfg.MSS = pick[uint16](w, 0, 1200)
	cfg.Limits = natcore.Limits{Sessions: pick(w, 0, 40), SessionsPerSubscriber: pick(w, 0, 12), Fragments: pick(w, 0, 8), StaticSessions: pick(w, 0, 6)}
	cfg.ICMP = natcore.ICMPConfig{PerReceiver: pick(w, 0, 1000), SYNs: pick(w, 0, 3), QuotedWindow: pick(w, 0, 4096)}
	cfg.LogPolicy = natcore.LogPolicy(w.n(2))
	p := &cfg.Pools[0]
	p.Filtering, p.Mapping = natcore.Behaviour(w.n(3)), natcore.Behaviour(w.n(3))
	p.Blocks = portblock.Config{BlockSize: 16, Ports: portblock.RangeOf(1024, 1024+16*8-1), MaxBlocks: pick(w, 1, 3)}
	switch mode {
	case 0:
		if w.one(2) {
			p.Mapping = natcore.EndpointIndependent
			twoClasses(&cfg)
		}
		cfg.Quotas = natcore.Quotas{Subscriber: natcore.Quota{Ports: 20, MappingRate: natcore.Rate{PerSecond: 10}}, Realms: map[natcore.Realm]natcore.Quota{0: {Sessions: 50}}}
	case 1: // by formula alone, so that shards have nothing in common
		m, err := deterministic.New(deterministic.Config{
			Internal: deterministic.Spans("10.0.0.2-10.0.0.9"), External: deterministic.Spans("203.0.113.5-203.0.113.6"),
			Reserved: []portblock.Range{portblock.RangeOf(0, 1023), portblock.RangeOf(1152, 65535)}, SharingRatio: 4,
		})
		require.NoError(w, err)
		*p = natcore.PoolConfig{Name: "cgn", Map: m, Filtering: p.Filtering}
		cfg.Limits.Sessions, cfg.Limits.Fragments, cfg.ICMP.PerReceiver, cfg.ICMP.SYNs = 0, 0, 1000, 0
		cfg.Shards, cfg.KeepID, cfg.Events = 4, true, natcore.Events{Off: true}
	case 2:
		cfg.Pools = append(cfg.Pools, natcore.PoolConfig{Name: "second", Addresses: alloc.MustParseRanges("203.0.113.8/31"), Blocks: p.Blocks, Filtering: p.Filtering})
		cfg.Protocols = []uint8{47}
		cfg.Rules = []natcore.Rule{
			{Remote: prefix("198.51.100.20/32"), Protocol: 17, Action: natcore.Exempt}, {Remote: prefix("198.51.100.30/32"), Action: natcore.Refuse},
			{Internal: prefix("10.0.0.4/31"), Pool: "second"}, {Pool: "cgn"}, {Realm: 1, Pool: "second"},
		}
		cfg.Peerings = []natcore.Peering{{
			Name: "p", From: 0, To: 1, Destination: prefix("172.16.0.0/24"), Target: prefix("10.0.0.0/24"), Sources: alloc.MustParseRanges("10.255.0.1-10.255.0.2"),
		}}
		cfg.Static = []natcore.Static{
			{Name: "port", Protocol: 17, External: ip("203.0.113.5"), ExternalPort: 1030, Internal: ip("10.0.0.2"), InternalPort: 40000},
			{Name: "web", Protocol: 6, External: ip("203.0.113.6"), ExternalPort: 80, Internal: ip("10.0.0.3"), InternalPort: 40001, Sources: alloc.MustParseRanges("10.255.0.3")},
			{Name: "address", Realm: 1, External: ip("203.0.113.9"), Internal: ip("10.0.0.7"), Filtering: p.Filtering},
		}
	}
	p.Overload = p.Mapping != natcore.EndpointIndependent && w.one(2)
	return cfg
}

// endpoints are near each other, so that packets often meet.
func (w *twins) host() netip.AddrPort { return endpoint(host(2+w.n(6)), 40000+w.n(6)) }
func (w *twins) remote() netip.AddrPort {
	return endpoint(pick(w, server1, server1, server2, ip("198.51.100.30"), ip("172.16.0.7")), pick(w, 53, 80, 443))
}
func (w *twins) external() netip.AddrPort {
	if len(w.left) > 0 && !w.one(8) {
		b := w.left[len(w.left)-1-w.n(min(len(w.left), 30))].Bytes
		if b[9] == 6 || b[9] == 17 || b[9] == 136 {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), uint16(b[20])<<8|uint16(b[21]))
		}
	}
	return endpoint(netip.AddrFrom4([4]byte{203, 0, 113, byte(5 + w.n(6))}), pick(w, 80, 1024+w.n(140)))
}

func (w *twins) flags() tcpFlags {
	f := tcpFlags{seq: 1000 + uint32(w.n(3))}
	switch w.n(8) {
	case 0, 1, 2:
		f.syn = true
	case 3:
		f.syn, f.ack = true, true
	case 4:
		f.fin, f.ack = true, true
	case 5:
		f.rst = true
	default:
		f.ack = true
	}
	return f
}

// answerTo turns the ends of a translated packet round.
func answerTo(t failer, b []byte, f tcpFlags) []byte {
	s := read(t, b)
	k := map[byte]kind{17: udp, 6: tcp, 1: icmp}[b[9]]
	if k == icmp {
		s.dst = endpoint(s.dst.Addr(), 0)
		f.ack = true
	}
	return build(t, k, s.dst, s.src, []byte("answer"), f)
}

// packet draws a packet: from inside, from outside, an answer, an error, a fragment, and damaged now and then.
func (w *twins) packet() natcore.Packet {
	p := natcore.Packet{Realm: natcore.Realm(pick(w, 0, 0, 0, 1, 2))}
	k := kind(w.n(3))
	out := func() []byte {
		src, dst := w.host(), w.remote()
		if w.one(6) {
			dst = w.external() // hairpinning
		}
		switch {
		case k == icmp:
			dst = endpoint(dst.Addr(), 0)
		case k == tcp && w.one(2):
			return withMSS(w, src, dst, 1400, w.flags())
		case w.one(12):
			return udpLite(w, src, dst, 8, []byte("lite"))
		case w.one(12):
			return portless(47, src.Addr(), dst.Addr())
		}
		return build(w, k, src, dst, []byte("payload of some length, to be cut"), w.flags())
	}
	simple := func(b []byte) bool {
		return len(b) >= 28 && b[0] == 0x45 && b[6]&0x3f == 0 && b[7] == 0 && (b[9] == 17 || b[9] == 6 || b[9] == 1 && b[20]&^8 == 0)
	}
	switch c := w.n(10); {
	case c < 5:
		p.Bytes = out()
	case c < 8 && len(w.left) > 0:
		p.Direction = natcore.Inbound
		about := w.left[len(w.left)-1-w.n(min(len(w.left), 30))].Bytes
		switch {
		case !simple(about):
			p.Bytes = bytes.Clone(about)
		case w.one(4):
			mtu := pick(w, 0, 60, 600)
			p.Bytes = icmpError(w, router, netip.AddrFrom4([4]byte(about[12:16])), 3, pick[uint8](w, 1, 3, 4), [4]byte{2: byte(mtu >> 8), 3: byte(mtu)}, about[:min(len(about), pick(w, 28, 40, 100))])
		default:
			p.Bytes = answerTo(w, about, w.flags())
		}
	case c == 8 && len(w.arrived) > 0:
		about := w.arrived[len(w.arrived)-1-w.n(min(len(w.arrived), 30))]
		p.Realm = about.Realm
		if simple(about.Bytes) && w.one(2) {
			p.Bytes = icmpError(w, netip.AddrFrom4([4]byte(about.Bytes[16:20])), netip.AddrFrom4([4]byte(about.Bytes[12:16])), 3, pick[uint8](w, 3, 4), [4]byte{2: 3}, about.Bytes[:28])
		} else if simple(about.Bytes) {
			p.Bytes = answerTo(w, about.Bytes, w.flags())
		} else {
			p.Bytes = bytes.Clone(about.Bytes)
		}
	default:
		p.Direction = natcore.Inbound
		p.Bytes = build(w, pick(w, udp, tcp), w.remote(), w.external(), []byte("stranger"), w.flags())
	}
	switch w.n(24) {
	case 0:
		p.Bytes = loose(p.Bytes, w.n(4))
	case 1, 2:
		if f := split(loose(p.Bytes, w.n(3)), 24); len(f) > 0 {
			p.Bytes = f[w.n(len(f))]
		}
	case 3:
		p.Bytes = p.Bytes[:w.n(len(p.Bytes)+1)]
	case 4:
		p.Bytes[w.n(len(p.Bytes))] ^= byte(1 << w.n(8))
	case 5:
		p.Bytes = append(p.Bytes, make([]byte, w.n(30))...) // padding
	case 6:
		p.Flags = natcore.Flags(w.n(4))
	case 7:
		p.Direction = natcore.Direction(w.n(3))
	case 8:
		p.Bytes[8] = byte(w.n(2)) // TTL
	}
	return p
}

// note remembers a packet that went on, for others to answer.
func (w *twins) note(p natcore.Packet) {
	switch {
	case p.Verdict == natcore.Forward && p.Direction == natcore.Outbound:
		w.left = append(w.left, p)
	case p.Verdict == natcore.Hairpin || p.Verdict == natcore.Forward:
		w.arrived = append(w.arrived, p)
	}
}

// batch puts a batch through both engines and compares what became of it.
func (w *twins) batch(size int) {
	var packets []natcore.Packet
	var want []natcore.Packet
	for range size {
		p := w.packet()
		q := p
		q.Bytes = bytes.Clone(p.Bytes)
		packets = append(packets, p)
		one := []natcore.Packet{q}
		if w.one(2) {
			w.each.Whole(&one[0], w.each.now)
		} else {
			w.each.Process(one, w.each.now)
		}
		want = append(want, one[0])
		w.note(one[0])
	}
	given := make([][]byte, size)
	for i := range packets {
		given[i] = bytes.Clone(packets[i].Bytes)
	}
	w.batched.Process(packets, w.batched.now)
	for i := range packets {
		require.Equal(w, want[i], packets[i], "packet %d of %d: %x", i, size, given[i])
	}
	if w.one(4) {
		why := pick(w, rewrite.FragmentationNeeded(600), rewrite.ICMPError{Type: 11})
		i := w.n(size)
		require.Equal(w, w.each.Reject(&want[i], why, w.each.now), w.batched.Reject(&packets[i], why, w.batched.now))
	}
}

// both does the same to both engines, and requires that they answer the same.
func (w *twins) both(f func(n *nat) any) {
	require.Equal(w, f(w.each), f(w.batched))
}

func (w *twins) change() {
	text := func(err error) string {
		if err != nil {
			return err.Error()
		}
		return ""
	}
	switch w.n(9) {
	case 0, 1:
		budget := pick(w, 1, 7, 1000)
		w.both(func(n *nat) any { return n.Expire(n.now, budget) })
	case 2:
		d := pick(w, time.Millisecond, time.Second, 7*time.Second, time.Minute, 121*time.Second, 241*time.Second, 2*time.Hour, -time.Hour)
		w.both(func(n *nat) any { n.wait(d); return nil })
	case 3:
		r := natcore.MapRequest{Internal: w.host(), Protocol: pick[uint8](w, 6, 17, 1, 136), Lifetime: pick(w, time.Second, time.Hour)}
		unmap := w.one(2)
		w.both(func(n *nat) any {
			if unmap {
				return n.Unmap(r, n.now)
			}
			e, err := n.Map(r, n.now)
			return []any{e, text(err)}
		})
	case 4:
		s := natcore.Static{
			Name: "added", Protocol: pick[uint8](w, 6, 17), External: netip.AddrFrom4([4]byte{203, 0, 113, byte(5 + w.n(6))}), ExternalPort: uint16(1024 + w.n(140)),
			Internal: w.host().Addr(), InternalPort: 40000 + uint16(w.n(6)), InboundOnly: w.one(2),
		}
		how := natcore.OnConflict(w.n(3))
		w.both(func(n *nat) any {
			if n.RemoveStatic(s.Name, n.now) {
				return true
			}
			return text(n.AddStatic([]natcore.Static{s}, how, n.now))
		})
	case 5:
		cfg := w.each.Config()
		other := alloc.MustParseRanges(pick(w, "203.0.113.5-203.0.113.6", "203.0.113.6", "203.0.113.5-203.0.113.7"))
		limit, end := pick(w, 0, 5, 100), w.one(2)
		w.both(func(n *nat) any {
			cfg.Log = n.log
			if cfg.Pools[0].Map == nil {
				cfg.Pools[0].Addresses = other
			}
			cfg.Limits.SessionsPerSubscriber = limit
			_, err := n.Reconfigure(cfg, n.now)
			ended := 0
			if end {
				ended = n.EndDisallowed(n.now)
			}
			return []any{text(err), ended}
		})
	case 6: // both from one snapshot, as secrets are drawn anew
		if w.refusing || w.each.Stats().StaticSessions > 0 { // which a snapshot leaves out, or lists in any order
			return
		}
		snapshot := w.each.AppendSnapshot(nil)
		if w.shards == 1 { // a shard's clock stands until it has a packet
			require.True(w, bytes.Equal(snapshot, w.batched.AppendSnapshot(nil)), "the engines differ in what they hold")
		}
		w.both(func(n *nat) any {
			n.Stop()
			cfg := n.Config()
			var err error
			n.Engine, err = natcore.Restore(cfg, snapshot, n.now)
			require.NoError(w, err)
			return nil
		})
	case 7:
		w.refusing = w.one(2)
		w.both(func(n *nat) any {
			n.log.Refuse(nil)
			if w.refusing {
				n.log.Refuse(errors.New("full"))
			}
			return nil
		})
	}
}

// compare requires that what is to be sent, counted and recorded is the same.
func (w *twins) compare() {
	a, b := w.each.Drain(nil), w.batched.Drain(nil)
	if w.shards > 1 { // packets of different shards may change places
		order := func(p, q natcore.Packet) int {
			return cmp.Or(bytes.Compare(p.Bytes, q.Bytes), cmp.Compare(p.Realm, q.Realm))
		}
		slices.SortFunc(a, order)
		slices.SortFunc(b, order)
	}
	require.Equal(w, a, b)
	x, y := w.each.Stats(), w.batched.Stats()
	if w.loss { // notes of events are written by calls, of which one engine has more
		x.EventsRecorded, x.EventsSuppressed, x.EventsLost = y.EventsRecorded, y.EventsSuppressed, y.EventsLost
		x.RecordsRefused = y.RecordsRefused
	}
	require.Equal(w, x, y)
	r, s := w.each.log.Records(), w.batched.log.Records()
	if w.loss {
		keep := func(r logging.Record) bool {
			return r.Kind != logging.BlockAllocated && r.Kind != logging.BlockReleased
		}
		r, s = slices.DeleteFunc(slices.Clone(r), keep), slices.DeleteFunc(slices.Clone(s), keep)
	}
	require.Len(w, s, len(r))
	require.Equal(w, r[w.seenA:], s[w.seenA:])
	w.seenA = len(r)
	require.NoError(w, w.each.CheckInvariants())
	require.NoError(w, w.batched.CheckInvariants())
}

// play draws a configuration and traffic, and compares the twins all along.
func play(t failer, seed uint64, script []byte, steps int) {
	w := &twins{failer: t, rnd: rand.New(rand.NewPCG(seed, 1)), script: fuzzed{script}}
	cfg := w.config()
	w.shards, w.loss = cfg.Shards, cfg.Events.Sessions
	engine := func() *nat {
		n := &nat{log: logging.NewMemory(0), now: began}
		cfg.Log = n.log
		var err error
		n.Engine, err = natcore.New(cfg, n.now)
		require.NoError(t, err)
		return n
	}
	w.batched, w.each = engine(), engine()
	for range steps {
		w.batch(pick(w, 1, 2, 3, 8, 9, 30, 64, 65, 70))
		w.compare()
		if w.one(2) {
			w.change()
			w.compare()
		}
	}
}

// TestB119_BatchesAreAsSinglePackets: random traffic of every kind, with changes of everything in between, comes out of batches
// as it comes out packet by packet, the whole way: bytes, verdicts, what is to be sent, counters, records and snapshots.
func TestB119_BatchesAreAsSinglePackets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		play(t, rapid.Uint64().Draw(t, "seed"), nil, 12)
	})
}

// FuzzBatches is the same with what is drawn first under the fuzzer's hand.
func FuzzBatches(f *testing.F) {
	f.Add(uint64(1), []byte{})
	f.Add(uint64(2), []byte{0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}) // statics and two pools
	f.Add(uint64(3), []byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}) // a map and shards
	f.Fuzz(func(t *testing.T, seed uint64, script []byte) { play(t, seed, script, 2) })
}
