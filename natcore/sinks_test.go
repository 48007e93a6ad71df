package natcore_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/internal/disk"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/filesink"
	"github.com/blocknat/blocknat/logging/netsink"
	"github.com/blocknat/blocknat/logging/spool"
	"github.com/blocknat/blocknat/natcore"
)

// trouble is a sink and a way to break it for new records, and to mend it.
type trouble struct {
	log      logging.Log
	breakIt  func()
	mend     func()
	accepted func(t failer) []logging.Record // what arrived at last
}

// jsonLines reads the records of a file's or a connection's whole lines, each once.
func jsonLines(t failer, b []byte) (out []logging.Record) {
	seen := map[logging.Record]bool{}
	for r, err := range logging.ReadJSON(bytes.NewReader(b[:bytes.LastIndexByte(b, '\n')+1])) {
		require.NoError(t, err)
		if !seen[r] {
			out = append(out, r)
		}
		seen[r] = true
	}
	return out
}

// gateway is a collector that can be away; each connection is cut at an octet that next tells.
type gateway struct {
	mu   sync.Mutex
	away bool
	next func() int
	got  []*bytes.Buffer

	readers sync.WaitGroup
}

func (g *gateway) dial(context.Context, string, string) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.away {
		return nil, errors.New("nobody there")
	}
	near, far := net.Pipe()
	b, left := &bytes.Buffer{}, g.next()
	g.got = append(g.got, b)
	g.readers.Go(func() {
		defer far.Close()
		var p [64]byte
		for left > 0 {
			n, err := far.Read(p[:min(len(p), left)])
			g.mu.Lock()
			away := g.away
			b.Write(p[:n])
			left -= n
			g.mu.Unlock()
			if err != nil || away {
				return
			}
		}
	})
	return near, nil
}

func (g *gateway) set(away bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away = away
}

// arrived returns the whole records of all connections, which are closed by then, each once.
func (g *gateway) arrived(t failer) []logging.Record {
	g.readers.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []byte
	for _, b := range g.got {
		all = append(all, b.Bytes()[:bytes.LastIndexByte(b.Bytes(), '\n')+1]...)
	}
	return jsonLines(t, all)
}

func uncut() int { return 1 << 30 }

func sink(t failer, g *gateway, c netsink.Config) *netsink.Sink {
	c.Dial, c.RetryMin, c.RetryMax, c.Window = g.dial, time.Millisecond, time.Millisecond, 1 // a pipe has no buffer
	s, err := netsink.New("tcp", "192.0.2.1:601", logging.JSON{}, c)
	require.NoError(t, err)
	return s
}

// troubles are the sinks of this module with what breaks them.
func troubles(t *testing.T) map[string]func() trouble {
	full := disk.Faults{Limited: true, Room: 100}
	return map[string]func() trouble{
		"file, disk full": func() trouble {
			faulty, path := &disk.Faulty{FS: disk.OS}, filepath.Join(t.TempDir(), "blocks.json")
			s, err := filesink.Open(path, filesink.Config{FS: faulty, Sync: true})
			require.NoError(t, err)
			return trouble{s, func() { faulty.Set(full) }, func() { faulty.Set(disk.Faults{}) }, func(t failer) []logging.Record {
				b, err := os.ReadFile(path)
				require.NoError(t, err)
				return jsonLines(t, b)
			}}
		},
		"file, disk does not sync": func() trouble {
			faulty, path := &disk.Faulty{FS: disk.OS}, filepath.Join(t.TempDir(), "blocks.json")
			s, err := filesink.Open(path, filesink.Config{FS: faulty, Sync: true})
			require.NoError(t, err)
			return trouble{s, func() { faulty.Set(disk.Faults{Sync: true}) }, func() { faulty.Set(disk.Faults{}) }, func(t failer) []logging.Record {
				b, err := os.ReadFile(path)
				require.NoError(t, err)
				return jsonLines(t, b)
			}}
		},
		"collector away, memory full": func() trouble {
			g := &gateway{next: uncut}
			s := sink(t, g, netsink.Config{Size: 16})
			fill := func() {
				settle(t, s)
				g.set(true)
				r := jsonLines(t, []byte(`{"kind":"config-epoch","time":"2026-05-01T00:00:00Z"}`+"\n"))[0]
				for s.Append(&r) == nil || s.Stats().Connected { // the connection takes the first ones
					time.Sleep(time.Millisecond)
				}
			}
			return trouble{s, fill, func() { g.set(false); settle(t, s) }, func(t failer) []logging.Record {
				require.NoError(t, s.Close(t.(*testing.T).Context()))
				return g.arrived(t)
			}}
		},
		"collector away, disk full": func() trouble {
			faulty, g := &disk.Faulty{FS: disk.OS}, &gateway{next: uncut}
			sp, err := spool.Open(t.TempDir(), spool.Config{FS: faulty})
			require.NoError(t, err)
			s := sink(t, g, netsink.Config{Store: sp})
			return trouble{s, func() { g.set(true); faulty.Set(full) }, func() { g.set(false); faulty.Set(disk.Faults{}) }, func(t failer) []logging.Record {
				require.NoError(t, s.Close(t.(*testing.T).Context()))
				require.NoError(t, sp.Close())
				return g.arrived(t)
			}}
		},
	}
}

// settle waits until all records that s has were sent.
func settle(t *testing.T, s *netsink.Sink) {
	require.Eventually(t, func() bool { return s.Stats().Waiting == 0 }, 20*time.Second, time.Millisecond)
}

// TestSinksInTrouble: while a sink cannot take records, new blocks are refused and nothing of them stays, packets of known sessions
// go on, and so do new sessions in blocks that are held; afterwards blocks are given again. Each block in use is in what arrived.
func TestSinksInTrouble(t *testing.T) {
	for name, make := range troubles(t) {
		t.Run(name, func(t *testing.T) {
			tr := make()
			n := newNAT(t, small(1024, 1151, 16), func(c *natcore.Config) { c.Log = tr.log })
			e := n.out(t, udp, endpoint(hostA, 5000), endpoint(server1, 80))
			tr.breakIt()
			for i := range 40 {
				_, verdict, why := n.try(t, udp, endpoint(host(10+i), 1), endpoint(server1, 80))
				require.Equal(t, natcore.Drop, verdict)
				require.Equal(t, natcore.ReasonLogRefused, why)
				require.Equal(t, e, n.out(t, udp, endpoint(hostA, 5000), endpoint(server1, 80)))
				_, verdict, _ = n.in(t, udp, endpoint(server1, 80), e)
				require.Equal(t, natcore.Forward, verdict)
			}
			n.out(t, udp, endpoint(hostA, 5001), endpoint(server1, 80))
			require.EqualValues(t, 1, n.Stats().Pools[0].BlocksHeating)
			tr.mend()
			for i := range 5 {
				n.out(t, udp, endpoint(host(10+i), 1), endpoint(server1, 80))
			}
			check(t, n)
			require.EqualValues(t, 6, n.Stats().Pools[0].BlocksHeating)
			held := 0
			for _, r := range tr.accepted(t) {
				if r.Kind == logging.BlockAllocated {
					held++
				}
			}
			require.Equal(t, 6, held)
		})
	}
}

// TestDiskStalls: while a disk takes nothing and gives no answer, packets of known sessions go on.
func TestDiskStalls(t *testing.T) {
	faulty := &disk.Faulty{FS: disk.OS}
	s, err := filesink.Open(filepath.Join(t.TempDir(), "blocks.json"), filesink.Config{FS: faulty})
	require.NoError(t, err)
	n := newNAT(t, small(1024, 1151, 16), func(c *natcore.Config) { c.Log, c.Shards = s, 1 })
	n.out(t, udp, endpoint(hostA, 5000), endpoint(server1, 80))
	faulty.Stall(true)
	done := make(chan natcore.Verdict)
	b := build(t, udp, endpoint(hostB, 1), endpoint(server1, 80), nil, tcpFlags{})
	go func() {
		v, _ := n.Outbound(b, n.now)
		done <- v
	}()
	for range 100 {
		n.out(t, udp, endpoint(hostA, 5000), endpoint(server1, 80))
	}
	select {
	case <-done:
		t.Fatal("a block was used whose record is not written")
	case <-time.After(10 * time.Millisecond):
	}
	faulty.Stall(false)
	require.Equal(t, natcore.Forward, <-done)
	require.NoError(t, s.Close())
}

// TestCountLosses: who chose to go on without records has the losses counted, by the sink or by the engine.
func TestCountLosses(t *testing.T) {
	for name, policies := range map[string]struct {
		engine natcore.LogPolicy
		spool  logging.Policy
	}{"engine": {natcore.CountLoss, logging.RefuseNew}, "spool": {natcore.RefuseBlocks, logging.DropNew}} {
		t.Run(name, func(t *testing.T) {
			faulty := &disk.Faulty{FS: disk.OS}
			sp, err := spool.Open(t.TempDir(), spool.Config{FS: faulty, Policy: policies.spool})
			require.NoError(t, err)
			n := newNAT(t, small(1024, 1151, 16), func(c *natcore.Config) { c.Log, c.LogPolicy = sp, policies.engine })
			n.out(t, udp, endpoint(hostA, 5000), endpoint(server1, 80))
			faulty.Set(disk.Faults{Write: true})
			for i := range 4 {
				n.out(t, udp, endpoint(host(10+i), 1), endpoint(server1, 80))
			}
			require.EqualValues(t, 4, n.Stats().RecordsLost+sp.Stats().Dropped)
			require.NoError(t, sp.Close())
		})
	}
}

// TestRecordsOutliveAll: an engine over a spool and a collector, with connections that are cut anywhere, a disk that
// is full at times and processes that end without a word: in the end each block that served a packet is in what
// arrived.
func TestRecordsOutliveAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "natcore")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		g := &gateway{next: uncut}
		cuts := rapid.SliceOfN(rapid.IntRange(0, 3000), 0, 6).Draw(t, "cuts")
		g.next = func() int {
			if len(cuts) == 0 {
				return uncut()
			}
			c := cuts[0]
			cuts = cuts[1:]
			return c
		}
		type use struct {
			subscriber, external netip.Addr
			port                 uint16
		}
		var used []use
		lives := rapid.IntRange(1, 3).Draw(t, "lives")
		for life := range lives {
			faulty := &disk.Faulty{FS: disk.OS}
			sp, err := spool.Open(dir, spool.Config{FS: faulty, Sync: true})
			require.NoError(t, err)
			s := sink(t, g, netsink.Config{Store: sp})
			n := newNAT(t, func(c *natcore.Config) {
				c.Log = s
				// Each life has addresses of its own, as a start without a snapshot must.
				c.Pools[0].Addresses = alloc.MustParseRanges(netip.AddrFrom4([4]byte{203, 0, 113, byte(1 + life)}).String())
			})
			for range rapid.IntRange(0, 30).Draw(t, "packets") {
				if rapid.IntRange(0, 4).Draw(t, "fault") == 0 {
					faulty.Set(disk.Faults{Limited: rapid.Bool().Draw(t, "full"), Room: rapid.Int64Range(0, 1000).Draw(t, "room"), Sync: rapid.Bool().Draw(t, "sync")})
				}
				h := host(rapid.IntRange(0, 20).Draw(t, "host"))
				if e, verdict, _ := n.try(t, udp, endpoint(h, 5000), endpoint(server1, 80)); verdict == natcore.Forward {
					used = append(used, use{h, e.Addr(), e.Port()})
				}
			}
			faulty.Set(disk.Faults{})
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			if life < lives-1 && rapid.Bool().Draw(t, "crash") {
				cancel()
				_ = s.Close(ctx)
				continue
			}
			require.NoError(t, s.Close(ctx))
			cancel()
			require.NoError(t, sp.Close())
		}
		x := logging.NewIndex()
		for _, r := range g.arrived(t) {
			require.NoError(t, x.Append(&r))
		}
		for _, u := range used {
			who := x.Who(logging.Query{External: u.external, Port: u.port, At: began})
			require.Equal(t, 1, len(who), "%v", u)
			require.Equal(t, u.subscriber, who[0].Subscriber)
		}
	})
}
