package main

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/blocknat/blocknat/benchmarks/measure"
	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// The names of rows that goals and charts look for.
const (
	rowEstablished = "established packet"
	rowNew         = "new session"
	rowNewBatch    = "new session, in batches of 64"
	rowEnd         = "end of a session"
	rowMemory      = "memory per session"
	rowGrowth      = "longest call while growing, in every round"
	rowCallers     = "two callers"
	rowCollector   = "collector, all sessions"
)

// batches are how many packets a call has.
var batches = []int{1, 64}

func establishedParams(proto string, flows int, d peer.Direction, batch int) string {
	return fmt.Sprintf("proto=%s/flows=%d/dir=%s/batch=%d", proto, flows, d, batch)
}

func (s *suite) established() error {
	for _, flows := range s.flows {
		for _, proto := range []string{"udp", "tcp"} {
			s.say("established packets, %d flows, %s", flows, proto)
			if err := s.establishedAt(proto, flows); err != nil {
				return err
			}
			runtime.GC()
		}
	}
	return nil
}

func (s *suite) establishedAt(proto string, flows int) error {
	w := workload.Uniform(s.seed, flows)
	if proto == "tcp" {
		w = workload.UniformTCP(s.seed, flows)
	}
	kinds := append(slices.Clone(s.kinds), peer.Floor)
	live := make([]*measure.Established, len(kinds))
	defer func() {
		for _, e := range live {
			if e != nil {
				e.NAT.Close()
			}
		}
	}()
	each := func(round int, f func(i int, k peer.Kind) error) error {
		return turns(kinds, round, flows, func(i int, k peer.Kind) error {
			if proto == "tcp" && !k.TCP {
				return nil
			}
			return f(i, k)
		})
	}
	err := each(0, func(i int, k peer.Kind) (err error) {
		live[i], err = measure.Establish(k, w)
		return err
	})
	if err != nil {
		return err
	}
	for round := range s.rounds {
		for _, d := range []peer.Direction{peer.Out, peer.In} {
			for _, batch := range batches {
				row := s.report.row(rowEstablished, establishedParams(proto, flows, d, batch), "ns")
				err := each(round, func(i int, k peer.Kind) error {
					ns, err := live[i].For(d, batch, s.slice)
					row.add(k.Name, ns)
					if k.Garbage {
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
