package main

import (
	"fmt"

	"github.com/blocknat/blocknat/benchmarks/kernel"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// kernelName is the kernel among the peers of a table.
const kernelName = "kernel"

// throughKernel measures the kernel's forwarding with and without masquerade, in turns. Its figures are those of a whole
// way through it, so only the difference stands beside the others, and not as a ratio of like things.
func (s *suite) throughKernel() error {
	s.say("the kernel, %d packets a turn", s.kernelPackets)
	paths := map[string]*kernel.Path{}
	for i, nat := range []string{"none", "masquerade"} {
		p, err := kernel.NewPath(i, nat == "masquerade")
		if err != nil {
			return err
		}
		defer p.Close()
		paths[nat] = p
	}
	for _, count := range []int{1, 10_000} {
		flows := workload.Uniform(s.seed, count)
		for _, p := range paths {
			if _, _, err := p.Send(flows); err != nil {
				return err
			}
		}
		packets := workload.Repeated(s.seed, flows, s.kernelPackets)
		for round := range s.rounds {
			if err := s.kernelRound(paths, round, fmt.Sprintf("flows=%d", count), packets); err != nil {
				return err
			}
		}
	}
	for round := range s.rounds {
		if err := s.kernelRound(paths, round, "flows=new", workload.Uniform(s.seed+uint64(round)+1, s.kernelPackets/10)); err != nil {
			return err
		}
	}
	return nil
}

// kernelRound sends packets through both paths, the other one first in every other round.
func (s *suite) kernelRound(paths map[string]*kernel.Path, round int, params string, packets []workload.Flow) error {
	each := map[string]float64{}
	for i := range 2 {
		nat := []string{"none", "masquerade"}[(round+i)%2]
		spent, arrived, err := paths[nat].Send(packets)
		if err != nil {
			return err
		}
		if lost := len(packets) - arrived; lost > len(packets)/100 {
			return fmt.Errorf("the kernel lost %d of %d packets", lost, len(packets))
		}
		each[nat] = float64(spent.Nanoseconds()) / float64(len(packets))
		s.report.row("way through the kernel", fmt.Sprintf("proto=udp/%s/nat=%s", params, nat), "ns").add(kernelName, each[nat])
	}
	s.report.row("masquerade less plain routing", "proto=udp/"+params, "ns").add(kernelName, each["masquerade"]-each["none"])
	return nil
}
