package natcore

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// statics is all that static mappings, peerings and protocols without ports have: what the configuration says,
// as an index that packets read without a lock, and the sessions. Its lock comes after a shard's and a pool's, and nothing is
// locked under it.
type statics struct {
	index    atomic.Pointer[staticIndex]
	reserved atomic.Pointer[staticIndex] // what pools give to nobody: the index, or the one that is about to be
	change   sync.Mutex                  // one change of the configuration at a time; taken before all other locks
	finish   sync.Mutex                  // guards the records of ended sessions of protocols without ports, across the call of the log

	mu       sync.Mutex // guards all below
	flows    *mapping.Flows
	timeouts Timeouts // of flows
	tick     mapping.Tick
	now      time.Time // that of tick
	recorded bool      // sessions are: Events.Sessions
	sources  sources
	permits  map[permitKey]uint32
	affinity map[affinityKey]affine
	owners   map[uint32]*static
	peers    map[uint32]*peering
	keys     [2]uint64 // of the choice of servers
	lastID   uint32
	most     int // sessions
	number   int // sessions but those of protocols without ports
	made     uint64
	scratch  []mapping.Flow
	others   others
	uses     map[accountKey]*staticUse // of the accounts that have one
	engine   *Engine

	traces traces // has a lock of its own
}

// Notes of flows: what they hold.
const (
	noteRemote = 1 << iota // begun by a remote end
	noteSource             // has a source endpoint
)

// permitKey is the external endpoint of a static mapping and a remote address that may come in.
type permitKey struct {
	external mapping.Endpoint
	remote   uint32
	proto    uint8
}

// affinityKey is a client of a static mapping.
type affinityKey struct {
	client mapping.Endpoint
	static uint32
}

type affine struct {
	to    mapping.Endpoint
	until int64 // Unix milliseconds
}

// maxAffinity bounds the clients whose server is remembered. Further ones get theirs by the hash.
const maxAffinity = 1 << 16

func (st *statics) init(cfg *Config, seed [32]byte, keys [2]uint64, now time.Time) {
	st.flows, st.now = mapping.NewFlows(mapping.Timeouts{}, 0, now), now
	st.setTimeouts(&cfg.Timeouts, cfg.RefreshInbound, false)
	st.sources.init(seed)
	st.permits, st.affinity = map[permitKey]uint32{}, map[affinityKey]affine{}
	st.uses = map[accountKey]*staticUse{}
	st.keys, st.most = keys, cfg.Limits.StaticSessions
	st.recorded = cfg.Events.Sessions && !cfg.Events.Off
	st.others.init(cfg)
}

// advance sets the clock. The caller holds mu.
func (st *statics) advance(now time.Time) mapping.Tick {
	if tick := st.flows.Advance(now); tick != st.tick {
		st.tick, st.now = tick, now
	}
	return st.tick
}

// ms is the clock in Unix milliseconds. The caller holds mu.
func (st *statics) ms() int64 { return st.now.UnixMilli() }

// pass looks up the session of a packet.
func (st *statics) pass(in mapping.Header, seg *mapping.Segment, now time.Time) (mapping.Header, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	out, _, ok := st.flows.Pass(in, seg, st.advance(now))
	return out, ok
}

// peek is pass for a packet that an ICMP error quotes.
func (st *statics) peek(in mapping.Header, now time.Time) (mapping.Header, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	out, _, ok := st.flows.Peek(in, st.advance(now))
	return out, ok
}

// open enters a session, with a source endpoint where there is an owner of some, which it writes into w.Out. s is nil for a
// peering. On a refusal nothing has changed.
func (st *statics) open(w *mapping.Flow, s *static, own *sourceOwner, policy mapping.FlowPolicy, seg *mapping.Segment, now time.Time) Reason {
	st.mu.Lock()
	defer st.mu.Unlock()
	tick := st.advance(now)
	st.closeOver(w.In, tick)
	if s != nil {
		if s = st.owners[s.id]; s == nil {
			return ReasonNoMapping // removed a moment ago
		}
	}
	remote := s != nil && w.Note&noteRemote != 0
	if st.number >= st.most || remote && s.cfg.MaxSessions > 0 && s.sessions >= s.cfg.MaxSessions {
		return ReasonSessionLimit
	}
	if st.flows.Taken(w.In) {
		return ReasonConflict
	}
	if own != nil && !st.takeSource(w, own) {
		return ReasonSourcesExhausted
	}
	st.closeOver(w.Out.Reverse(), tick)
	w.Idle = st.timeouts.flowClass(w.In)
	if st.others.blocked(w.Out.Reverse()) || !st.flows.Open(w, policy, seg, tick) {
		if own != nil {
			st.freeSource(w, own)
		}
		return ReasonConflict
	}
	st.number++
	st.made++
	st.note(w, logging.SessionCreated, beginning(w))
	if remote {
		s.sessions++
	}
	if s != nil && !remote && s.cfg.Filtering == AddressDependent {
		st.permits[permitOf(w)]++
	}
	return ReasonNone
}

func permitOf(w *mapping.Flow) permitKey {
	return permitKey{mapping.Endpoint{Addr: w.Out.Src, Port: w.Out.SrcPort}, w.Out.Dst, w.Out.Proto}
}

// closeOver ends the session of a header if its time is over. The caller holds mu.
func (st *statics) closeOver(h mapping.Header, now mapping.Tick) {
	if w, ok := st.flows.CloseOver(h, now); ok {
		st.ended(&w)
	}
}

// take ends the session that a packet has opened and that leads nowhere.
func (st *statics) take(in mapping.Header, now time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.advance(now)
	if w, ok := st.flows.Close(in); ok {
		st.ended(&w)
	}
}

// ended gives back what a removed session held. The caller holds mu.
func (st *statics) ended(w *mapping.Flow) { st.endedBy(w, logging.ReasonIdle) }

// endedBy is ended with what is recorded as the reason, ReasonNone for a session whose end is recorded already.
func (st *statics) endedBy(w *mapping.Flow, why logging.Reason) {
	if w.Owner == 0 {
		st.others.ended(w)
		return
	}
	if why != logging.ReasonNone {
		st.note(w, logging.SessionDeleted, why)
	}
	st.number--
	st.uncharge(w)
	if p := st.peers[w.Owner]; p != nil && w.Note&noteSource != 0 {
		st.freeSource(w, p.sources)
	}
	s := st.owners[w.Owner]
	if s == nil {
		return
	}
	if w.Note&noteSource != 0 {
		st.freeSource(w, s.sources)
	}
	if w.Note&noteRemote != 0 {
		s.sessions--
	} else if s.cfg.Filtering == AddressDependent {
		k := permitOf(w)
		if st.permits[k]--; st.permits[k] == 0 {
			delete(st.permits, k)
		}
	}
}

// permitted reports whether a remote address may begin a session by address-dependent filtering.
func (st *statics) permitted(s *static, in *mapping.Header) bool {
	if s.cfg.Filtering != AddressDependent {
		return false
	}
	port := in.DstPort
	if in.Proto == 1 {
		port = in.SrcPort
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.permits[permitKey{mapping.Endpoint{Addr: in.Dst, Port: port}, in.Src, in.Proto}] > 0
}

// takeSource gives a session a source endpoint: the one that its first end has already, if the answers can still be told
// apart, else another. The caller holds mu.
func (st *statics) takeSource(w *mapping.Flow, own *sourceOwner) bool {
	st.sources.settle(st.ms())
	free := func(e mapping.Endpoint) bool {
		out := w.Out
		out.Src, out.SrcPort = e.Addr, e.Port
		return !st.flows.Taken(out.Reverse()) && !st.others.blocked(out.Reverse())
	}
	use := func(e mapping.Endpoint) bool {
		w.Out.Src, w.Out.SrcPort = e.Addr, e.Port
		w.Note |= noteSource
		return true
	}
	first := st.hash(uint64(w.In.Src), uint64(w.In.Realm))
	space, ported := spaceOfProto(w.In.Proto)
	if !ported {
		for _, span := range own.spans {
			n := uint64(span[1]-span[0]) + 1
			for i := range n {
				if e := (mapping.Endpoint{Addr: span[0] + uint32((first+i)%n)}); free(e) {
					return use(e)
				}
			}
		}
		return false
	}
	key := sourceKeyOf(w)
	kept, known := st.sources.kept[key]
	if known && free(kept.as) {
		kept.sessions++
		st.sources.kept[key] = kept
		return use(kept.as)
	}
	e, ok := st.sources.take(own, space, first, func(e mapping.Endpoint) bool { return !free(e) })
	if !ok {
		return false
	}
	if !known {
		st.sources.kept[key] = keptSource{e, 1}
	}
	return use(e)
}

func sourceKeyOf(w *mapping.Flow) sourceKey {
	return sourceKey{mapping.Endpoint{Addr: w.In.Src, Port: w.In.SrcPort}, w.Owner, w.In.Realm, w.In.External, w.In.Proto}
}

// freeSource undoes takeSource. The caller holds mu.
func (st *statics) freeSource(w *mapping.Flow, own *sourceOwner) {
	space, ported := spaceOfProto(w.In.Proto)
	if !ported {
		return
	}
	e := mapping.Endpoint{Addr: w.Out.Src, Port: w.Out.SrcPort}
	key := sourceKeyOf(w)
	if kept, known := st.sources.kept[key]; known && kept.as == e {
		if kept.sessions--; kept.sessions > 0 {
			st.sources.kept[key] = kept
			return
		}
		delete(st.sources.kept, key)
	}
	st.sources.release(own.realm, space, e, st.ms())
}

func spaceOfProto(proto uint8) (portblock.Space, bool) {
	switch proto {
	case 6:
		return portblock.TCP, true
	case 17, 136: // UDP-Lite has its ports out of those of UDP
		return portblock.UDP, true
	case 1:
		return portblock.ICMP, true
	}
	return 0, false
}

// choose returns the server of a new session: by rendezvous hashing with weights, or the one that the client had.
func (st *statics) choose(s *static, in *mapping.Header, now time.Time) mapping.Endpoint {
	st.mu.Lock()
	defer st.mu.Unlock()
	to := st.chosen(s, in, now)
	if s.cfg.Affinity == 0 {
		return to
	}
	key := affinityKey{s.client(in), s.id}
	if _, known := st.affinity[key]; known || len(st.affinity) < maxAffinity {
		st.affinity[key] = affine{to, st.ms() + s.cfg.Affinity.Milliseconds()}
	}
	return to
}

// wouldChoose is choose for who only asks.
func (st *statics) wouldChoose(s *static, in *mapping.Header, now time.Time) mapping.Endpoint {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.chosen(s, in, now)
}

// client returns what decides which server a client gets.
func (s *static) client(in *mapping.Header) mapping.Endpoint {
	client := mapping.Endpoint{Addr: in.Src}
	if s.cfg.Balance == BySession {
		client.Port = in.SrcPort
	}
	return client
}

// chosen returns the server that a client has, or else gets. The caller holds mu.
func (st *statics) chosen(s *static, in *mapping.Header, now time.Time) mapping.Endpoint {
	client := s.client(in)
	if s.cfg.Affinity > 0 {
		st.advance(now)
		if had, known := st.affinity[affinityKey{client, s.id}]; known && st.ms() < had.until && s.has(had.to) {
			return had.to
		}
	}
	return st.rendezvous(s, uint64(client.Addr)<<16|uint64(client.Port))
}

func (s *static) has(to mapping.Endpoint) bool {
	for i := range s.servers {
		if s.servers[i].at == to {
			return true
		}
	}
	return false
}

// rendezvous returns the server with the highest score for a client: each server wins its share of clients by its weight,
// and when one goes, only its clients move.
func (st *statics) rendezvous(s *static, client uint64) (best mapping.Endpoint) {
	top := math.Inf(-1)
	for i := range s.servers {
		v := &s.servers[i]
		h := st.hash(client, uint64(v.at.Addr)<<16|uint64(v.at.Port))
		u := (float64(h>>11) + 0.5) / (1 << 53) // in (0, 1)
		if score := v.weight / -math.Log(u); score > top {
			top, best = score, v.at
		}
	}
	return best
}

// hash is a keyed hash of two numbers.
func (st *statics) hash(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^st.keys[0], b^st.keys[1]|1)
	x := hi ^ lo ^ bits.RotateLeft64(a, 23) ^ bits.RotateLeft64(b, 41) ^ st.keys[1]
	hi, lo = bits.Mul64(x, 0x9e3779b97f4a7c15)
	hi, lo = bits.Mul64(hi^lo^st.keys[0], 0xbf58476d1ce4e5b9)
	return hi ^ lo
}

// expire ends sessions that are over, in a bounded step, and reports whether it came to the end.
func (st *statics) expire(now time.Time, budget int) (round bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	tick := st.advance(now)
	st.sources.settle(st.ms())
	st.scratch, round = st.flows.Expire(tick, budget, st.scratch[:0])
	for i := range st.scratch {
		st.ended(&st.scratch[i])
	}
	if round {
		for k, a := range st.affinity {
			if st.ms() >= a.until {
				delete(st.affinity, k)
			}
		}
	}
	return round
}
