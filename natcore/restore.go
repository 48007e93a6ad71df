package natcore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// Restore returns an engine that goes on where the one of the snapshot was: no session, mapping, block or rest is lost, and nobody
// notices but by what AppendSnapshot leaves out. The time that has passed meanwhile counts. The configuration is that of the
// saved engine (Engine.Config) in all that Reconfigure cannot change, and in its pools' addresses; other limits, rules, timeouts and quotas hold at once.
// HoldAfterRestart does not count.
//
// Each block that is held is recorded again, by a logging.BlockInterim with ReasonRestart, so that records which begin with this
// start can be read alone; a log that refuses these is counted and stops nothing. Sessions of protocols without ports end, with their records.
//
// The error joins *FieldErrors, as that of New, or is a *SnapshotError.
func Restore(cfg Config, snapshot []byte, now time.Time) (*Engine, error) {
	cfg.HoldAfterRestart = 0
	e, err := build(cfg, now)
	if err != nil {
		return nil, err
	}
	r := &reader{e: e, b: snapshot, mapped: map[*subscriber]int{}}
	if r.open(); r.err == nil {
		r.engine()
	}
	if r.err != nil {
		return nil, r.err
	}
	e.reserveRestored(e.advance(now))
	if err := e.recordEpochs(now); err != nil {
		return nil, err
	}
	e.recordRestart(e.advance(now))
	return e, nil
}

// reader reads a snapshot into an engine that nobody uses yet. After the first fault it reads zeros.
type reader struct {
	e   *Engine
	b   []byte
	at  int
	rnd *rand.ChaCha8 // secrets of the restored engine: other streams than those that were drawn before
	err error

	mapped map[*subscriber]int // mappings that were read
}

func (r *reader) fail(err error, cause error, format string, args ...any) {
	if r.err == nil {
		r.err = &SnapshotError{r.at, fmt.Sprintf(format, args...), err, cause}
	}
}

func (r *reader) bad(format string, args ...any) { r.fail(ErrSnapshot, nil, format, args...) }

func (r *reader) other(format string, args ...any) { r.fail(ErrSnapshotConfig, nil, format, args...) }

// u reads a number of at most most.
func (r *reader) u(most uint64) uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 || v > most {
		r.bad("a number is cut or too large")
		return 0
	}
	r.at += n
	return v
}

func (r *reader) i() int64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Varint(r.b[r.at:])
	if n <= 0 {
		r.bad("a number is cut or too large")
		return 0
	}
	r.at += n
	return v
}

// count reads the length of a list whose entries take at least size bytes each.
func (r *reader) count(size int) int { return int(r.u(uint64((len(r.b) - r.at) / size))) }

func (r *reader) bytes(n int) []byte {
	if r.err != nil || n > len(r.b)-r.at {
		r.bad("it is cut")
		return make([]byte, min(n, 16))
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

// most bounds of numbers.
const (
	most8  = 1<<8 - 1
	most16 = 1<<16 - 1
	most32 = 1<<32 - 1
)

func (r *reader) part() []byte {
	head := r.bytes(4)
	if r.err != nil {
		return nil
	}
	return r.bytes(int(min(uint64(binary.BigEndian.Uint32(head)), uint64(len(r.b)-r.at)+1)))
}

// time reads nanoseconds.
func (r *reader) time() time.Time {
	n := r.i()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func (r *reader) key() subscriberKey {
	k := subscriberKey{realm: uint16(r.u(most16)), addr: uint32(r.u(most32)), pool: uint16(r.u(most16)), class: uint16(r.u(most16))}
	if r.err == nil && (int(k.pool) >= len(r.e.all()) || int(k.class) >= r.e.pools[k.pool].selection.classes()) {
		r.bad("a subscriber is of no pool")
		k = subscriberKey{}
	}
	return k
}

func (r *reader) endpoint() mapping.Endpoint {
	return mapping.Endpoint{Addr: uint32(r.u(most32)), Port: uint16(r.u(most16))}
}

// open checks header and checksum.
func (r *reader) open() {
	const head = len(snapshotMagic) + 1
	if len(r.b) < head+4 || string(r.b[:len(snapshotMagic)]) != snapshotMagic {
		r.bad("not a snapshot of an engine")
		return
	}
	if v := r.b[len(snapshotMagic)]; v != snapshotVersion {
		r.bad("version %d; this is version %d: restore it with the release that wrote it", v, snapshotVersion)
		return
	}
	end := len(r.b) - 4
	sum := crc32.Checksum(r.b[:end], crc32.MakeTable(crc32.Castagnoli))
	if binary.BigEndian.Uint32(r.b[end:]) != sum {
		r.bad("the checksum differs: it is cut or damaged")
		return
	}
	r.b, r.at = r.b[:end], head
	var seed [32 + 12]byte
	copy(seed[:], r.e.cfg.Seed[:])
	binary.BigEndian.PutUint64(seed[32:], uint64(r.e.began.UnixNano()))
	binary.BigEndian.PutUint32(seed[40:], sum)
	r.rnd = rand.NewChaCha8(sha256.Sum256(seed[:]))
}

func (r *reader) secret() (s [32]byte) {
	_, _ = r.rnd.Read(s[:]) // never fails
	return s
}

// engine reads all but the header.
func (r *reader) engine() {
	e := r.e
	if print := r.bytes(8); r.err == nil && !bytes.Equal(print, e.cfg.print()) {
		r.other("Seed must be that of the saved engine")
	}
	if n := r.u(maxShards); r.err == nil && int(n) != len(e.shards) {
		r.other("Shards must be %d", n)
	}
	clock := r.i()
	if r.err == nil && (clock < math.MinInt64/1_000_000 || clock > math.MaxInt64/1_000_000) {
		r.bad("its clock is out of range")
	}
	e.clock.Store(clock)
	if n := r.u(maxPools); r.err == nil && int(n) != len(e.all()) {
		r.other("Pools must be those of the saved engine: it had %d", n)
	}
	for i, p := range e.all() {
		if r.err == nil {
			r.pool(p, i)
		}
	}
	if r.err != nil {
		return
	}
	external, err := externalsOf(e.all())
	if err != nil {
		r.fail(ErrSnapshot, err, "addresses of pools overlap")
		return
	}
	e.external.spans.Store(external)
	for range r.count(3) {
		realm, opening, mapping := uint16(r.u(most16)), r.i(), r.i()
		if a := e.quotas.Load().realms[realm]; a != nil {
			a.opening.Store(opening)
			a.mapping.Store(mapping)
		}
	}
	for _, s := range e.shards {
		if r.err == nil {
			r.shard(s)
		}
	}
	r.portless()
	if r.err == nil && r.at != len(r.b) {
		r.bad("bytes are left over")
	}
	for _, p := range e.all() {
		if err := p.checkCounts(e.time()); r.err == nil && err != nil {
			r.fail(ErrSnapshot, err, "a block has no owner")
		}
	}
}

// pool reads a pool and its addresses.
func (r *reader) pool(p *pool, i int) {
	for f, want := range p.identity() {
		got := string(r.bytes(r.count(1)))
		if r.err == nil && got != want {
			r.other("Pools[%d].%s must be %q, that of the saved engine", i, []string{"Name", "ID", "Mapping", "Select", "Remotes", "Map"}[f], got)
			return
		}
	}
	p.now, p.holds = r.time(), r.time()
	p.high = r.u(1) == 1
	part := r.part()
	if r.err != nil {
		return
	}
	a, n, err := alloc.Restore(part, r.secret())
	if err != nil || n != len(part) {
		r.fail(ErrSnapshot, err, "pool %q", p.cfg.Name)
		return
	}
	if !slices.Equal(members(a), members(p.alloc)) {
		r.other("Pools[%d].Addresses must be those of the saved engine: restore with its configuration, then reconfigure", i)
		return
	}
	if a.Positions() > 16*p.alloc.Positions()+1<<16 {
		r.bad("pool %q has more withdrawn addresses than are plausible", p.cfg.Name)
		return
	}
	p.alloc = a
	if p.selection, err = newSelection(&p.cfg, a, ""); err != nil {
		r.fail(ErrSnapshot, err, "pool %q", p.cfg.Name)
		return
	}
	p.room()
	places := p.places()
	for range r.count(5) {
		part := r.part()
		if p.layout == nil {
			r.bad("pool %q has blocks", p.cfg.Name)
		}
		if r.err != nil {
			return
		}
		x, n, err := p.layout.RestoreAddress(part)
		switch {
		case errors.Is(err, portblock.ErrSnapshotLayout):
			r.fail(ErrSnapshotConfig, err, "Pools[%d].Blocks must be those of the saved engine, and Seed", i)
			return
		case err != nil || n != len(part) || uint64(x.Index()) >= places || p.addresses[x.Index()] != nil:
			r.fail(ErrSnapshot, err, "an address of pool %q", p.cfg.Name)
			return
		}
		p.adopt(x)
	}
	slices.SortStableFunc(p.cooling, func(a, b cooling) int { return a.free.Compare(b.free) })
}

// adopt enters a restored address.
func (p *pool) adopt(a *portblock.Address) {
	if set := p.reservedAt(a.Index() / uint32(p.selection.classes())); set != nil {
		_, _ = a.SetReserved(set, nil, p.now) // of this layout: cannot fail
	}
	p.addresses[a.Index()] = a
	for b := range a.Blocks(p.now) {
		if b.State == portblock.Cooling {
			n := p.unitsOf(b.Block)
			p.resting += n
			p.cooling = append(p.cooling, cooling{a.Index(), int32(n), b.Until})
		}
	}
}

// shard reads a shard.
func (r *reader) shard(s *shard) {
	s.rnd = rand.NewChaCha8(r.secret())
	s.now = r.time()
	cursor, phase := r.i(), time.Duration(r.u(tickPhase))*time.Millisecond
	var key [24]byte
	secret := r.secret()
	copy(key[:], secret[:])
	if r.err != nil {
		return
	}
	s.table = r.e.newTable(key, s.now.Add(-phase))
	s.advance(s.now)
	next := uint32(r.u(most32))
	var spare []uint32
	free := map[uint32]bool{}
	for range r.count(1) {
		n := uint32(r.u(most32))
		spare, free[n] = append(spare, n), true
		if n >= next {
			r.bad("a number of a subscriber is out of range")
		}
	}
	n := r.count(8)
	if r.err == nil && (len(free) != len(spare) || uint64(len(spare))+uint64(n) != uint64(next) || cursor < 0 || cursor > int64(next)) {
		r.bad("the numbers of subscribers do not add up")
	}
	if r.err != nil {
		return
	}
	s.list.reserve(next, spare)
	s.cursor = int(cursor)
	for range n {
		if r.err == nil {
			r.subscriber(s, free)
		}
	}
	r.accounts(s)
	r.releases(s)
	r.mappings(s)
	r.sessions(s)
	for sub := range s.list.all() {
		if r.err == nil {
			r.whole(s, sub)
		}
	}
}

// subscriber reads a subscriber and its blocks.
func (r *reader) subscriber(s *shard, taken map[uint32]bool) {
	e := r.e
	sub := &subscriber{index: uint32(r.u(most32)), key: r.key(), external: uint32(r.u(most32))}
	sub.lease = alloc.LeaseFromBytes([16]byte(r.bytes(16)))
	sub.high = r.u(1) == 1
	sub.others = int(r.i())
	if r.err != nil {
		return
	}
	p := e.pools[sub.key.pool]
	pool, position, own := e.external.find(sub.external)
	switch {
	case sub.index >= s.list.next || taken[sub.index] || s.subs[sub.key] != nil || e.shardOf(sub.key.realm, sub.key.addr) != s,
		!own || pool != int(sub.key.pool), sub.others < 0,
		p.cfg.Map == nil && !p.alloc.Holds(sub.lease), sub.lease.IsValid() && (!p.alloc.Holds(sub.lease) || sub.lease.Position() != position):
		r.bad("subscriber %v contradicts the rest", mapping.Addr4(sub.key.addr))
		return
	}
	taken[sub.index] = true
	if p.cfg.Map != nil {
		ports, err := p.cfg.Map.Forward(mapping.Addr4(sub.key.addr))
		if err != nil || mapping.Number4(ports.External()) != sub.external {
			r.fail(ErrSnapshot, err, "subscriber %v is not the map's", mapping.Addr4(sub.key.addr))
			return
		}
		sub.fixed = &fixedPorts{ports: ports}
		if ports.Len() > 0 {
			sub.fixed.id = s.table.AddBlock(mapping.Block{
				Realm: sub.key.realm, Internal: sub.key.addr, External: sub.external, Owner: sub.index, Ports: uint32(ports.Len()),
			})
		}
	}
	e.subscribers.Add(1)
	s.list.put(sub)
	s.subs[sub.key] = sub
	sub.account = e.account(s, sub.key)
	sub.account.subscribers++
	if p.layout != nil {
		r.holding(s, p, sub, position)
	}
}

// holding reads the blocks of a subscriber.
func (r *reader) holding(s *shard, p *pool, sub *subscriber, position uint32) {
	part := r.part()
	if r.err != nil {
		return
	}
	h, n, err := p.layout.RestoreHolding(part)
	if err != nil || n != len(part) {
		r.fail(ErrSnapshot, err, "blocks of subscriber %v", mapping.Addr4(sub.key.addr))
		return
	}
	sub.holding = *h // the original is gone with this function
	place := p.place(position, sub.key.class)
	if set := p.reservedAt(position); set != nil {
		_, _ = sub.holding.SetReserved(place, set, nil, s.now)
	}
	for b := range sub.holding.All(s.now) {
		if b.Block.Address() != place || p.addresses[place] == nil || !p.addresses[place].Holds(b.Block) || !r.own(s, p, sub, b.Block) {
			r.bad("subscriber %v holds a block that is not its own", mapping.Addr4(sub.key.addr))
			return
		}
	}
	for range r.count(3) {
		address, number, age := uint32(r.u(most32)), int(r.u(most16)), r.u(uint64(mapping.MaxIdle.Milliseconds()))
		i := slices.IndexFunc(sub.blocks, func(b heldBlock) bool { return b.block.Address() == address && b.block.Number() == number })
		if r.err == nil && i < 0 {
			r.bad("a block of subscriber %v is not held", mapping.Addr4(sub.key.addr))
		}
		if r.err != nil {
			return
		}
		s.table.RestoreLastPacket(sub.blocks[i].id, s.tick-mapping.Tick(age))
	}
}

// own gives a block to its subscriber, and reports whether nobody else has it.
func (r *reader) own(s *shard, p *pool, sub *subscriber, b portblock.Block) bool {
	p.prepareOwner(b)
	if p.owner(b.Address(), b.Number()) != 0 {
		return false
	}
	id := s.table.AddBlock(mapping.Block{
		Realm: sub.key.realm, Internal: sub.key.addr, External: sub.external, Class: sub.key.class,
		Number: uint16(b.Number()), Owner: sub.index, Ports: uint32(p.layout.PortsOf(b)),
	})
	sub.blocks = append(sub.blocks, heldBlock{b, id})
	p.setOwner(b, ownerOf(s.index, id))
	p.held += p.unitsOf(b)
	sub.account.blocks++
	if a := sub.account.realm; a != nil {
		a.blocks.Add(1)
	}
	return true
}

// accounts reads what rates have used up, and the quotas that were set.
func (r *reader) accounts(s *shard) {
	for range r.count(4) {
		k := accountKey{realm: uint16(r.u(most16)), addr: uint32(r.u(most32))}
		opening, making := r.i(), r.i()
		if a := s.accounts[k]; a != nil {
			a.opening, a.mapping = bucket(opening), bucket(making)
		} else if r.err == nil {
			r.bad("an account is nobody's")
		}
	}
	for range r.count(2) {
		k := accountKey{realm: uint16(r.u(most16)), addr: uint32(r.u(most32))}
		q := &Quota{}
		for _, n := range q.numbers() {
			*n = int(r.i())
		}
		var f faults
		if q.complete(&f, "Quota", true); r.err == nil && (len(f) > 0 || r.e.shardOf(k.realm, k.addr) != s) {
			r.fail(ErrSnapshot, errors.Join(f...), "a quota")
		}
		s.overrides[k] = q
		if a := s.accounts[k]; a != nil && r.err == nil {
			a.quota = q
		}
	}
}

// releases reads the blocks whose release is not recorded yet.
func (r *reader) releases(s *shard) {
	for range r.count(9) {
		v := release{key: r.key(), external: uint32(r.u(most32))}
		place, first := uint32(r.u(most32)), uint16(r.u(most16))
		v.used, v.why = int(r.u(most16)), logging.Reason(r.u(most8))
		if r.err != nil {
			return
		}
		p := r.e.pools[v.key.pool]
		a := p.addresses[place]
		if a == nil || !v.why.Valid() {
			r.bad("a block that waits for its release is of no address")
			return
		}
		o := a.Owner(first, p.now)
		if v.block = o.Block; o.State != portblock.Heating || p.owner(place, o.Block.Number()) != 0 ||
			slices.ContainsFunc(s.pending, func(x release) bool { return x.block == v.block }) {
			r.bad("a block that waits for its release is not held")
			return
		}
		p.held += p.unitsOf(v.block)
		s.pending = append(s.pending, v)
	}
	s.waiting.Store(int64(len(s.pending)))
}

// mappings reads the mappings of a shard.
func (r *reader) mappings(s *shard) {
	for range r.count(7) {
		sub := r.numbered(s)
		space, internal, scope := portblock.Space(r.u(uint64(mapping.UDPLite))), uint16(r.u(most16)), r.endpoint()
		port, left := uint16(r.u(most16)), time.Duration(r.u(uint64(mapping.MaxIdle.Milliseconds())))*time.Millisecond
		if r.err != nil {
			return
		}
		m := mapping.Mapping{
			Realm: sub.key.realm, Space: space, Internal: mapping.Endpoint{Addr: sub.key.addr, Port: internal}, Scope: scope,
			External: mapping.Endpoint{Addr: sub.external, Port: port}, At: sub.at(r.e.pools[sub.key.pool].layout, port),
		}
		if m.At.Block == 0 || !s.table.AddMapping(&m, s.tick) {
			r.bad("a mapping of %v contradicts the rest", m.Internal)
			return
		}
		if sub.fixed != nil && m.At.Block == sub.fixed.id {
			sub.fixed.use(mapping.PortsOf(space), int(m.At.Offset))
		}
		r.mapped[sub]++
		if left > 0 {
			s.table.Keep(m.Realm, space, m.Internal, scope, left, s.tick)
		}
		sub.account.ports[mapping.PortsOf(space)]++
		if a := sub.account.realm; a != nil {
			a.ports[mapping.PortsOf(space)].Add(1)
		}
		s.uses[sub.key.pool].mappings++
	}
}

// numbered reads the number of a subscriber.
func (r *reader) numbered(s *shard) *subscriber {
	n := uint32(r.u(most32))
	if r.err == nil && (n >= s.list.next || s.list.at(n) == nil) {
		r.bad("a subscriber has no such number")
	}
	if r.err != nil {
		return nil
	}
	return s.list.at(n)
}

// sessions reads the sessions of a shard.
func (r *reader) sessions(s *shard) {
	for range r.count(14) {
		sub := r.numbered(s)
		space, internal, scope, remote := portblock.Space(r.u(uint64(mapping.UDPLite))), uint16(r.u(most16)), r.endpoint(), r.endpoint()
		v := mapping.SavedSession{Scope: scope}
		port := uint16(r.u(most16))
		v.State, _ = uint8(r.u(most8)), r.u(mapping.IdleClasses-1) // the class follows from Timeouts
		out, in := r.u(uint64(mapping.MaxIdle.Milliseconds())), r.u(uint64(mapping.MaxIdle.Milliseconds()))
		v.Sent, v.Heard = uint32(r.u(most32)), uint32(r.u(most32))
		if r.err != nil {
			return
		}
		p := r.e.pools[sub.key.pool]
		wantScope, class := p.scope(remote)
		v.Session = mapping.Session{
			Realm: sub.key.realm, Space: space, Internal: mapping.Endpoint{Addr: sub.key.addr, Port: internal},
			External: mapping.Endpoint{Addr: sub.external, Port: port}, Remote: remote, Idle: r.e.timeouts.Load().class(space, remote),
		}
		v.Out, v.In = s.tick-mapping.Tick(out), s.tick-mapping.Tick(in)
		at := sub.at(p.layout, port)
		if at.Block == 0 || wantScope != scope || class != sub.key.class {
			r.bad("a session of %v is of no block", v.Internal)
			return
		}
		seen := s.table.LastPacket(at.Block)
		if !s.table.RestoreSession(&v, s.tick) {
			r.bad("a session of %v contradicts the rest", v.Internal)
			return
		}
		s.table.RestoreLastPacket(at.Block, seen)
		if p.cfg.Filtering == AddressDependent {
			s.table.Permit(space, v.External, remote.Addr, class)
		}
		sub.sessions++
		s.uses[sub.key.pool].sessions++
		r.e.sessions.Add(1)
		sub.account.sessions[mapping.PortsOf(space)]++
		if a := sub.account.realm; a != nil {
			a.sessions[mapping.PortsOf(space)].Add(1)
		}
	}
}

// whole checks that the live ports of a subscriber and its mappings are one to one.
func (r *reader) whole(s *shard, sub *subscriber) {
	layout, ports := r.e.pools[sub.key.pool].layout, 0
	for sp := range portblock.Space(portblock.NumSpaces) {
		if sub.fixed != nil {
			ports += sub.fixed.live[sp]
		}
		if layout == nil {
			continue
		}
		for port := range sub.holding.Live(sp) {
			ports++
			at := sub.at(layout, port.Number)
			_, _, ok := s.table.Holder(at, sp)
			if !ok && sp == portblock.UDP {
				_, _, ok = s.table.Holder(at, mapping.UDPLite)
			}
			if !ok {
				r.bad("a port of %v has no mapping", mapping.Addr4(sub.key.addr))
				return
			}
		}
	}
	if ports != r.mapped[sub] {
		r.bad("%v has %d mappings on %d ports", mapping.Addr4(sub.key.addr), r.mapped[sub], ports)
	}
}

// portless reads the sessions of protocols without ports: they have ended, and their records are due.
func (r *reader) portless() {
	st := &r.e.statics
	counts := map[*subscriber]int{}
	for range r.count(8) {
		h := mapping.Header{Src: uint32(r.u(most32)), Dst: uint32(r.u(most32)), Proto: uint8(r.u(most8)), External: true}
		o := &other{key: r.key(), since: logging.Millis(r.i())}
		if r.err != nil {
			return
		}
		sub := r.e.shardOf(o.key.realm, o.key.addr).subs[o.key]
		if sub == nil || st.others.sessions[h] != nil {
			r.bad("a session without ports is nobody's")
			return
		}
		counts[sub]++
		st.others.sessions[h] = o
		st.others.ending = append(st.others.ending, h)
	}
	for _, s := range r.e.shards {
		for sub := range s.list.all() {
			if r.err == nil && sub.others != counts[sub] {
				r.bad("%v has %d sessions without ports and counts %d", mapping.Addr4(sub.key.addr), counts[sub], sub.others)
			}
		}
	}
}

// recordRestart records again what is held, and ends what does not go on.
func (e *Engine) recordRestart(now time.Time) {
	e.finishPortless(now)
	for _, s := range e.shards {
		for sub := range s.list.all() {
			p := e.pools[sub.key.pool]
			for b := range sub.holding.All(s.now) {
				since, at := p.times(b.Block, now)
				r := e.record(logging.BlockInterim, sub.key, sub.external, b.Block, sub.holding.Blocks(), at)
				r.Reason, r.Allocated = logging.ReasonRestart, logging.MillisOf(since)
				if e.cfg.Log.Append(&r) != nil {
					s.counts.recordsRefused++
				}
			}
		}
	}
}
