package main

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/blocknat/blocknat/portblock"
)

// A move is a block that a subscriber takes or releases. Slots number the blocks that it holds.
type move struct {
	at         int64
	subscriber uint32
	slot       uint8
	take       bool
}

// bin is the resolution of the counts of ports in use, in ms.
const bin = 10_000

// totals is what a run counts. Records and refusals count from run.From on.
type totals struct {
	from, begin int64
	// Created and Deleted are the records of per-session logging where nothing is refused.
	Created, Deleted uint64
	// Refused connections, Allocated and Released blocks, by block size.
	Refused, Allocated, Released []uint64
	// Moves are all moves of blocks by block size, those before From too.
	Moves [][]move
	// busy and resting are the changes of the number of ports in use, and of those that are in use or rest, by space and bin.
	busy, resting [portblock.NumSpaces][]int32
	rest          int64
	sessions      []sampledSession
	dense         []sampledSession
	blocks        [][]sampledBlock
}

func newTotals(r *run) *totals {
	n := len(r.Sizes)
	t := &totals{
		from: r.From, begin: r.Begin, rest: max(0, r.HoldDown.Milliseconds()), Refused: make([]uint64, n), Allocated: make([]uint64, n), Released: make([]uint64, n),
		Moves: make([][]move, n), blocks: make([][]sampledBlock, n),
	}
	for s := range t.busy {
		bins := (r.To-r.Begin)/bin + 2
		t.busy[s], t.resting[s] = make([]int32, bins), make([]int32, bins)
	}
	return t
}

func (t *totals) started(space portblock.Space, at, hold int64) {
	if at >= t.from {
		t.Created++
	}
	change := func(bins []int32, from, to int64) {
		bins[min((from-t.begin)/bin, int64(len(bins)-1))]++
		bins[min((to-t.begin)/bin, int64(len(bins)-1))]--
	}
	change(t.busy[space], at, at+hold)
	change(t.resting[space], at, at+hold+t.rest)
}

func (t *totals) ended(at int64) {
	if at >= t.from {
		t.Deleted++
	}
}

func (t *totals) refused(i int, at int64) {
	if at >= t.from {
		t.Refused[i]++
	}
}

func (t *totals) block(r *run, i int, m move) {
	t.Moves[i] = append(t.Moves[i], m)
	switch {
	case m.at < r.From:
	case m.take:
		t.Allocated[i]++
	default:
		t.Released[i]++
	}
}

// add merges another worker's totals.
func (t *totals) add(o *totals) {
	t.Created += o.Created
	t.Deleted += o.Deleted
	for i := range t.Refused {
		t.Refused[i] += o.Refused[i]
		t.Allocated[i] += o.Allocated[i]
		t.Released[i] += o.Released[i]
		t.Moves[i] = append(t.Moves[i], o.Moves[i]...)
		t.blocks[i] = append(t.blocks[i], o.blocks[i]...)
	}
	for s := range t.busy {
		for i := range t.busy[s] {
			t.busy[s][i] += o.busy[s][i]
			t.resting[s][i] += o.resting[s][i]
		}
	}
	t.sessions = append(t.sessions, o.sessions...)
	t.dense = append(t.dense, o.dense...)
}

// levels turns changes into the number of ports at the end of each bin.
func levels(changes []int32) []int64 {
	n := make([]int64, len(changes))
	sum := int64(0)
	for i, c := range changes {
		sum += int64(c)
		n[i] = sum
	}
	return n
}

// meanBusy is the mean number of ports in use in a space between two times.
func (t *totals) meanBusy(s portblock.Space, from, to int64) float64 {
	sum, n := 0.0, 0
	for i, v := range levels(t.busy[s]) {
		if at := t.begin + int64(i)*bin; at >= from && at < to {
			sum += float64(v)
			n++
		}
	}
	return sum / float64(max(n, 1))
}

// peakResting is the most ports of one space that are in use or rest at a time.
func (t *totals) peakResting() int64 {
	peak := int64(0)
	for s := range t.resting {
		peak = max(peak, slices.Max(levels(t.resting[s])))
	}
	return peak
}

// simulate plays all subscribers on all cores. The outcome does not depend on their number.
func (r *run) simulate(progress func(done int)) (*totals, error) {
	workers := runtime.GOMAXPROCS(0)
	parts := make([]*totals, workers)
	faults := make([]error, workers)
	var next, done atomic.Int64
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			w := newWorker(r)
			parts[i] = w.totals
			for faults[i] == nil {
				n := int(next.Add(1)) - 1
				if n >= r.Subscribers {
					return
				}
				faults[i] = w.play(n)
				progress(int(done.Add(1)))
			}
		})
	}
	all.Wait()
	for _, err := range faults {
		if err != nil {
			return nil, err
		}
	}
	for _, p := range parts[1:] {
		parts[0].add(p)
	}
	parts[0].sort()
	return parts[0], nil
}
