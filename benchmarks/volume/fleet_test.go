package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/portblock"
)

// TestNeededIsTheFewest replays real moves: the number found refuses nothing, one less refuses something, and no
// block is held twice.
func TestNeededIsTheFewest(t *testing.T) {
	m := defaults()
	m.Subscribers, m.Connections = 400, 3000
	r, got := simulated(t, m, 512, 4096)
	for i, l := range r.layouts {
		n, err := needed(l, got.Moves[i], m.Subscribers)
		require.NoError(t, err)
		share, err := refusedShare(l, got.Moves[i], m.Subscribers, n)
		require.NoError(t, err)
		require.Zero(t, share)
		require.Greater(t, n, 1)
		share, err = refusedShare(l, got.Moves[i], m.Subscribers, n-1)
		require.NoError(t, err)
		require.Positive(t, share)
		blocks := 65_536/r.Sizes[i] - 1024/r.Sizes[i] // a block of which a part lies below 1024 serves the rest
		require.GreaterOrEqual(t, n*blocks, peakBlocks(got.Moves[i], m.Guard.Milliseconds()))
		held, holders := heldAtPeak(got.Moves[i])
		require.GreaterOrEqual(t, held, holders)
		require.GreaterOrEqual(t, n*blocks, held)
	}
}

// TestReplayByHand plays a few moves on one address of sixteen blocks, of which the first one has 3,072 ports.
func TestReplayByHand(t *testing.T) {
	l, err := portblock.NewLayout(portblock.Config{BlockSize: 4096, MaxBlocks: 16, GuardTime: 120 * time.Second})
	require.NoError(t, err)
	var moves []move
	for s := range uint32(17) { // one more than there are blocks
		moves = append(moves, move{at: int64(s), subscriber: s, take: true})
	}
	moves = append(moves,
		move{at: 100, subscriber: 16},                         // was refused: nothing to release
		move{at: 100, subscriber: 3},                          // cools until 120,100
		move{at: 120_099, subscriber: 20, take: true},         // refused
		move{at: 120_100, subscriber: 21, take: true},         // gets it
		move{at: 120_101, subscriber: 4, slot: 1, take: true}, // refused: its address is full
	)
	f, err := newFleet(l, 1, 30)
	require.NoError(t, err)
	require.NoError(t, f.replay(moves, false))
	require.Equal(t, 20, f.Requests)
	require.Equal(t, 3, f.Refused)
	require.Equal(t, 18, peakBlocks(moves, 120_000))
	n, err := needed(l, moves, 30)
	require.NoError(t, err)
	require.Equal(t, 2, n)
}
