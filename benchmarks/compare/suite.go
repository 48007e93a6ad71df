package main

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/blocknat/blocknat/benchmarks/measure"
	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// plan is how much is measured.
type plan struct {
	flows   []int         // of the established packets
	slice   time.Duration // a peer's turn
	lives   []int         // sessions of a life
	traffic int           // packets of a mixed workload
	shared  int           // flows of the concurrent callers
	pairs   int           // flows of the establishment rate
	rates   int           // repetitions of the establishment rate (RFC 9693 section 6 has 10)
}

var (
	full = plan{
		flows: []int{1, 10_000, 1_000_000}, slice: 60 * time.Millisecond,
		lives: []int{10_000, 1 << 16, 1 << 20}, traffic: 50_000, shared: 1 << 16, pairs: 40_000, rates: 10,
	}
	tiny = plan{
		flows: []int{1, 1000}, slice: 2 * time.Millisecond,
		lives: []int{1000}, traffic: 2000, shared: 2048, pairs: 1000, rates: 1,
	}
)

// suite runs a plan and fills a report.
type suite struct {
	plan
	kinds    []peer.Kind
	rounds   int
	seed     uint64
	progress io.Writer
	report   *report
}

func (s *suite) run() error {
	for _, part := range []func() error{s.established, s.livesOf, s.mixes, s.callers, s.establishmentRate} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// turns calls f for each peer that serves the flows, starting with another one in each round.
func (s *suite) turns(round, flows int, f func(i int, k peer.Kind) error) error {
	for i := range s.kinds {
		at := (i + round) % len(s.kinds)
		if k := s.kinds[at]; flows <= k.Flows {
			if err := f(at, k); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *suite) say(format string, args ...any) {
	fmt.Fprintf(s.progress, format+"\n", args...)
}

func (s *suite) established() error {
	for _, flows := range s.flows {
		s.say("established packets, %d flows", flows)
		if err := s.establishedAt(flows); err != nil {
			return err
		}
		runtime.GC()
	}
	return nil
}

func (s *suite) establishedAt(flows int) error {
	w := workload.Uniform(s.seed, flows)
	live := make([]*measure.Established, len(s.kinds))
	defer func() {
		for _, e := range live {
			if e != nil {
				e.NAT.Close()
			}
		}
	}()
	err := s.turns(0, flows, func(i int, k peer.Kind) (err error) {
		live[i], err = measure.Establish(k, w)
		return err
	})
	if err != nil {
		return err
	}
	for round := range s.rounds {
		for _, d := range []peer.Direction{peer.Out, peer.In} {
			for _, batch := range []int{1, 64} {
				row := s.report.row("established packet", fmt.Sprintf("flows=%d/dir=%s/batch=%d", flows, d, batch), "ns")
				err := s.turns(round, flows, func(i int, k peer.Kind) error {
					ns, err := live[i].For(d, batch, s.slice)
					row.add(k.Name, ns)
					if !k.Clock || k.Name == "gvisor" {
						runtime.GC() // its garbage is not the next one's
					}
					return err
				})
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *suite) livesOf() error {
	for _, flows := range s.lives {
		s.say("lives of %d sessions", flows)
		w := workload.Uniform(s.seed, flows)
		params := fmt.Sprintf("flows=%d", flows)
		for round := range s.rounds {
			err := s.turns(round, flows, func(_ int, k peer.Kind) error {
				l, err := measure.Live(k, w)
				if err != nil {
					return err
				}
				s.report.row("new session", params, "ns").add(k.Name, l.New)
				if k.Clock {
					s.report.row("end of a session", params, "ns").add(k.Name, l.Expire)
				}
				s.report.row("memory per session", params, "B").add(k.Name, l.Bytes)
				s.report.row("collection, all sessions", params, "us").add(k.Name, l.Collect)
				s.report.row("pause of a collection", params, "us").add(k.Name, l.Pause)
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *suite) mixes() error {
	for _, m := range measure.Mixes(s.seed, s.traffic) {
		s.say("traffic: %s", m.Name)
		for round := range s.rounds {
			err := s.turns(round, 0, func(_ int, k peer.Kind) error {
				if !m.Fits(k) {
					return nil
				}
				ns, forwarded, err := measure.Play(k, &m)
				s.report.row("traffic", "workload="+m.Name+"/batch=32", "ns").add(k.Name, ns)
				if forwarded < 1 {
					s.report.row("traffic forwarded", "workload="+m.Name+"/batch=32", "%").add(k.Name, 100*forwarded)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *suite) callers() error {
	s.say("callers at once, %d flows", s.shared)
	w := workload.Uniform(s.seed, s.shared)
	for round := range s.rounds {
		for callers := 1; callers <= 2; callers++ {
			row := s.report.row("callers, all together", fmt.Sprintf("flows=%d/dir=out/batch=64/callers=%d", s.shared, callers), "ns")
			err := s.turns(round, s.shared, func(_ int, k peer.Kind) error {
				if k.NewShared == nil {
					return nil
				}
				ns, err := measure.Together(k, w, callers, 64, s.slice)
				row.add(k.Name, ns)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *suite) establishmentRate() error {
	s.say("establishment rate, %d flows", s.pairs)
	w := workload.Pair(s.seed, s.pairs, 1)
	for round := range s.rates {
		err := s.turns(round, 40_000, func(_ int, k peer.Kind) error {
			if k.Name == "gvisor" && round >= 3 {
				return nil // a search takes it seconds
			}
			r, err := measure.EstablishmentRate(k, w)
			if err != nil {
				s.say("%v: no figure in this round", err)
				return nil
			}
			params := fmt.Sprintf("flows=%d/alpha=0.8", s.pairs)
			s.report.row("RFC 9693 establishment rate", params, "1/s").add(k.Name, r.PerSecond)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
