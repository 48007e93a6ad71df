package main

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/blocknat/blocknat/benchmarks/peer"
)

// plan is how much is measured.
type plan struct {
	flows         []int         // of the established packets
	slice         time.Duration // a peer's turn
	lives         []life        // sessions of a life
	crowd         int           // sessions under the collector; 0 leaves that out
	growth        int           // sessions that a table grows to
	traffic       int           // packets of a mixed workload
	shared        int           // flows of the concurrent callers
	pairs         int           // flows of the establishment rate
	rates         int           // repetitions of the establishment rate (RFC 9693 section 6 has 10)
	kernelPackets int           // through the kernel in a turn
}

// life is a number of sessions and how many rounds at most measure it: large ones take long and vary little.
type life struct{ flows, rounds int }

var (
	full = plan{
		flows: []int{1, 10_000, 1_000_000, 10_000_000}, slice: 60 * time.Millisecond,
		lives: []life{{1 << 10, 9}, {1 << 16, 9}, {1 << 20, 3}, {1 << 22, 2}}, crowd: 1 << 24, growth: 1 << 22,
		traffic: 50_000, shared: 1 << 20, pairs: 40_000, rates: 10, kernelPackets: 200_000,
	}
	tiny = plan{
		flows: []int{1, 1000}, slice: 2 * time.Millisecond,
		lives: []life{{1000, 1}}, crowd: 2048, growth: 8192,
		traffic: 2000, shared: 2048, pairs: 1000, rates: 1, kernelPackets: 2000,
	}
)

// suite runs a plan and fills a report.
type suite struct {
	plan
	kinds    []peer.Kind
	rounds   int
	seed     uint64
	kernel   bool
	progress io.Writer
	began    time.Time
	within   time.Duration            // how long all of it may take, about
	took     map[string]time.Duration // a life of the most sessions, by peer
	report   *report
}

// late reports whether more than a share of the time is over: then large parts are repeated less.
func (s *suite) late(share float64) bool {
	return time.Since(s.began).Seconds() > share*s.within.Seconds()
}

func (s *suite) run() error {
	parts := []func() error{s.established, s.livesOf, s.growths, s.ports, s.mixes, s.callers, s.establishmentRate, s.crowds}
	if s.kernel {
		parts = append(parts, s.throughKernel)
	}
	for _, part := range parts {
		if err := part(); err != nil {
			return err
		}
		runtime.GC()
	}
	return nil
}

// turns calls f for each peer of the suite that serves the flows, starting with another one in each round.
func (s *suite) turns(round, flows int, f func(i int, k peer.Kind) error) error {
	return turns(s.kinds, round, flows, f)
}

func turns(kinds []peer.Kind, round, flows int, f func(i int, k peer.Kind) error) error {
	for i := range kinds {
		at := (i + round) % len(kinds)
		if k := kinds[at]; flows <= k.Flows {
			if err := f(at, k); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *suite) say(format string, args ...any) {
	fmt.Fprintf(s.progress, "%5.0fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}
