package natcore

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// Events says which records the engine writes besides those of blocks: quotas exceeded, addresses and ports exhausted, and
// thresholds by default (RFC 6888 REQ-11 C, RFC 7422 section 2.2, RFC 8158 section 4), sessions and bindings where asked for.
//
// A packet only notes its event; Expire writes the notes, and so do Process and its kin once many sessions are noted. Notes
// are bounded, alike ones are written once an interval, and what is held back or lost is counted in records and in Stats.
type Events struct {
	// Off writes no records but those of blocks and of maps.
	Off bool
	// Interval is the least time between two records of one event (RFC 8158 section 5.2). Default: 10 s.
	Interval time.Duration
	// PoolHigh and PoolLow are percentages of a pool's blocks that are held or cooling: a record is written when a pool
	// reaches PoolHigh, and another one when it then falls below PoolLow. Default: 90 and 80; PoolLow alone is 10 less than PoolHigh,
	// and is not set without it.
	PoolHigh, PoolLow int
	// SubscriberHigh and SubscriberLow are the same for the ports of a subscriber, of those that its quota, its blocks or its map allow
	// it. Default: 90 and 80.
	SubscriberHigh, SubscriberLow int
	// Sessions writes a record when a session begins, and when it ends, of static mappings and peerings too, whose names stand in the place of the
	// pool's. Default: blocks and records of static mappings make them needless. Sessions of protocols without ports are always recorded.
	Sessions bool
	// Destinations names the remote endpoint in records of sessions, and needs Sessions. Default: it is left out (RFC 6888 REQ-12).
	Destinations bool
	// Bindings writes a record when a subscriber is paired with an external address, and when that ends
	// (RFC 8158 section 4.6.9). Default: the record of its first block says the same.
	Bindings bool
}

func (v *Events) complete(f *faults) {
	if v.Interval == 0 {
		v.Interval = 10 * time.Second
	}
	if v.Interval < 0 || v.Interval > 24*time.Hour {
		f.add("Events.Interval", v.Interval, "must be from 0 to 24h; zero means 10 s")
	}
	for _, p := range []struct {
		name      string
		high, low *int
	}{{"Pool", &v.PoolHigh, &v.PoolLow}, {"Subscriber", &v.SubscriberHigh, &v.SubscriberLow}} {
		if *p.high == 0 && *p.low != 0 {
			f.add("Events."+p.name+"Low", *p.low, "must come with "+p.name+"High: what is low counts after what was high; zero for both means 90 and 80")
			continue
		}
		if *p.high == 0 {
			*p.high = 90
		}
		if *p.low == 0 {
			*p.low = max(*p.high-10, 1)
		}
		if *p.high < 1 || *p.high > 100 {
			f.add("Events."+p.name+"High", *p.high, "must be a percentage from 1 to 100; zero means 90")
		}
		if *p.low < 1 || *p.low > *p.high {
			f.add("Events."+p.name+"Low", *p.low, "must be from 1 to "+p.name+"High; zero means 10 less than that")
		}
	}
}

const (
	maxNotes        = 256  // kinds of events that a shard notes between two rounds of Expire
	maxSessionNotes = 8192 // sessions that a shard notes
	manySessions    = 64   // sessions after which the call that noted them writes them
)

// notes are events that packets came upon and that are not written yet. Whoever
// notes one may hold the shard's lock, whoever writes them holds none but the one of writing.
type notes struct {
	writing sync.Mutex // held across the log

	mu       sync.Mutex // guards what follows, a leaf
	index    map[noteKey]int
	events   []note
	sessions []sessionNote
	spare    []sessionNote
	lost     uint64 // for want of room
}

// noteKey tells events apart: alike ones are one note with a count.
type noteKey struct {
	kind     logging.Kind
	resource logging.Resource
	protocol uint8
	reason   Reason
	realm    uint16
	pool     int16 // -1 where the event is of no pool
	internal uint32
	external uint32
	inbound  bool // who comes from outside is refused
}

// What a key leaves out is zero: addresses of zero are nobody's.
type note struct {
	noteKey
	at        time.Time
	count     uint32
	used, max uint32
}

// sessionNote is a session that began or ended, or a pairing that did.
type sessionNote struct {
	at     time.Time
	kind   logging.Kind
	pool   uint16
	s      mapping.Session
	static *staticNote // what there is besides of a session of what is static, or nil
}

// add notes an event.
func (n *notes) add(v note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i, ok := n.index[v.noteKey]; ok {
		n.events[i].count++
		return
	}
	if len(n.events) >= maxNotes {
		n.lost++
		return
	}
	if n.index == nil {
		n.index = map[noteKey]int{}
	}
	v.count = 1
	n.index[v.noteKey] = len(n.events)
	n.events = append(n.events, v)
}

// addSession notes a session or a pairing, and reports whether there are many by now.
func (n *notes) addSession(v sessionNote) (many bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.sessions) >= maxSessionNotes {
		n.lost++
		return true
	}
	n.sessions = append(n.sessions, v)
	return len(n.sessions) >= manySessions
}

// take hands out all that is noted.
func (n *notes) take() ([]note, []sessionNote) {
	n.mu.Lock()
	defer n.mu.Unlock()
	events, sessions := n.events, n.sessions
	n.events, n.sessions, n.spare = nil, n.spare[:0], nil
	clear(n.index)
	return events, sessions
}

// giveBack takes back what could not be written, before what came since, as far as there is room.
func (n *notes) giveBack(events []note, sessions []sessionNote) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, v := range events {
		if i, ok := n.index[v.noteKey]; ok {
			n.events[i].count += v.count
		} else if len(n.events) < maxNotes {
			n.index[v.noteKey] = len(n.events)
			n.events = append(n.events, v)
		} else {
			n.lost++
		}
	}
	room := max(maxSessionNotes-len(n.sessions), 0)
	n.lost += uint64(max(len(sessions)-room, 0))
	if len(sessions) > 0 {
		n.sessions = append(sessions[:min(len(sessions), room):min(len(sessions), room)], n.sessions...)
	}
}

// reuse keeps the memory of a list that was taken.
func (n *notes) reuse(sessions []sessionNote) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spare = sessions[:0]
}

// eventCounts are what became of events.
type eventCounts struct {
	recorded, lost atomic.Uint64
}

// refused notes why a packet got no session or mapping. The caller holds the shard's lock.
func (e *Engine) refused(s *shard, key subscriberKey, space portblock.Space, why Reason) {
	if e.cfg.Events.Off {
		return
	}
	protocol := protocols[space]
	space = mapping.PortsOf(space)
	v := note{at: s.now, noteKey: noteKey{
		kind: logging.QuotaExceeded, resource: logging.ResourceSubscriberMappings, reason: why, realm: key.realm, pool: int16(key.pool), internal: key.addr,
	}}
	sub, a := s.sub(key), s.account(accountKey{key.addr, key.realm})
	switch why {
	case ReasonSessionLimit:
		if e.sessions.Load() >= int64(e.cfg.Limits.Sessions) {
			v.noteKey = noteKey{kind: v.kind, resource: logging.ResourceSessions, reason: why, pool: -1}
			v.used, v.max = clamp(e.sessions.Load()), clamp(int64(e.cfg.Limits.Sessions))
		} else if a != nil {
			_, all := a.opened(int(space))
			v.used = clamp(all)
			v.max = clamp(least(e.cfg.Limits.SessionsPerSubscriber, a.quota.Sessions, a.quota.Protocols[space].Sessions))
		}
	case ReasonPortLimit, ReasonMappingRate, ReasonSessionRate, ReasonReserved:
		if a != nil {
			v.used, v.max = clamp(total(&a.ports)), clamp(least(a.quota.Ports, a.quota.Protocols[space].Ports))
			switch why {
			case ReasonMappingRate:
				v.max = clamp(int64(a.quota.MappingRate.PerSecond))
			case ReasonSessionRate:
				_, all := a.opened(int(space))
				v.used, v.max = clamp(all), clamp(int64(a.quota.SessionRate.PerSecond))
			}
		}
		if p := e.pools[key.pool]; why == ReasonPortLimit && v.max == 0 && p.layout != nil {
			c := p.layout.Config()
			v.max = clamp(least(c.MaxPortsTotal, c.MaxPorts[space]))
		}
	case ReasonBlockLimit:
		if a != nil {
			v.used, v.max = clamp(int64(a.blocks)), clamp(least(a.quota.Blocks, e.pools[key.pool].layout.Config().MaxBlocks))
		}
	case ReasonRealmLimit:
		v.noteKey = noteKey{kind: v.kind, resource: logging.ResourceMappings, reason: why, realm: key.realm, pool: -1}
		if r := e.quotas.Load().realms[key.realm]; r != nil {
			v.used, v.max = clamp(r.ports.total()), clamp(int64(r.quota.Ports))
			if r.mayOpen(space, true, s.now) == ReasonRealmLimit {
				v.resource = logging.ResourceSessions
				_, all := r.opened(int(space))
				v.used, v.max = clamp(all), clamp(int64(r.quota.Sessions))
			}
		}
	case ReasonSubscriberLimit:
		v.noteKey = noteKey{kind: v.kind, resource: logging.ResourceSubscribers, reason: why, pool: -1}
		v.used, v.max = clamp(e.subscribers.Load()), clamp(int64(e.cfg.Limits.Subscribers))
	case ReasonAddressesExhausted:
		v.noteKey = noteKey{kind: logging.AddressesExhausted, reason: why, pool: int16(key.pool)}
	case ReasonBlocksExhausted, ReasonPortsResting:
		v.noteKey = noteKey{kind: logging.AddressesExhausted, reason: why, pool: int16(key.pool)}
		if sub != nil {
			v.kind, v.external, v.protocol = logging.PortsExhausted, sub.external, protocol
		}
	default:
		return
	}
	s.notes.add(v)
}

// fragmentRefused notes a fragment of an internal host for which there was no room. The caller holds the lock of fragments, and
// no other that guards the configuration: whether events are off is looked at when the note is written.
func (e *Engine) fragmentRefused(p *Packet, h *rewrite.Packet4, party uint64, now time.Time) {
	if p.Direction != Outbound {
		return // its receiver is not known
	}
	f := &e.frags
	used, most := f.parties[party].datagrams, f.each.datagrams
	if used < most && f.parties[party].bytes < f.each.bytes {
		used, most = f.used.datagrams, f.total.datagrams
	}
	e.shards[0].notes.add(note{at: now, used: clamp(int64(used)), max: clamp(int64(most)), noteKey: noteKey{
		kind: logging.QuotaExceeded, resource: logging.ResourceFragments, reason: ReasonFragment, realm: uint16(p.Realm), pool: -1, internal: h.Src,
	}})
}

// least returns the smallest limit that bounds, or 0.
func least(limits ...int) int64 {
	n := 0
	for _, l := range limits {
		if l > 0 && (n == 0 || l < n) {
			n = l
		}
	}
	return int64(n)
}

func clamp(n int64) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

// sessionEvent notes the begin or the end of a session. The caller holds the shard's lock.
func (e *Engine) sessionEvent(s *shard, kind logging.Kind, pool int, session *mapping.Session) {
	if e.cfg.Events.Sessions && !e.cfg.Events.Off && s.notes.addSession(sessionNote{s.now, kind, uint16(pool), *session, nil}) {
		e.manyNotes.Store(true)
	}
}

// bindingEvent notes the begin or the end of a pairing. The caller holds the shard's lock.
func (e *Engine) bindingEvent(s *shard, kind logging.Kind, sub *subscriber) {
	if e.cfg.Events.Bindings && !e.cfg.Events.Off {
		s.notes.addSession(sessionNote{at: s.now, kind: kind, pool: sub.key.pool, s: mapping.Session{
			Realm: sub.key.realm, Internal: mapping.Endpoint{Addr: sub.key.addr}, External: mapping.Endpoint{Addr: sub.external},
		}})
	}
}

// writeMany writes the notes of all shards when one of them has many. The caller holds no lock.
func (e *Engine) writeMany() {
	if e.manyNotes.Load() && e.manyNotes.CompareAndSwap(true, false) {
		for _, s := range e.shards {
			if s.notes.writing.TryLock() {
				e.writeNotes(s)
			}
		}
	}
}

// writeAll writes the notes of a shard. The caller holds no lock of a shard or a pool but grants.
func (e *Engine) writeAll(s *shard) {
	s.notes.writing.Lock()
	e.writeNotes(s)
}

// writeNotes writes the notes of a shard, in order, until the log refuses one. The caller
// holds writing, which is given back.
func (e *Engine) writeNotes(s *shard) {
	defer s.notes.writing.Unlock()
	events, sessions := s.notes.take()
	if len(events)+len(sessions) == 0 {
		s.notes.reuse(sessions)
		return
	}
	n, m := 0, 0
	if e.cfg.Events.Off { // switched off since they were noted
		n, m = len(events), len(sessions)
	}
	defer func() { // also when the log panics
		s.notes.giveBack(events[n:], sessions[m:])
		if m == len(sessions) {
			s.notes.reuse(sessions)
		}
	}()
	for ; m < len(sessions); m++ {
		r := e.sessionRecord(&sessions[m])
		if !e.offer(e.cfg.Log, &r) {
			return
		}
	}
	for ; n < len(events); n++ {
		r := e.eventRecord(&events[n])
		if !e.offer(e.limiter, &r) {
			return
		}
	}
}

// offer offers a record of an event to the log, and reports whether that is done with: accepted, or such that it never will be.
func (e *Engine) offer(log logging.Log, r *logging.Record) bool {
	err := log.Append(r)
	switch {
	case err == nil:
		e.events.recorded.Add(1)
	case errors.Is(err, logging.ErrRecord):
		e.events.lost.Add(1)
	default:
		return false
	}
	return true
}

// eventRecord returns the record of a note.
func (e *Engine) eventRecord(v *note) logging.Record {
	r := logging.Record{
		Kind: v.kind, Resource: v.resource, Time: logging.MillisOf(v.at), Protocol: v.protocol,
		Instance: e.cfg.Instance, Host: e.cfg.Host, Epoch: e.cfg.HostEpoch,
		Used: v.used, Max: v.max, Suppressed: v.count - 1, Realm: e.realmName(v.realm), Reason: logging.ReasonOutbound,
	}
	switch {
	case v.reason == ReasonNone:
		r.Reason = logging.ReasonAuto
	case v.inbound:
		r.Reason = logging.ReasonInbound
		fallthrough
	default:
		r.Detail = v.reason.String()
	}
	if v.pool >= 0 {
		r.PoolID, r.Pool = e.pools[v.pool].cfg.ID, e.pools[v.pool].cfg.Name
	}
	if v.internal != 0 {
		r.Subscriber = mapping.Addr4(v.internal)
	}
	if v.external != 0 {
		r.External = mapping.Addr4(v.external)
	}
	return r
}

// sessionRecord returns the record of a session or a pairing.
func (e *Engine) sessionRecord(v *sessionNote) logging.Record {
	p := e.pools[v.pool]
	r := logging.Record{
		Kind: v.kind, Time: logging.MillisOf(v.at), Instance: e.cfg.Instance, Host: e.cfg.Host, Epoch: e.cfg.HostEpoch,
		PoolID: p.cfg.ID, Pool: p.cfg.Name, Realm: e.realmName(v.s.Realm),
		Subscriber: mapping.Addr4(v.s.Internal.Addr), External: mapping.Addr4(v.s.External.Addr), Reason: logging.ReasonOutbound,
	}
	if v.kind == logging.SessionDeleted || v.kind == logging.AddressUnbound {
		r.Reason = logging.ReasonIdle
	}
	if v.kind == logging.SessionCreated || v.kind == logging.SessionDeleted {
		r.Protocol, r.Internal = protocols[v.s.Space], v.s.Internal.AddrPort()
		r.First, r.Last = v.s.External.Port, v.s.External.Port
		if e.cfg.Events.Destinations {
			r.Remote = v.s.Remote.AddrPort()
		}
	}
	if n := v.static; n != nil {
		r.PoolID, r.Pool, r.Protocol, r.Reason, r.ExternalRealm = 0, n.name, n.protocol, n.why, n.realm
	}
	return r
}
