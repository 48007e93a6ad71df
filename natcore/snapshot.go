package natcore

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/portblock"
)

// The snapshot of an engine, version 2. Numbers are varints (signed ones zigzag) unless a width is given; lists begin with their
// length, and so do texts and the snapshots of parts. Times are Unix milliseconds, or nanoseconds where it says so.
//
//	"BNNC"       4 bytes
//	version      1 byte
//	seed         8 bytes that tell whether Config.Seed is the same, and not what it is
//	shards       number
//	clock        of the engine
//	pools        each: name, ID, mapping behaviour, masks and map as texts; with what pools remember:
//	             clock (ns), end of the hold (ns), whether it is high; the snapshot of its alloc.Pool; addresses, each the
//	             snapshot of its portblock.Address
//	realms       each: number, two token buckets (ns)
//	shards       each: clock (ns), where Expire is, the phase of its ticks, numbers of subscribers that are free, and
//	  subscribers  each: number, realm, address, pool, class, external address, lease (16 bytes), whether it is high, sessions without
//	               ports; the snapshot of its portblock.Holding; the latest packet of each block
//	  accounts     each: realm, address, two token buckets (ns)
//	  quotas       each: realm, address, the numbers of a Quota (Engine.SetQuota)
//	  releases     each: realm, address, pool, class, external address, place, first port, blocks that are left, reason
//	  mappings     each: number of the subscriber, space, internal port, scope, external port, end of an explicit lifetime or 0
//	  sessions     each: number of the subscriber, space, internal port, scope, remote endpoint, state, class of timeouts,
//	               times of the last packets out and in, and what TCP ends send next
//	  rests        since version 2, each: number of the subscriber, space, external port, remote endpoint, age: what rests of ports that mappings share
//	portless     sessions of protocols without ports, live or with an end that is not recorded: header of answers, subscriber, begin
//	identifications: begin of the engine (ns), and, behind their number in 3 bytes, the counters that are not 0, each:
//	             how many are 0 since the one before, value
//	statics      since version 2: names of static mappings and peerings, each: whether it is a peering, name; and
//	  sessions     of these and, with the number behind the last name, of protocols without ports, each: number of its name, protocol, headers of the first end's packets as they come and as they leave, note, policy, whether it is
//	               answered and has the source endpoint that its first end comes back to, age, and for TCP state and what both ends send next
//	  resting      source endpoints, each: whether they are of the external realm, realm, address, space, port, time that is left
//	  clients      each: number of the static mapping, client, server, time that is left (Static.Affinity)
//	  hosts        that are charged with any: realm, address, three token buckets (ns)
//	  realms       each: number, token bucket (ns)
//	checksum     4 bytes, big-endian: CRC-32C of everything before it
//
// Neither the seed nor the streams of random numbers are part of it: a secret does not go into a file, and a stream that is drawn
// twice can be guessed. Fragments, the counters of Stats and events that are not written yet begin anew. Version 1 had no statics, and quotas without what
// bounds inbound sessions.
const (
	snapshotMagic   = "BNNC"
	snapshotVersion = 2
	oldestSnapshot  = 1 // that Restore reads
)

// Errors of Restore.
var (
	// ErrSnapshot: the bytes are no intact snapshot of an engine.
	ErrSnapshot = errors.New("natcore: bad snapshot")
	// ErrSnapshotConfig: the snapshot is of an engine with another configuration.
	ErrSnapshotConfig = errors.New("natcore: snapshot of another configuration")
)

// SnapshotError says why a snapshot makes no engine. It wraps ErrSnapshot or ErrSnapshotConfig, and what a part says.
type SnapshotError struct {
	// Offset is the byte at which the fault was seen.
	Offset int
	// Rule says what does not hold, and what to do.
	Rule string
	// Err is ErrSnapshot or ErrSnapshotConfig, Cause what a part says, or nil.
	Err, Cause error
}

// Error implements error.
func (s *SnapshotError) Error() string {
	if s.Cause != nil {
		return fmt.Sprintf("%v at byte %d: %s: %v", s.Err, s.Offset, s.Rule, s.Cause)
	}
	return fmt.Sprintf("%v at byte %d: %s", s.Err, s.Offset, s.Rule)
}

// Unwrap returns what the error is made of.
func (s *SnapshotError) Unwrap() []error {
	if s.Cause != nil {
		return []error{s.Err, s.Cause}
	}
	return []error{s.Err}
}

// print is what tells the same seed from another one, without telling the seed.
func (c *Config) print() []byte {
	sum := sha256.Sum256(append([]byte("natcore snapshot"), c.Seed[:]...))
	return sum[:8]
}

// writer writes a snapshot.
type writer struct{ b []byte }

func (w *writer) u(v ...uint64) {
	for _, n := range v {
		w.b = binary.AppendUvarint(w.b, n)
	}
}
func (w *writer) i(v ...int64) {
	for _, n := range v {
		w.b = binary.AppendVarint(w.b, n)
	}
}
func (w *writer) text(s string) {
	w.u(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) flag(v bool) {
	if v {
		w.u(1)
	} else {
		w.u(0)
	}
}

// part writes what a part appends, behind its length.
func (w *writer) part(f func([]byte) []byte) {
	at := len(w.b)
	w.b = append(w.b, make([]byte, 4)...)
	w.b = f(w.b)
	binary.BigEndian.PutUint32(w.b[at:], uint32(len(w.b)-at-4))
}

// nanos is a time as a number; that of the zero time is 0.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// AppendSnapshot appends all that the engine has to dst: pools, blocks and their rests, subscribers, mappings with their explicit lifetimes, sessions, those of
// what is static too, quotas that were set and what rates have used up. Restore makes an engine of it. No packet is translated meanwhile; Stop before it makes sure
// that nothing comes after.
func (e *Engine) AppendSnapshot(dst []byte) []byte {
	defer e.lockAll()()
	start := len(dst)
	w := &writer{append(append(dst, snapshotMagic...), snapshotVersion)}
	w.b = append(w.b, e.cfg.print()...)
	w.u(uint64(len(e.shards)))
	w.i(e.clock.Load())
	w.u(uint64(e.poolCount.Load()))
	for _, p := range e.all() {
		p.save(w)
	}
	realms := e.quotas.Load().realms
	w.u(uint64(len(realms)))
	for _, r := range slices.Sorted(maps.Keys(realms)) {
		w.u(uint64(r))
		w.i(realms[r].opening.Load(), realms[r].mapping.Load())
	}
	for _, s := range e.shards {
		s.save(w, e)
	}
	e.statics.savePortless(w)
	e.ids.save(w)
	e.saveStatics(w)
	return binary.BigEndian.AppendUint32(w.b, crc32.Checksum(w.b[start:], crc32.MakeTable(crc32.Castagnoli)))
}

// identity is what must be the same about a pool for a snapshot to be of it.
func (p *pool) identity() []string {
	fixed := ""
	if p.cfg.Map != nil {
		b, err := deterministic.AppendRecord(nil, deterministic.Epoch{Number: 1, From: time.Unix(0, 0), Config: p.cfg.Map.Config()})
		if err != nil {
			b = []byte(err.Error())
		}
		fixed = string(b)
	}
	return []string{p.cfg.Name, fmt.Sprint(p.cfg.ID), p.cfg.Mapping.String(), p.cfg.Select.String(), p.cfg.Remotes.String(), fixed}
}

func (p *pool) save(w *writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.identity() {
		w.text(t)
	}
	w.i(nanos(p.now), nanos(p.holds))
	w.flag(p.high)
	w.part(p.alloc.AppendSnapshot)
	w.u(uint64(len(p.addresses)))
	for _, place := range slices.Sorted(maps.Keys(p.addresses)) {
		w.part(p.addresses[place].AppendSnapshot)
	}
}

func (w *writer) key(k subscriberKey) {
	w.u(uint64(k.realm), uint64(k.addr), uint64(k.pool), uint64(k.class))
}

func (w *writer) endpoint(e mapping.Endpoint) { w.u(uint64(e.Addr), uint64(e.Port)) }

// save writes a shard. The caller has locked it.
func (s *shard) save(w *writer, e *Engine) {
	w.i(nanos(s.now), int64(s.cursor))
	w.u(uint64(s.tick & tickPhase))
	w.u(uint64(s.list.next), uint64(len(s.list.spare)))
	for _, n := range s.list.spare {
		w.u(uint64(n))
	}
	w.u(uint64(s.list.len()))
	for sub := range s.list.all() {
		w.u(uint64(sub.index))
		w.key(sub.key)
		w.u(uint64(sub.external))
		lease := sub.lease.Bytes()
		w.b = append(w.b, lease[:]...)
		w.flag(sub.high)
		w.i(int64(sub.others))
		if e.pools[sub.key.pool].layout == nil {
			continue
		}
		s.tell(sub) // and so is the restored one's told, in the same period
		w.part(sub.holding.AppendSnapshot)
		w.u(uint64(len(sub.blocks())))
		for _, b := range sub.blocks() {
			w.u(uint64(b.block.Address()), uint64(b.block.Number()), s.age(s.table.LastPacket(b.id)))
		}
	}
	var accounts []accountKey // those of hosts that have nothing but what is static are not theirs
	for a := range s.accounts.all() {
		if a.subscribers > 0 {
			accounts = append(accounts, a.key())
		}
	}
	slices.SortFunc(accounts, compareAccounts)
	w.u(uint64(len(accounts)))
	for _, k := range accounts {
		w.u(uint64(k.realm), uint64(k.addr))
		a := s.account(k)
		w.i(int64(a.opening), int64(a.mapping))
	}
	w.u(uint64(len(s.overrides)))
	for _, k := range slices.SortedFunc(maps.Keys(s.overrides), compareAccounts) {
		w.u(uint64(k.realm), uint64(k.addr))
		for _, n := range s.overrides[k].numbers(snapshotVersion) {
			w.i(int64(*n))
		}
	}
	w.u(uint64(len(s.pending)))
	for _, r := range s.pending {
		w.key(r.key)
		set := e.pools[r.key.pool].layout.SetOf(r.block)
		w.u(uint64(r.external), uint64(r.block.Address()), uint64(set.First()), uint64(r.used), uint64(r.why))
	}
	s.saveTable(w)
	s.saveRests(w, e)
}

// tickPhase is what a table rounds times by: a restored one rounds them the same way.
const tickPhase = 1<<22 - 1

// age is how long ago a tick is, in milliseconds: never more than what counts as for ever.
func (s *shard) age(t mapping.Tick) uint64 {
	return uint64(min(max(int64(int32(s.tick-t)), 0), mapping.MaxIdle.Milliseconds()))
}

func (s *shard) saveTable(w *writer) {
	var mappings []mapping.SavedMapping
	w.u(uint64(s.table.Mappings()))
	for part := 0; part >= 0; {
		mappings, part = s.table.AppendSavedMappings(mappings[:0], part)
		for i := range mappings {
			m := &mappings[i]
			b, _ := s.table.Block(m.Block)
			left := int64(0)
			if m.Explicit {
				left = max(int64(int32(m.Until-s.tick)), 0)
			}
			w.u(uint64(b.Owner), uint64(m.Space), uint64(m.Internal.Port))
			w.endpoint(m.Scope.Remote)
			w.u(uint64(m.External.Port), uint64(left))
		}
	}
	var sessions []mapping.SavedSession
	w.u(uint64(s.table.Sessions()))
	for part := 0; part >= 0; {
		sessions, part = s.table.AppendSavedSessions(sessions[:0], part)
		for i := range sessions {
			v := &sessions[i]
			b, _ := s.table.Block(v.Block)
			w.u(uint64(b.Owner), uint64(v.Space), uint64(v.Internal.Port))
			w.endpoint(v.Scope.Remote)
			w.endpoint(v.Remote)
			w.u(uint64(v.External.Port), uint64(v.State), uint64(v.Idle), s.age(v.Out), s.age(v.In), uint64(v.Sent), uint64(v.Heard))
		}
	}
}

func compareAccounts(a, b accountKey) int {
	return cmp.Compare(uint64(a.realm)<<32|uint64(a.addr), uint64(b.realm)<<32|uint64(b.addr))
}

// numbers are all numbers of a quota, in the order in which snapshots of a version have them.
func (q *Quota) numbers(version byte) []*int {
	all := []*int{
		&q.Ports, &q.Blocks, &q.Sessions, &q.SessionRate.PerSecond, &q.SessionRate.Burst, &q.MappingRate.PerSecond, &q.MappingRate.Burst,
		&q.ReservePorts, &q.ReserveSessions,
	}
	for sp := range portblock.NumSpaces {
		all = append(all, &q.Protocols[sp].Ports, &q.Protocols[sp].Sessions)
	}
	if version >= 2 {
		all = append(all, &q.InboundSessions, &q.InboundRate.PerSecond, &q.InboundRate.Burst)
	}
	return all
}

func (st *statics) savePortless(w *writer) {
	st.mu.Lock()
	defer st.mu.Unlock()
	w.u(uint64(len(st.others.sessions)))
	for h, o := range st.others.sessions {
		w.u(uint64(h.Src), uint64(h.Dst), uint64(h.Proto))
		w.key(o.key)
		w.i(int64(o.since))
	}
}
