package netsink_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/loggingtest"
	"github.com/blocknat/blocknat/logging/netsink"
)

// TestBackoff: pauses double up to a bound, half of each is random, and a connection that held begins anew.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Duration
		began := time.Now()
		var mu sync.Mutex
		works := false
		ends := make(chan net.Conn, 10)
		s, err := netsink.New("tcp", "192.0.2.1:1", logging.JSON{}, netsink.Config{
			RetryMin: time.Second, RetryMax: 8 * time.Second, Jitter: func() float64 { return 0.5 },
			Dial: func(context.Context, string, string) (net.Conn, error) {
				mu.Lock()
				defer mu.Unlock()
				tries = append(tries, time.Since(began))
				if works {
					near, far := net.Pipe()
					ends <- far
					return near, nil
				}
				return nil, errors.New("nobody there")
			},
		})
		require.NoError(t, err)
		time.Sleep(25 * time.Second)
		synctest.Wait()
		mu.Lock()
		at := func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }
		require.Equal(t, []time.Duration{0, at(750), at(2250), at(5250), at(11250), at(17250), at(23250)}, tries)
		require.EqualValues(t, 7, s.Stats().Failures)

		works = true
		mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.True(t, s.Stats().Connected)
		time.Sleep(10 * time.Second)
		mu.Lock()
		tries, began = nil, time.Now()
		mu.Unlock()
		_ = (<-ends).Close()
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		require.Equal(t, []time.Duration{at(750)}, tries)
		mu.Unlock()
		_ = (<-ends).Close() // at once: the pause grows again
		time.Sleep(1600 * time.Millisecond)
		synctest.Wait()
		mu.Lock()
		require.Equal(t, []time.Duration{at(750), at(2500)}, tries)
		mu.Unlock()
		require.NoError(t, s.Close(t.Context()))
		_ = (<-ends).Close()
	})
}

// TestCloseGivesUp: a collector that is not there, or takes nothing, does not hold Close beyond its context, and what is
// left is counted.
func TestCloseGivesUp(t *testing.T) {
	for name, dial := range map[string]func() (net.Conn, error){
		"refused": func() (net.Conn, error) { return nil, errors.New("nobody there") },
		"stalled": func() (net.Conn, error) { near, _ := net.Pipe(); return near, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := netsink.New("tcp", "192.0.2.1:1", logging.JSON{}, netsink.Config{
					Dial: func(context.Context, string, string) (net.Conn, error) { return dial() },
				})
				require.NoError(t, err)
				for i := range 10 {
					r := numbered(i)
					require.NoError(t, s.Append(&r))
				}
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				began := time.Now()
				require.ErrorContains(t, s.Close(ctx), "10 records were not sent, 0 were sent without confirmation: context deadline exceeded")
				require.Equal(t, 3*time.Second, time.Since(began))
				require.EqualValues(t, 10, s.Stats().Dropped)
				require.Zero(t, s.Stats().Waiting)
			})
		})
	}
	t.Run("nothing to send", func(t *testing.T) {
		s, err := netsink.New("tcp", "127.0.0.1:1", logging.JSON{}, netsink.Config{})
		require.NoError(t, err)
		require.NoError(t, s.Close(t.Context()))
	})
}

// TestStalledCollector: one that takes no octet for WriteTimeout counts as gone, and the records go to the next
// connection.
func TestStalledCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends []net.Conn
		s, err := netsink.New("tcp", "192.0.2.1:1", logging.JSON{}, netsink.Config{
			WriteTimeout: 5 * time.Second,
			Dial: func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				ends = append(ends, far)
				return near, nil
			},
		})
		require.NoError(t, err)
		r := numbered(1)
		require.NoError(t, s.Append(&r))
		time.Sleep(7 * time.Second)
		synctest.Wait()
		require.Len(t, ends, 2)
		b := make([]byte, 1000)
		n, err := ends[1].Read(b)
		require.NoError(t, err)
		require.Equal(t, string(logging.JSON{}.AppendRecord(nil, &r)), string(b[:n]))
		require.NoError(t, s.Close(t.Context()))
	})
}

// TestPolicies: what happens when Size records wait; what was sent makes room.
func TestPolicies(t *testing.T) {
	for _, policy := range []logging.Policy{logging.RefuseNew, logging.DropNew, logging.DropOld} {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var far net.Conn
				open := make(chan bool)
				s, err := netsink.New("tcp", "192.0.2.1:1", logging.JSON{}, netsink.Config{
					Size: 4, Policy: policy,
					Dial: func(context.Context, string, string) (near net.Conn, err error) {
						<-open
						near, far = net.Pipe()
						return near, nil
					},
				})
				require.NoError(t, err)
				for i := range 6 {
					r := numbered(i)
					switch err := s.Append(&r); {
					case i >= 4 && policy == logging.RefuseNew:
						require.ErrorIs(t, err, logging.ErrFull)
					default:
						require.NoError(t, err)
					}
				}
				close(open)
				synctest.Wait()
				var all bytes.Buffer
				go func() { _, _ = all.ReadFrom(far) }()
				synctest.Wait()
				for i := 6; i < 9; i++ {
					r := numbered(i)
					require.NoError(t, s.Append(&r), "what was sent makes room")
				}
				require.NoError(t, s.Close(t.Context()))
				synctest.Wait()
				var got []uint64
				for r := range logging.ReadJSON(&all) {
					got = append(got, r.Epoch)
				}
				st := s.Stats()
				want := []uint64{0, 1, 2, 3, 6, 7, 8}
				if policy == logging.DropOld {
					want = []uint64{2, 3, 4, 5, 6, 7, 8}
				}
				require.Equal(t, want, got)
				if policy == logging.RefuseNew {
					require.EqualValues(t, 2, st.Refused)
				} else {
					require.EqualValues(t, 2, st.Dropped)
				}
				require.Equal(t, st.Accepted, st.Sent+st.Dropped)
			})
		})
	}
}

// TestNobodyListens: over UDP, a datagram that nobody takes is sent again when the network says so.
func TestNobodyListens(t *testing.T) {
	srv := newUDPCollector(t, "127.0.0.1:0")
	addr := srv.LocalAddr().String()
	require.NoError(t, srv.Close())
	<-srv.end
	s, err := netsink.New("udp", addr, logging.JSON{}, soon(netsink.Config{}))
	require.NoError(t, err)
	for i := range 10 {
		r := numbered(i)
		require.NoError(t, s.Append(&r))
	}
	await(t, func() bool { return s.Stats().Failures > 1 })
	srv = newUDPCollector(t, addr)
	await(t, func() bool {
		seen := map[uint64]bool{}
		for _, b := range srv.datagrams() {
			r, _, err := logging.ParseJSON(b)
			require.NoError(t, err)
			seen[r.Epoch] = true
		}
		return len(seen) == 10
	})
	require.NoError(t, s.Close(t.Context()))
}

// TestCollectorRestarts: a real server stops and starts again, its connections reset in the middle.
func TestCollectorRestarts(t *testing.T) {
	srv := newCollector(t, nil)
	s, err := netsink.New("tcp", srv.addr, logging.JSON{}, soon(netsink.Config{}))
	require.NoError(t, err)
	var want []logging.Record
	for i := range 600 {
		if i%200 == 100 {
			srv.stop()
		}
		if i%200 == 150 {
			srv.start()
		}
		r := numbered(i)
		require.NoError(t, s.Append(&r))
		want = append(want, r)
		if i%16 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	require.NoError(t, s.Close(t.Context()))
	require.Equal(t, want, srv.records())
	st := s.Stats()
	require.EqualValues(t, 600, st.Sent)
	require.Greater(t, st.Connects, uint64(3))
	require.Zero(t, st.Unconfirmed)
}

// script is a collector on a pipe: without buffers, so that it has read what was
// written, or with one. It reads until an octet and closes.
type script struct {
	cuts   []int
	buffer int // chunks that are written ahead of it
	all    []*bytes.Buffer
}

func (s *script) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	n, i := -1, len(s.all)
	if i < len(s.cuts) {
		n = s.cuts[i]
	}
	got := &bytes.Buffer{}
	s.all = append(s.all, got)
	go func() {
		defer far.Close()
		b := make([]byte, 64)
		for n != 0 {
			p := b
			if n > 0 {
				p = b[:min(n, len(b))]
				n -= len(p)
			}
			m, err := far.Read(p)
			if n >= 0 {
				n += len(p) - m
			}
			got.Write(p[:m])
			if err != nil {
				return
			}
		}
	}()
	if s.buffer > 0 {
		return ahead(near, s.buffer), nil
	}
	return near, nil
}

// lines returns the whole lines of all connections in order, each once.
func (s *script) lines(t interface{ Fatal(...any) }) (out []uint64) {
	seen := map[uint64]bool{}
	for _, got := range s.all {
		b := got.Bytes()
		b = b[:bytes.LastIndexByte(b, '\n')+1]
		for r, err := range logging.ReadJSON(bytes.NewReader(b)) {
			if err != nil {
				t.Fatal(err)
			}
			if !seen[r.Epoch] {
				out = append(out, r.Epoch)
			}
			seen[r.Epoch] = true
		}
	}
	return out
}

// TestEveryCut cuts the first connection after every number of octets of three records, and the second one somewhere.
func TestEveryCut(t *testing.T) {
	r := loggingtest.Records()[0]
	whole := 3 * len(logging.JSON{}.AppendRecord(nil, &r))
	for cut := 0; cut <= whole; cut++ {
		synctest.Test(t, func(t *testing.T) { oneRun(t, &script{cuts: []int{cut, (cut * 7) % whole}}, []int{1, 2}, 1, 64) })
	}
}

// oneRun appends records in bursts over connections that are cut, and expects
// each of them in order, but for those that gave way in memory, and exact counts.
func oneRun(t interface {
	require.TestingT
	Fatal(...any)
}, srv *script, bursts []int, window, size int) {
	s, err := netsink.New("tcp", "192.0.2.1:1", logging.JSON{}, netsink.Config{Dial: srv.dial, Window: window, Size: size})
	require.NoError(t, err)
	defer giveUp(s)
	var want []uint64
	refused := 0
	for _, n := range bursts {
		for range n {
			r := numbered(len(want))
			if err := s.Append(&r); err != nil {
				require.ErrorIs(t, err, logging.ErrFull)
				refused++
				continue
			}
			want = append(want, r.Epoch)
		}
		time.Sleep(time.Duration(n%3) * 70 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	require.NoError(t, s.Close(ctx))
	synctest.Wait()
	st := s.Stats()
	got, missing := srv.lines(t), uint64(0)
	require.True(t, slices.IsSorted(got), "in order")
	for _, e := range want {
		if _, ok := slices.BinarySearch(got, e); !ok {
			missing++
		}
	}
	require.LessOrEqual(t, missing, st.Assumed)
	require.EqualValues(t, len(want), uint64(len(got))+missing)
	require.Equal(t, [...]uint64{uint64(len(want)), uint64(refused), uint64(len(want)), 0, 0, 0},
		[...]uint64{st.Accepted, st.Refused, st.Sent, st.Waiting, st.Unconfirmed, st.Dropped})
}

// giveUp ends what a failed check left.
func giveUp(s *netsink.Sink) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Close(ctx)
}

// window draws a window that fits what the buffer takes, or more.
func window(t *rapid.T, srv *script) int {
	return rapid.SampledFrom([]int{0, 300, 5000, 1 << 20}).Draw(t, "window") + capacity(srv.buffer)
}

// TestRandomCuts: connections that are cut anywhere, any number of times, with buffers that are lost with them, and
// records in bursts: each record that was accepted arrives, in order.
func TestRandomCuts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		srv := &script{
			cuts:   rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 400), rapid.IntRange(0, 20000)), 0, 12).Draw(rt, "cuts"),
			buffer: rapid.IntRange(0, 30).Draw(rt, "buffer"),
		}
		bursts := rapid.SliceOfN(rapid.IntRange(0, 40), 1, 12).Draw(rt, "bursts")
		w := window(rt, srv)
		size := rapid.SampledFrom([]int{64, 1000}).Draw(rt, "size")
		bubble(t, func() { oneRun(rt, srv, bursts, w, size) })
	})
}

// bubble runs f in a bubble of synctest, and lets rapid see how it ends.
func bubble(t *testing.T, f func()) {
	var end any
	synctest.Test(t, func(*testing.T) {
		defer func() { end = recover() }()
		f()
	})
	if end != nil {
		panic(end)
	}
}

// TestUnreadAtTheEnd: a collector that dies after Close has ended the stream, with octets that it has not read, resets
// the connection, and gets them again when it is back.
func TestUnreadAtTheEnd(t *testing.T) {
	srv := newCollector(t, nil)
	s, err := netsink.New("tcp", srv.addr, logging.JSON{}, soon(netsink.Config{}))
	require.NoError(t, err)
	await(t, func() bool { return s.Stats().Connected })
	r := numbered(0)
	require.NoError(t, s.Append(&r)) // releases the collector from its first Read
	await(t, func() bool { return len(srv.records()) == 1 })
	srv.set(func() { srv.stall = true })
	for i := 1; i <= 10; i++ {
		r := numbered(i)
		require.NoError(t, s.Append(&r))
		settled(t, s)
		time.Sleep(time.Millisecond) // the first of these ends the Read that is under way
	}
	done := make(chan error)
	go func() { done <- s.Close(context.Background()) }()
	time.Sleep(20 * time.Millisecond)
	srv.stop()
	srv.start()
	srv.set(func() { srv.stall = false })
	require.NoError(t, <-done)
	require.Len(t, srv.records(), 11)
	require.EqualValues(t, 2, s.Stats().Connects)
}
