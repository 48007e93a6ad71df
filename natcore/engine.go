package natcore

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
)

// Engine is a NAT44: it holds the mappings and sessions of all subscribers and
// translates their packets. All its methods are safe for concurrent use;
// packets of one session are best given by one caller, in order.
type Engine struct {
	cfg      Config  // filled in
	given    Config  // as it was given, guarded by statics.change
	pools    []*pool // by number, nil behind the last: see all
	external *externals
	rules    atomic.Pointer[[]rule]
	quotas   atomic.Pointer[quotas]
	shards   []*shard
	shardKey uint64
	frags    fragments
	outbox   outbox
	ids      identifiers
	mss      uint16 // Config.MSS

	timeouts  atomic.Pointer[Timeouts]
	manyNotes atomic.Bool // a shard has many notes
	// What each call looks at shares a cache line: whether packets are dropped, the latest time seen in Unix
	// milliseconds, and the index with which statics begins.
	stopped atomic.Bool
	clock   atomic.Int64
	statics statics

	subscribers atomic.Int64 // in all shards, against Limits.Subscribers
	sessions    atomic.Int64 // in all shards, against Limits.Sessions
	poolCount   atomic.Int64
	events      eventCounts
	limiter     *logging.Limiter // in front of the log, for events
	sweep       sweep
	began       time.Time
	recorded    time.Time // when the parameters of deterministic maps were recorded, guarded by sweep
}

// New returns an engine with the configuration, or all faults of the
// configuration at once: errors of type *FieldError under errors.Join. The engine's clock starts at now.
// With deterministic maps it records their parameters first, then the static mappings, and fails when the log refuses them.
func New(cfg Config, now time.Time) (*Engine, error) {
	e, err := build(cfg, now)
	if err != nil {
		return nil, err
	}
	if err := e.recordEpochs(now); err != nil {
		return nil, err
	}
	if err := e.traceStatics(e.statics.list(), logging.ReasonAdmin, now); err != nil {
		return nil, err
	}
	return e, nil
}

// build makes an engine that has recorded nothing yet.
func build(cfg Config, now time.Time) (*Engine, error) {
	given := cfg.clone()
	cfg = cfg.clone()
	err := cfg.complete(now)
	var f faults
	cfg.checkQuotaRealms(&f, nil)
	err = errors.Join(err, errors.Join(f...))
	e := &Engine{cfg: cfg, given: given, began: now, recorded: now, pools: make([]*pool, maxPools)}
	e.clock.Store(now.UnixMilli())
	secrets := rand.NewChaCha8(cfg.Seed)
	for i, pc := range cfg.Pools[:min(len(cfg.Pools), maxPools)] {
		var seed [32]byte
		_, _ = secrets.Read(seed[:]) // never fails
		p, poolErr := newPool(pc, seed, i)
		err = errors.Join(err, poolErr)
		if p != nil && cfg.HoldAfterRestart > 0 {
			p.holds = now.Add(cfg.HoldAfterRestart)
		}
		if e.pools[i] = p; p != nil {
			p.statics = &e.statics
		}
		e.poolCount.Add(1)
	}
	external, overlap := newExternals(&cfg, e.pools)
	err = errors.Join(err, overlap)
	e.external = external
	if err = errors.Join(err, e.beginStatics(&cfg)); err != nil {
		return nil, err
	}
	e.rules.Store(newRules(&cfg))
	e.quotas.Store(newQuotas(&cfg.Quotas))
	e.shardKey = secrets.Uint64()
	e.frags.init(&cfg)
	e.limiter = logging.NewLimiter(cfg.Log, logging.LimiterConfig{Interval: cfg.Events.Interval})
	e.timeouts.Store(&cfg.Timeouts)
	for i := range cfg.Shards {
		var key [24]byte
		var seed [32]byte
		_, _ = secrets.Read(key[:])
		_, _ = secrets.Read(seed[:])
		e.shards = append(e.shards, newShard(i, seed, key, e.newTable(key, now), now))
	}
	e.outbox.init(&cfg.ICMP, secrets.Uint64())
	e.mss = cfg.MSS
	e.ids.init(&cfg, uint64(now.UnixNano()))
	e.initStatics(secrets, now)
	return e, nil
}

// newTable returns a table with the engine's idle times.
func (e *Engine) newTable(key [24]byte, now time.Time) *mapping.Table {
	idle, classes := e.timeouts.Load().table(e.cfg.RefreshInbound)
	t := mapping.NewTable(key, idle, now)
	t.SetTimeouts(idle, classes...)
	return t
}

// all returns the pools. Further ones are entered before they are counted, so no lock is needed to read them.
func (e *Engine) all() []*pool { return e.pools[:e.poolCount.Load()] }

// External reports whether the engine translates to the address.
func (e *Engine) External(a netip.Addr) bool {
	if a = a.Unmap(); !a.Is4() {
		return false
	}
	c := call{e: e, static: e.statics.index.Load()}
	return c.own(mapping.Number4(a))
}

// Process translates a batch of packets of either direction. Those of one subscriber are translated in order. It
// sets Verdict, Reason and Realm of each and rewrites its bytes in place.
func (e *Engine) Process(batch []Packet, now time.Time) {
	if len(batch) == 1 {
		e.one(&batch[0], now)
		return
	}
	var c call
	c.begin(e, now)
	c.batch(batch)
	c.done()
}

// Outbound translates one packet of realm 0 that leaves. b starts at the IP header and is rewritten in place.
func (e *Engine) Outbound(b []byte, now time.Time) (Verdict, Reason) {
	p := Packet{Bytes: b, Direction: Outbound}
	e.one(&p, now)
	return p.Verdict, p.Reason
}

// Inbound translates one packet that arrives from the external realm. b starts at the IP header and is rewritten in place.
func (e *Engine) Inbound(b []byte, now time.Time) (Verdict, Reason) {
	p := Packet{Bytes: b, Direction: Inbound}
	e.one(&p, now)
	return p.Verdict, p.Reason
}

// call is one call of Process: it keeps a shard's lock while packets of that
// shard follow each other.
type call struct {
	e      *Engine
	now    time.Time
	ms     int64        // now in Unix milliseconds
	shard  *shard       // locked, or nil
	static *staticIndex // nil where nothing is static

	// The external addresses where they are one span, which a call takes for the same from its begin to its end.
	plainOwn          bool
	ownFirst, ownRest uint32
	ownSpan           *span
	locked            uint32 // how often a shard was locked: what is known of one holds while this is the same
	// missed says that no session is at look, which is that of the packet.
	missed bool
	look   mapping.Lookup
	// generated says that the packet is an ICMP error of the engine's own, which is believed.
	generated bool
}

// call begins a call at the engine's clock.
func (e *Engine) call(now time.Time) (c call) {
	c.begin(e, now)
	return c
}

// begin is call for a value that is not copied.
func (c *call) begin(e *Engine, now time.Time) {
	c.ms = now.UnixMilli()
	if c.ms != e.clock.Load() {
		now = e.advance(now)
		c.ms = now.UnixMilli()
	}
	c.e, c.now, c.static = e, now, e.statics.index.Load()
	if spans := *e.external.spans.Load(); len(spans) == 1 && c.static == nil {
		c.plainOwn, c.ownFirst, c.ownRest, c.ownSpan = true, spans[0].first, spans[0].last-spans[0].first, &spans[0]
	}
}

// advance sets the engine's clock and returns it: callers with different clocks
// all move on together, and never back. The clock is written once a millisecond at most.
func (e *Engine) advance(now time.Time) time.Time {
	ms := now.UnixMilli()
	for {
		latest := e.clock.Load()
		if ms < latest {
			return time.UnixMilli(latest)
		}
		if ms == latest || e.clock.CompareAndSwap(latest, ms) {
			return now
		}
	}
}

// lock locks a shard, and unlocks the one before.
func (c *call) lock(s *shard) *shard {
	if c.shard != s {
		c.unlock()
		s.mu.Lock()
		c.locked++
		if c.ms != s.ms {
			s.advance(c.now)
		} else if s.now.Nanosecond() < c.now.Nanosecond() {
			s.now = c.now // within the same millisecond
		}
		c.shard = s
	}
	return s
}

// hold takes over a shard that is locked already.
func (c *call) hold(s *shard) {
	c.locked++
	if c.shard = s; c.ms != s.ms {
		s.advance(c.now)
	}
}

func (c *call) unlock() {
	if c.shard != nil {
		c.shard.mu.Unlock()
		c.shard = nil
	}
}

// done ends a call.
func (c *call) done() {
	c.unlock()
	if c.e.manyNotes.Load() {
		c.e.writeMany()
	}
}

// process translates one packet and counts what became of it, in the shard
// that has last seen it.
func (c *call) process(p *Packet) {
	p.Verdict, p.Reason = c.translate(p)
	s := c.shard
	if s == nil {
		s = c.lock(c.e.shards[0])
	}
	if p.Direction <= Inbound {
		s.counts.packets[p.Direction][p.Verdict]++
	}
	if p.Verdict == Drop {
		s.counts.drops[p.Reason]++
		c.refused(p)
	}
}

func (c *call) translate(p *Packet) (Verdict, Reason) {
	var h rewrite.Packet4
	if fault := rewrite.Parse4(p.Bytes, &h); fault != rewrite.FaultNone {
		return Drop, reasonOfFault(fault, p.Bytes)
	}
	if c.e.stopped.Load() {
		return Drop, ReasonStopped
	}
	if p.Flags&PartialChecksum != 0 {
		h.Flags |= rewrite.PartialChecksum
	}
	switch {
	case p.Direction > Inbound:
		return Drop, ReasonMalformed
	case h.Flags&rewrite.NonFirst != 0:
		return c.laterFragment(p, &h)
	case h.Flags&rewrite.MoreFragments != 0:
		return c.firstFragment(p, &h)
	}
	verdict, why := c.whole(p, &h)
	if finishes(&h) {
		c.finish(p, &h, verdict)
	}
	return verdict, why
}

// whole translates a packet that has a transport header: a whole one or a first fragment.
func (c *call) whole(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	if h.Proto == rewrite.ProtoICMP && p.Direction == Outbound && h.Flags&rewrite.SourceRoute != 0 {
		return c.untranslated(p, h, ReasonSourceRoute)
	}
	switch h.Kind {
	case rewrite.KindQueryRequest, rewrite.KindQueryReply:
		if h.ICMPType == 15 || h.ICMPType == 16 {
			return c.untranslated(p, h, ReasonICMPType) // information request and reply are obsolete (RFC 5508 REQ-10 C)
		}
		fallthrough
	case rewrite.KindTCP, rewrite.KindUDP, rewrite.KindUDPLite:
		if p.Direction == Outbound {
			return c.outbound(p, h)
		}
		return c.inbound(p, h)
	case rewrite.KindICMPError:
		if p.Direction == Outbound {
			return c.errorOut(p, h)
		}
		return c.errorIn(p, h)
	case rewrite.KindICMPOther:
		return c.untranslated(p, h, ReasonICMPType)
	}
	if c.static != nil {
		if verdict, why, done := c.portless(p, h); done {
			return verdict, why
		}
	}
	return c.untranslated(p, h, ReasonProtocol)
}

// untranslated handles a packet that the engine does not translate: a rule may
// still exempt it.
func (c *call) untranslated(p *Packet, h *rewrite.Packet4, why Reason) (Verdict, Reason) {
	if p.Direction == Outbound {
		if r := c.e.match(p.Realm, h.Src, h.Dst, h.Proto); r != nil && r.action == Exempt {
			return Bypass, ReasonNone
		}
		return Drop, why
	}
	if !c.own(h.Dst) {
		if verdict, _ := c.exempted(p, h); verdict == Bypass {
			return Bypass, ReasonNone
		}
	}
	return Drop, why
}

func reasonOfFault(f rewrite.Fault, b []byte) Reason {
	switch f {
	case rewrite.FaultVersion:
		if len(b) > 0 && b[0]>>4 == 6 {
			return ReasonIPv6
		}
	case rewrite.FaultShort:
		if len(b) > 0 && b[0]>>4 == 6 {
			return ReasonIPv6
		}
		return ReasonTruncated
	case rewrite.FaultTruncated:
		return ReasonTruncated
	case rewrite.FaultTinyFragment:
		return ReasonTinyFragment
	}
	return ReasonMalformed
}
