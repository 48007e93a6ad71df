package main

import (
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/blocknat/blocknat/benchmarks/measure"
	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

func (s *suite) livesOf() error {
	for _, l := range s.lives {
		s.say("lives of %d sessions", l.flows)
		w := workload.Uniform(s.seed, l.flows)
		params := fmt.Sprintf("flows=%d", l.flows)
		for round := range min(s.rounds, l.rounds) {
			if round > 0 && s.late(0.5) {
				break
			}
			err := s.turns(round, l.flows, func(_ int, k peer.Kind) error {
				start := time.Now()
				one, err := measure.Live(k, w)
				if err != nil {
					return err
				}
				s.took[k.Name] = time.Since(start)
				s.report.row(rowNew, params, "ns").add(k.Name, one.New)
				many, err := measure.Begin(k, w, batches[1])
				if err != nil {
					return err
				}
				s.report.row(rowNewBatch, params, "ns").add(k.Name, many)
				if k.Clock {
					s.report.row(rowEnd, params, "ns").add(k.Name, one.Expire)
					s.report.row("look at a session that does not end", params, "ns").add(k.Name, one.Look)
				}
				s.report.row(rowMemory, params, "B").add(k.Name, one.Bytes)
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// growths times single calls while a table grows. The peer that does nothing shows what the machine itself takes away.
// A repeatable peer has several rounds, and the least of them call by call; the others have one.
func (s *suite) growths() error {
	s.say("growth to %d sessions", s.growth)
	w := workload.Uniform(s.seed, s.growth)
	params := fmt.Sprintf("to=%d", s.growth)
	kinds := append([]peer.Kind{peer.None}, s.kinds...)
	least, grown := map[string]measure.Growth{}, map[string]int{}
	for round := range min(3, s.rounds) {
		if round > 0 && s.late(0.7) {
			break
		}
		for i := range kinds {
			k := kinds[(i+round)%len(kinds)]
			if k.Flows < s.growth || round > 0 && !k.Repeatable {
				continue
			}
			g, err := measure.Grow(k, w)
			if err != nil {
				return err
			}
			s.report.row("longest call while growing", params, "us").add(k.Name, g.Longest())
			s.report.row("one call in 10,000 while growing", params, "us").add(k.Name, g.Rare())
			s.report.row("calls above 100 us while growing", params, "").add(k.Name, float64(g.Over()))
			if k.Repeatable {
				least[k.Name] = least[k.Name].Least(g)
				grown[k.Name]++
			}
			runtime.GC()
		}
	}
	for _, k := range kinds {
		// One round alone tells nothing of what recurs, but in a test of the command.
		if g, ok := least[k.Name]; ok && (grown[k.Name] > 1 || s.report.Short) {
			s.report.row(rowGrowth, params, "us").add(k.Name, g.Longest())
		}
	}
	return nil
}

// crowds measures the garbage collector with very many sessions there. A peer for which the memory or the time does not suffice is left out.
func (s *suite) crowds() error {
	if s.crowd == 0 {
		return nil
	}
	s.say("collections with %d sessions", s.crowd)
	params := fmt.Sprintf("flows=%d", s.crowd)
	w := workload.Uniform(s.seed, s.crowd)
	return s.turns(0, s.crowd, func(_ int, k peer.Kind) error {
		each, _ := s.report.last(rowMemory, k.Name)
		// Twice the heap, for the collector's headroom, and the flows themselves, twice.
		need := float64(s.crowd) * (2*each + 64)
		if have := availableMemory("/proc/meminfo"); have > 0 && need > 0.9*have {
			s.report.note("%s was not measured with %d sessions: it needs about %.0f GB and %.0f are there.", k.Name, s.crowd, math.Ceil(need/1e9), have/1e9)
			return nil
		}
		// A life takes longer than in proportion to its sessions, as less of it is in the caches.
		share := 1.5 * float64(s.crowd) / float64(s.lives[len(s.lives)-1].flows)
		if end := time.Since(s.began) + time.Duration(share*float64(s.took[k.Name])); end > s.within {
			s.report.note("%s was not measured with %d sessions: the run would have taken %v, and was to take %v.", k.Name, s.crowd, end.Round(time.Second), s.within)
			return nil
		}
		l, err := measure.Live(k, w)
		if err != nil {
			return err
		}
		s.report.row(rowMemory, params, "B").add(k.Name, l.Bytes)
		s.report.row(rowCollector, params+"/what=cpu", "ms").add(k.Name, l.Collect.CPU)
		s.report.row(rowCollector, params+"/what=duration", "ms").add(k.Name, l.Collect.Wall)
		s.report.row(rowCollector, params+"/what=pause", "ms").add(k.Name, l.Collect.Pause/1000)
		runtime.GC()
		return nil
	})
}

// ports opens sessions when hardly a port is left.
func (s *suite) ports() error {
	s.say("ports at 99 %%")
	w := workload.Ports(s.seed)
	params := "ports=64512/fill=99%"
	for round := range min(s.rounds, 3) {
		err := s.turns(round, 0, func(_ int, k peer.Kind) error {
			if k.NewSmall == nil || k.Slow && s.report.Short {
				return nil
			}
			f, err := measure.Full(k, w)
			if err != nil {
				s.say("%v: no figure in this round", err)
				return nil
			}
			s.report.row("new session, ports nearly all in use", params, "ns").add(k.Name, f.New)
			s.report.row("refused, ports nearly all in use", params, "%").add(k.Name, 100*f.Refused)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
