package natcore

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// Report tells what a Reconfigure has changed, and what the configuration does not allow any more that goes on.
type Report struct {
	// PoolsAdded and PoolsWithdrawn are names of pools.
	PoolsAdded, PoolsWithdrawn []string
	// AddressesAdded are external addresses that serve from now on, AddressesWithdrawn those that get no further subscriber
	// and give no further block. Draining are all that are withdrawn, now or before, and still serve somebody.
	AddressesAdded, AddressesWithdrawn, Draining uint64
	// Reserved are ports in use that are newly reserved: they go on, and are not given again.
	Reserved int
	// Moved are subscribers to whom a new Map gives other ports. Their mappings and sessions have ended with this call,
	// because the ports may be somebody else's by the map; they get the new ones after 120 s (RFC 6888 REQ-8).
	Moved int
	// Disallowed are sessions that the rules would not begin any more, or that are of addresses that are withdrawn. They go
	// on until they end, or EndDisallowed ends them.
	Disallowed int
}

// Config returns the configuration as it was given to New, Restore or Reconfigure last. Static mappings that AddStatic has added are not
// in it, nor quotas of SetQuota.
func (e *Engine) Config() Config {
	e.statics.change.Lock()
	defer e.statics.change.Unlock()
	return e.given.clone()
}

// clone returns a copy that shares no list with c.
func (c *Config) clone() Config {
	d := *c
	d.Pools, d.Rules, d.Quotas = slices.Clone(c.Pools), slices.Clone(c.Rules), c.Quotas.clone()
	for i := range d.Pools {
		p := &d.Pools[i]
		p.Addresses, p.Exclude, p.Blocks.Reserved = slices.Clone(p.Addresses), slices.Clone(p.Exclude), slices.Clone(p.Blocks.Reserved)
	}
	d.Timeouts.Ports = slices.Clone(c.Timeouts.Ports)
	d.cloneStatics()
	return d
}

// Reconfigure changes the configuration of the live engine. All faults come together, as those of New, and then nothing has
// changed; neither has it when the log refuses the parameters of a new Map. Packets wait while it is made: the time grows with
// the number of subscribers, and with that of sessions only where Filtering, Blocks.Reserved, Timeouts.Ports or Map change.
//
// These change: Rules, Timeouts (on live sessions too), Limits, Quotas, Events but for its Interval, AdmitNonSYN; further pools; and of a
// pool, which its Name tells, Overload (mappings that share a port go on), Filtering, Addresses, Exclude, Blocks.Reserved, Map and Epoch. A pool that is left out is withdrawn with all
// its addresses. Log and HoldAfterRestart stay what they are. All else must be as it was.
//
// What lives goes on, and nothing is ended to fit a lower limit. An address that is withdrawn gets no new subscriber and gives no new block; who
// has it goes on with the ports at hand, and moves to another one when he holds nothing there any more. EndDisallowed makes an end
// of that at once. A new Map takes the place of the old one in place: see Report.Moved.
func (e *Engine) Reconfigure(cfg Config, now time.Time) (Report, error) {
	return e.reconfigure(cfg, now, true)
}

// Plan says what Reconfigure would report, or its faults, and changes nothing.
func (e *Engine) Plan(cfg Config, now time.Time) (Report, error) {
	return e.reconfigure(cfg, now, false)
}

func (e *Engine) reconfigure(cfg Config, now time.Time, apply bool) (Report, error) {
	e.statics.change.Lock()
	defer e.statics.change.Unlock()
	given := cfg.clone()
	unlock := e.lockConfig()
	now = e.advance(now)
	for _, s := range e.shards {
		s.advance(now)
	}
	c := &change{e: e, now: now, apply: apply, cfg: cfg.clone()}
	err := c.run()
	if err == nil && apply {
		given.Log, given.HoldAfterRestart = e.cfg.Log, e.cfg.HoldAfterRestart
		e.given = given
	}
	unlock()
	if err != nil {
		return Report{}, err
	}
	c.count()
	if apply {
		for _, s := range e.shards {
			s.grants.Lock()
			_ = e.recordReleases(s, now) // what is refused is counted, and offered again
			s.grants.Unlock()
		}
	}
	return c.report, nil
}

// lockConfig locks all who read the configuration without a lock that a packet takes: Expire, writers of events, all shards.
func (e *Engine) lockConfig() (unlock func()) {
	e.sweep.mu.Lock()
	e.statics.finish.Lock()
	for _, s := range e.shards {
		s.notes.writing.Lock()
	}
	shards := e.lockShards()
	return func() {
		shards()
		for _, s := range e.shards {
			s.notes.writing.Unlock()
		}
		e.statics.finish.Unlock()
		e.sweep.mu.Unlock()
	}
}

// change is a reconfiguration on its way. Everything is locked.
type change struct {
	e      *Engine
	now    time.Time
	apply  bool
	cfg    Config
	pools  []poolChange // by number
	rules  []rule
	faults faults
	report Report
}

func (c *change) run() error {
	e := c.e
	c.order()
	if c.cfg.Log == nil {
		c.cfg.Log = e.cfg.Log
	}
	err := c.cfg.complete(c.now)
	c.cfg.checkQuotaRealms(&c.faults, e.statics.list())
	c.same()
	for i := range c.pools {
		c.plan(&c.pools[i])
	}
	if err == nil && len(c.faults) == 0 {
		c.overlaps() // of pools that are right in themselves
	}
	if err = errors.Join(err, errors.Join(c.faults...)); err != nil {
		return err
	}
	c.rules = *newRules(&c.cfg)
	if !c.apply {
		return nil
	}
	if err := c.record(); err != nil {
		return err
	}
	c.take()
	return nil
}

// order brings the pools into the engine's order: those that it has, each in its place, then further ones. A pool that
// the new configuration leaves out keeps its place, without addresses.
func (c *change) order() {
	e := c.e
	var pools []PoolConfig
	for i, p := range e.all() {
		n := c.cfg.pool(p.cfg.Name)
		if n < 0 {
			c.pools = append(c.pools, poolChange{number: i, p: p, gone: true})
			pools = append(pools, e.cfg.Pools[i])
			if m := &pools[i]; m.Map != nil { // what completion has filled in
				m.Addresses, m.Exclude, m.Blocks.Ports, m.Blocks.Reserved = nil, nil, portblock.Range{}, nil
			}
			continue
		}
		next := c.cfg.Pools[n]
		if next.ID == 0 {
			next.ID = p.cfg.ID
		}
		if next.Blocks.OrderKey == ([16]byte{}) {
			next.Blocks.OrderKey = p.cfg.Blocks.OrderKey
		}
		if next.Map != nil && next.Epoch == 0 {
			next.Epoch = p.cfg.Epoch
		}
		c.pools = append(c.pools, poolChange{number: i, p: p})
		pools = append(pools, next)
	}
	for _, next := range c.cfg.Pools {
		if !slices.ContainsFunc(pools, func(p PoolConfig) bool { return p.Name == next.Name && next.Name != "" }) {
			c.pools = append(c.pools, poolChange{number: len(pools)})
			pools = append(pools, next)
		}
	}
	if len(c.cfg.Pools) == 0 {
		c.faults.add("Pools", "empty", "at least one pool with external addresses is needed")
	}
	if len(c.cfg.Rules) == 0 && len(c.cfg.Pools) > 0 { // the default is of the first pool that was given
		c.cfg.Rules = []Rule{{Pool: c.cfg.Pools[0].Name}}
		if m := c.cfg.Pools[0].Map; m != nil {
			c.cfg.Rules[0].Realm = Realm(m.Config().Realm)
		}
	}
	c.cfg.Pools = pools
}

// record records the parameters of maps that change.
func (c *change) record() error {
	for i := range c.pools {
		p := &c.pools[i]
		if !p.remap {
			continue
		}
		if err := c.e.recordEpoch(&c.cfg.Pools[p.number], c.now, c.now); err != nil {
			return err
		}
	}
	return nil
}

// take makes the change. Nothing can fail any more.
func (c *change) take() {
	e := c.e
	for i := range c.pools {
		c.pools[i].take(c)
	}
	external, err := externalsOf(e.all())
	if err == nil { // always: overlaps were refused
		e.external.spans.Store(external)
	}
	// Fields that cannot change are not written: some are read without a lock.
	e.cfg.Pools, e.cfg.Rules, e.cfg.Timeouts, e.cfg.Limits = c.cfg.Pools, c.cfg.Rules, c.cfg.Timeouts, c.cfg.Limits
	e.cfg.Quotas, e.cfg.Events, e.cfg.AdmitNonSYN = c.cfg.Quotas, c.cfg.Events, c.cfg.AdmitNonSYN
	e.rules.Store(&c.rules)
	c.timeouts()
	e.frags.mu.Lock()
	e.frags.limit(&e.cfg)
	e.frags.mu.Unlock()
	st := &e.statics
	st.mu.Lock()
	st.most = e.cfg.Limits.StaticSessions
	st.recorded = e.cfg.Events.Sessions && !e.cfg.Events.Off
	st.others.perHost, st.others.most = e.cfg.Limits.ProtocolSessionsPerSubscriber, e.cfg.Limits.ProtocolSessions
	st.mu.Unlock()
	c.quotas()
}

// timeouts sets the idle times of all that lives.
func (c *change) timeouts() {
	e, t := c.e, c.e.cfg.Timeouts
	alike := samePorts(e.timeouts.Load().Ports, t.Ports)
	e.timeouts.Store(&t)
	idle, classes := t.table(e.cfg.RefreshInbound)
	for _, s := range e.shards {
		s.table.SetTimeouts(idle, classes...)
		if !alike {
			s.table.Classify(t.class)
		}
	}
	e.statics.setTimeouts(&t, e.cfg.RefreshInbound, !alike)
}

// quotas ties all accounts to the new quotas; what they hold counts.
func (c *change) quotas() {
	e := c.e
	old, next := e.quotas.Load(), newQuotas(&e.cfg.Quotas)
	for realm, r := range next.realms {
		if was := old.realms[realm]; was != nil {
			r.opening.Store(was.opening.Load())
			r.mapping.Store(was.mapping.Load())
			r.arriving.Store(was.arriving.Load())
		}
	}
	e.statics.mu.Lock() // nothing static ends while it is counted
	defer e.statics.mu.Unlock()
	e.quotas.Store(next)
	for _, s := range e.shards {
		for a := range s.accounts.all() {
			e.settle(s, a)
			if a.realm == nil {
				continue
			}
			for sp := range a.ports {
				a.realm.ports[sp].Add(int64(a.ports[sp]))
				a.realm.sessions[sp].Add(int64(a.sessions[sp]))
			}
			a.realm.blocks.Add(int64(a.blocks))
			if u := a.static; u != nil {
				for i := range u.own {
					a.realm.sessions[i].Add(u.own[i].Load())
					a.realm.inbound[i].Add(u.inbound[i].Load())
				}
			}
		}
	}
}

// newPool makes a further pool.
func (c *change) newPool(number int) (*pool, error) {
	var seed [32]byte
	secrets := rand.NewChaCha8(c.e.cfg.Seed)
	for range number + 1 { // the stream of which New has drawn the seeds of pools
		_, _ = secrets.Read(seed[:]) // never fails
	}
	for i, b := range c.now.AppendFormat(nil, time.RFC3339Nano) {
		seed[i%len(seed)] ^= b // New has drawn other things there
	}
	return newPool(c.cfg.Pools[number], seed, number)
}

// ranges turns merged ranges of numbers into those of package alloc.
func ranges(all [][2]uint32) []alloc.Range {
	var list []alloc.Range
	for _, r := range all {
		if v, err := alloc.RangeOf(mapping.Addr4(r[0]), mapping.Addr4(r[1])); err == nil {
			list = append(list, v)
		}
	}
	return list
}

// without returns the addresses of a that are not in b. Both are merged and in order.
func without(a, b [][2]uint32) (rest [][2]uint32) {
	for _, r := range a {
		from, done := r[0], false
		for _, cut := range b {
			if cut[1] < from || cut[0] > r[1] {
				continue
			}
			if cut[0] > from {
				rest = append(rest, [2]uint32{from, cut[0] - 1})
			}
			if cut[1] >= r[1] || cut[1] == math.MaxUint32 {
				done = true
				break
			}
			from = cut[1] + 1
		}
		if !done {
			rest = append(rest, [2]uint32{from, r[1]})
		}
	}
	return rest
}

func size(all [][2]uint32) (n uint64) {
	for _, r := range all {
		n += uint64(r[1]-r[0]) + 1
	}
	return n
}
