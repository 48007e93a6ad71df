package main

import (
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/blocknat/blocknat/examples/ipfwnat/internal/proof"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
)

// A report holds what is printed.
type report struct {
	o      options
	scheme *scheme

	Flows   int
	Refused []line
	Packets [2]int
	Moved   int
	// Strangers counts packets that nobody asked for: delivered, dropped.
	Strangers [2]int
	Last      int32 // ms, the end of the run
	Stats     natcore.Stats
	Reuse     proof.Reuse
	Blocks    int // of one port space of one address

	BlockRecords, BlockBytes, SessionRecords, SessionBytes uint64

	Lookups    lookups
	LookupsErr error
	PerPacket  time.Duration
	Wall       time.Duration
	HeapBytes  uint64
	Checks     []proof.Check
}

// A line is something that was counted.
type line struct {
	Name  string
	Count int
}

// report ends the run: it takes the counts, and has the proof end.
func (p *player) report(o options, log logging.WriterStats) *report {
	r := &report{o: o, scheme: p.scheme, Flows: p.proof.Flows(), Packets: p.packets, Strangers: p.strangers, Moved: len(p.retired), Last: p.ms, Stats: p.engine.Stats()}
	for why, n := range p.refused {
		r.Refused = append(r.Refused, line{why.String(), n})
	}
	slices.SortFunc(r.Refused, func(a, b line) int { return b.Count - a.Count })
	r.BlockRecords, r.BlockBytes = log.Records, log.Bytes
	r.SessionRecords, r.SessionBytes = p.sessions.total()
	pool := r.Stats.Pools[0]
	if spaces := uint64(len(p.scheme.addresses) * p.scheme.remotes.Len()); spaces > 0 {
		r.Blocks = int((pool.BlocksFree + pool.BlocksHeating + pool.BlocksCooling) / spaces)
	}
	if timed := p.calls / p.sharpness; timed > 0 {
		r.PerPacket = p.inEngine / time.Duration(timed)
	}
	r.Checks = slices.Clone(p.proof.Checks())
	r.Checks = append(r.Checks, proof.Check{Name: "flowmask's natout and natin agree with the engine about each flow", Cases: p.agreed[0], Violations: p.agreed[1]})
	r.Reuse = p.proof.Reuse(p.ms, o.block)
	return r
}

// measure compares look-ups and weighs the heap.
func (r *report) measure(p *player) {
	var flows []flowmask.Flow
	for i := 0; i < len(p.flows) && len(flows) < 1<<14; i += max(1, len(p.flows)>>14) {
		f := &p.flows[i]
		s := &p.world.services[f.service]
		flows = append(flows, flowmask.NewFlow(0, s.proto, netip.AddrPortFrom(addr4(f.client), f.port), netip.AddrPortFrom(addr4(s.addr), s.port)))
	}
	r.Lookups, r.LookupsErr = measureLookups(p.scheme, p.world.internal, flows)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.HeapBytes = m.Sys
}

func (r *report) violations() int {
	n := 0
	for _, c := range r.Checks {
		n += c.Violations
	}
	return n
}
