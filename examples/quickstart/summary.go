package main

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/blocknat/blocknat/examples/quickstart/internal/proof"
	"github.com/blocknat/blocknat/natcore"
)

// A summary is what a report tells. It holds numbers and names only, so that a
// report can be written without a run.
type summary struct {
	Capture         string
	Notes           []string
	Seed            string
	Pool, Internal  string
	Block           int
	Packets, Cut    int
	Bytes, Captured int64
	NoIP            []line // frames without IP, by name
	Span            time.Duration

	Outbound, Inbound, Hairpin, Bypassed int
	Held, HeldSent, Answers              int
	Errors, Fragments                    int // among the translated ones
	Drops, Unplayed                      []line
	Mappings                             int
	Refusals                             []line

	Subscribers            int // seen in the capture
	End, Rest              state
	RestAfter              time.Duration
	Peaks                  []int
	BlockRecords           uint64
	BlockBytes             uint64
	Sessions, SessionBytes uint64 // records of session logging

	PerPacket, InCalls, InExpire time.Duration
	Calls, ExpireCalls           int
	Files                        []line
	Checks                       []proof.Check
}

// A line is a name with a number.
type line struct {
	Name  string
	Count int
}

// state is what the engine holds at one time.
type state struct {
	Subscribers, Sessions, SessionsMade      uint64
	Mappings, MappingsMade                   uint64
	BlocksFree, BlocksHeating, BlocksCooling uint64
	BlocksAllocated, BlocksReleased          uint64
	Addresses, AddressesInUse                uint64
	RecordsRefused                           uint64
}

func stateOf(s natcore.Stats) state {
	t := state{
		Subscribers: s.Subscribers, Sessions: s.Sessions, SessionsMade: s.SessionsCreated,
		Mappings: s.Mappings, MappingsMade: s.MappingsCreated,
		BlocksAllocated: s.BlocksAllocated, BlocksReleased: s.BlocksReleased, RecordsRefused: s.RecordsRefused,
	}
	for _, p := range s.Pools {
		t.BlocksFree += p.BlocksFree
		t.BlocksHeating += p.BlocksHeating
		t.BlocksCooling += p.BlocksCooling
		t.Addresses += p.Addresses
		t.AddressesInUse += p.AddressesInUse
	}
	return t
}

// take fills in what the player counted.
func (s *summary) take(p *player) {
	t := &p.tally
	s.Packets, s.Cut, s.Bytes, s.Captured = t.packets, t.cut, t.bytes, t.captured
	s.Span = t.last.Sub(t.first)
	s.Outbound, s.Inbound, s.Hairpin = t.played[proof.Outbound], t.played[proof.Inbound], t.played[proof.Hairpin]
	s.Errors, s.Fragments = t.errors, t.fragments
	s.Bypassed, s.Held, s.HeldSent, s.Answers = t.bypassed, t.held, t.heldSent, t.answers
	drops := map[string]int{}
	for reason, n := range t.drops {
		drops[reason.String()] += n
	}
	s.Drops, s.Unplayed, s.Refusals = sorted(drops), sorted(t.unplayed), sorted(t.refusals)
	s.Mappings = t.mappings
	s.Subscribers = len(t.subscribers)
	s.Peaks = slices.Sorted(maps.Values(p.peaks))
	s.Sessions, s.SessionBytes = p.sessions.size(s.End.SessionsMade)
	s.PerPacket, s.InCalls, s.Calls = p.clock.perPacket(), p.clock.inCalls, p.clock.calls
	s.InExpire, s.ExpireCalls = p.clock.inIdleCalls, p.clock.idleCalls
}

// sorted lists a map, the most frequent first.
func sorted(m map[string]int) []line {
	var ls []line
	for name, n := range m {
		ls = append(ls, line{name, n})
	}
	slices.SortFunc(ls, func(a, b line) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Name, b.Name)) })
	return ls
}

func total(ls []line) int {
	n := 0
	for _, l := range ls {
		n += l.Count
	}
	return n
}

// exitCode is the program's.
func (s *summary) exitCode() int {
	if s.violations() > 0 {
		return exitViolated
	}
	return exitProven
}

func (s *summary) violations() int {
	n := 0
	for _, c := range s.Checks {
		n += c.Violations
	}
	return n
}
