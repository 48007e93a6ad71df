package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
)

// TestReadersFollowWriters appends from several goroutines while others read
// and the journal seals: each reader sees a growing prefix of each writer's records.
func TestReadersFollowWriters(t *testing.T) {
	const writers, each = 4, 1500
	dir := t.TempDir()
	j, err := Open(dir, Config{NoSync: true, WALSize: 1 << 16, OnError: func(err error) { t.Error(err) }})
	require.NoError(t, err)
	var wg sync.WaitGroup
	var done sync.WaitGroup
	stop := make(chan struct{})
	for w := range writers {
		done.Go(func() {
			r := numbered(0)
			r.Host = fmt.Sprint(w)
			for i := range each {
				r.Epoch = uint64(i)
				for {
					err := j.Append(&r)
					if err == nil {
						break
					}
					if !errors.Is(err, logging.ErrFull) {
						t.Error(err)
						return
					}
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	check := func(r *Reader) (n int) {
		next := map[string]uint64{}
		for rec, err := range r.Records() {
			if err != nil {
				t.Error(err)
				return 0
			}
			if rec.Epoch != next[rec.Host] {
				t.Errorf("writer %s: record %d instead of %d", rec.Host, rec.Epoch, next[rec.Host])
				return 0
			}
			next[rec.Host]++
			n++
		}
		return n
	}
	for range 2 {
		wg.Go(func() {
			r, err := OpenReader(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			last := 0
			for {
				if err := r.Refresh(); err != nil {
					t.Error(err)
				}
				n := check(r)
				if n < last {
					t.Errorf("%d records after %d", n, last)
				}
				last = n
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
				}
			}
		})
	}
	done.Wait()
	close(stop)
	wg.Wait()
	require.NoError(t, j.Seal())
	require.NoError(t, j.Close())
	r, err := OpenReader(dir)
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, writers*each, check(r))
	require.Empty(t, r.Damage())
}
