package netsink_test

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/blocknat/blocknat/internal/disk"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/loggingtest"
	"github.com/blocknat/blocknat/logging/netsink"
	"github.com/blocknat/blocknat/logging/spool"
)

var _ netsink.Store = (*spool.Spool)(nil)

func TestSpoolConformance(t *testing.T) {
	loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
		sp, err := spool.Open(t.TempDir(), spool.Config{MaxBytes: 1 << 20})
		require.NoError(t, err)
		t.Cleanup(func() { _ = sp.Close() })
		return harness(t, netsink.Config{Store: sp})
	})
}

// TestAtLeastOnce: connections cut at any octet with what their buffers hold, collectors that are away, disks that are full or fail, and processes
// that end in the middle: in the end each record that was accepted and not counted as dropped has arrived, in the order of acceptance.
func TestAtLeastOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { bubble(t, func() { lives(rt) }) })
}

func lives(t *rapid.T) {
	dir, err := os.MkdirTemp("", "netsink")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	var want, got []uint64
	arrived := map[uint64]bool{}
	n := 0
	many := rapid.IntRange(1, 4).Draw(t, "lives")
	policy := rapid.SampledFrom([]logging.Policy{logging.RefuseNew, logging.DropNew}).Draw(t, "policy")
	for life := range many {
		last := life == many-1
		faulty := &disk.Faulty{FS: disk.OS}
		sp, err := spool.Open(dir, spool.Config{
			FS: faulty, Policy: policy, Sync: true, MaxBytes: rapid.SampledFrom([]int64{4096, 30000}).Draw(t, "max"), SegmentBytes: 2000,
			AckEvery: rapid.SampledFrom([]uint64{1, 10, 1000}).Draw(t, "ack every"),
		})
		require.NoError(t, err)
		srv := &script{buffer: rapid.IntRange(0, 30).Draw(t, "buffer"), cuts: rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 400), rapid.IntRange(0, 9000)), 0, 8).Draw(t, "cuts")}
		away := rapid.SliceOfN(rapid.Bool(), 0, 8).Draw(t, "away")
		s, err := netsink.New("tcp", "192.0.2.1:1", logging.JSON{}, netsink.Config{
			Store: sp, Window: window(t, srv),
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				if len(away) > 0 {
					gone := away[0]
					away = away[1:]
					if gone {
						return nil, errors.New("nobody there")
					}
				}
				return srv.dial(ctx, network, address)
			},
		})
		require.NoError(t, err)
		defer giveUp(s)
		for range rapid.IntRange(0, 10).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "disk") == 0 {
				fails := func(name string) bool { return rapid.IntRange(0, 4).Draw(t, name) == 0 }
				faulty.Set(disk.Faults{
					Limited: fails("full"), Room: rapid.Int64Range(0, 3000).Draw(t, "room"), Write: fails("write"), Truncate: fails("truncate"),
					Sync: fails("sync"), Create: fails("create"), Rename: fails("rename"), Remove: fails("remove"),
				})
			}
			for range rapid.IntRange(0, 12).Draw(t, "records") {
				n++
				r := numbered(n)
				dropped := sp.Stats().Dropped
				if s.Append(&r) == nil && sp.Stats().Dropped == dropped {
					want = append(want, r.Epoch)
				}
			}
			time.Sleep(time.Duration(rapid.SampledFrom([]int{0, 1, 150, 40000}).Draw(t, "pause")) * time.Millisecond)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
		if !last && rapid.Bool().Draw(t, "crash") {
			cancel()
			_ = s.Close(ctx)
		} else {
			faulty.Set(disk.Faults{})
			require.NoError(t, s.Close(ctx))
			require.Zero(t, sp.Stats().Waiting)
			require.NoError(t, sp.Close())
		}
		cancel()
		synctest.Wait()
		require.Zero(t, sp.Stats().Lost)
		for _, e := range srv.lines(t) {
			if !arrived[e] {
				arrived[e] = true
				got = append(got, e)
			}
		}
	}
	for _, e := range want {
		require.True(t, arrived[e], "record %d was accepted and did not arrive", e)
	}
	require.True(t, slices.IsSorted(got), "in order")
}

// TestSpoolOutlivesTheProcess: what a first process could not send, a second one sends, and a third one has nothing to
// do after an end in order.
func TestSpoolOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	srv := newCollector(t, nil)
	srv.stop()
	for life, want := range []uint64{0, 20, 0} {
		sp, err := spool.Open(dir, spool.Config{})
		require.NoError(t, err)
		s, err := netsink.New("tcp", srv.addr, logging.JSON{}, soon(netsink.Config{Store: sp}))
		require.NoError(t, err)
		timeout := 5 * time.Second
		switch life {
		case 0:
			for i := range 20 {
				r := numbered(i)
				require.NoError(t, s.Append(&r))
			}
			timeout = 20 * time.Millisecond
		case 1:
			srv.start()
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		err = s.Close(ctx)
		cancel()
		if life == 0 {
			require.ErrorContains(t, err, "20 records stay in the store that were not sent, 0 that were sent without confirmation")
		} else {
			require.NoError(t, err)
		}
		require.Equal(t, want, s.Stats().Sent)
		require.NoError(t, sp.Close())
	}
	require.Equal(t, 20, len(srv.records()))
}
