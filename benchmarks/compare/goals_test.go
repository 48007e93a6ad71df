package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/benchmarks/peer"
)

// TestGoalsByFloor: a goal and what was measured are both given as multiples of the floor, each of its own machine, the slowest of the rows.
func TestGoalsByFloor(t *testing.T) {
	r := &report{Peers: []named{{Name: "blocknat"}}}
	for i, params := range anyWay(10_000, 1) {
		x := r.row(rowEstablished, params, "ns")
		x.add("blocknat", float64(29+i))
		x.add(peer.Floor.Name, float64(16-i))
	}
	require.Contains(t, r.goals(), "| established packet, 10,000 flows, one by one | <= 28 ns | 32 ns | no | 1.75 | 2 |\n")
	require.Contains(t, r.goals(), "| established packet, 10,000 flows, batches of 64 | <= 20 ns | - | - | 1.6 | - |\n")
}
