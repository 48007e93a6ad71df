package main

import (
	"fmt"
	"math"

	"github.com/blocknat/blocknat/benchmarks/measure"
	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

func (s *suite) mixes() error {
	for _, m := range measure.Mixes(s.seed, s.traffic) {
		s.say("traffic: %s", m.Name)
		for round := range s.rounds {
			err := s.turns(round, 0, func(_ int, k peer.Kind) error {
				if !m.Fits(k) || k.Slow && round >= 2 {
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

// callers compares one caller with two at once on one NAT.
func (s *suite) callers() error {
	s.say("two callers at once, %d flows", s.shared)
	w := workload.Uniform(s.seed, s.shared)
	live := make([]*measure.Together, len(s.kinds))
	defer func() {
		for _, t := range live {
			if t != nil {
				t.NAT.Close()
			}
		}
	}()
	for round := range s.rounds + 1 {
		err := s.turns(round, s.shared, func(i int, k peer.Kind) (err error) {
			if k.NewShared == nil {
				return nil
			}
			if live[i] == nil {
				live[i], err = measure.OpenTogether(k, w, 2)
				return err // the first round opens
			}
			one, err := live[i].Alone(64, s.slice)
			if err != nil {
				return err
			}
			two, err := live[i].All(64, s.slice)
			if err != nil {
				return err
			}
			params := fmt.Sprintf("flows=%d/dir=out/batch=64", s.shared)
			s.report.row("one caller", params, "ns").add(k.Name, one)
			s.report.row(rowCallers, params, "ns").add(k.Name, two)
			s.report.row("two callers by one, rate", params, "times").add(k.Name, one/two)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) establishmentRate() error {
	s.say("establishment rate, %d flows", s.pairs)
	w := workload.Pair(s.seed, s.pairs, 1)
	params := fmt.Sprintf("flows=%d/alpha=0.8", s.pairs)
	for round := range s.rates {
		err := s.turns(round, 40_000, func(_ int, k peer.Kind) error {
			if k.Slow && round >= 3 {
				return nil // a search takes it seconds
			}
			r, err := measure.EstablishmentRate(k, w)
			if err != nil {
				s.say("%v: no figure in this round", err)
				return nil
			}
			s.report.row("RFC 9693 establishment rate", params, "1/s").add(k.Name, math.Round(r.PerSecond))
			s.report.row("RFC 9693 validated at", params, "1/s").add(k.Name, math.Round(r.Validated))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
