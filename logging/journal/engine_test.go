package journal

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
)

// udp builds an IPv4 packet with UDP and no UDP checksum.
func udp(src, dst netip.AddrPort) []byte {
	b := make([]byte, 32)
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	copy(b[12:], src.Addr().AsSlice())
	copy(b[16:], dst.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[20:], src.Port())
	binary.BigEndian.PutUint16(b[22:], dst.Port())
	binary.BigEndian.PutUint16(b[24:], 12)
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return b
}

// use is a run of packets of one internal endpoint with one external endpoint,
// close enough that its mapping lived from the first to the last.
type use struct {
	internal, external netip.AddrPort
	from, to           time.Time
}

// holding is what the engine says of a subscriber at a time.
type holding struct {
	at       time.Time
	internal netip.Addr
	external netip.Addr
	blocks   int
}

// TestJournalRebuildsEngine runs an engine with random packets of a few hosts
// against a small pool, on a journal whose disk fails now and then, that seals, merges,
// and is closed and opened again. The journal alone then tells for every translated packet,
// and every instant between two of one mapping, exactly the subscriber that an observer of the packets saw;
// and for sampled instants how many blocks each subscriber held, as the engine told then.
// No two intervals come closer than the guard time.
func TestJournalRebuildsEngine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := newMemFS()
		w := &world{fs: disk}
		reopen := func() {
			disk.locked = false
			var err error
			w.j, err = open(disk, Config{Commit: Synced, manual: true, fanout: 2})
			require.NoError(t, err)
		}
		reopen()
		now := time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)
		const guard = 30 * time.Second
		e, err := natcore.New(natcore.Config{
			Seed: [32]byte{7}, Log: logging.LogFunc(func(r *logging.Record) error { return w.j.Append(r) }),
			Pools: []natcore.PoolConfig{{Name: "cgn", Addresses: alloc.MustParseRanges("203.0.113.5-203.0.113.6"), Blocks: portblock.Config{
				BlockSize: 16, Ports: portblock.RangeOf(1024, 1024+16*6-1), MaxBlocks: 3, GuardTime: guard, HoldDown: 10 * time.Second, IdleTimeout: 20 * time.Second,
			}}},
		}, now)
		require.NoError(t, err)
		var uses []*use
		last := map[netip.AddrPort]*use{} // by external endpoint
		var samples []holding
		var sampled []time.Time
		remote := netip.MustParseAddrPort("198.51.100.10:53")
		for range rapid.IntRange(20, 120).Draw(t, "steps") {
			switch rapid.IntRange(0, 11).Draw(t, "step") {
			case 0:
				require.NoError(t, w.j.Seal())
			case 1:
				require.NoError(t, w.j.Close())
				reopen()
			case 2:
				now = now.Add(time.Duration(rapid.IntRange(1, 400_000).Draw(t, "ms")) * time.Millisecond)
			case 3:
				for !e.Expire(now, 1<<16) {
				}
			case 4:
				sampled = append(sampled, now)
				for s := range e.Subscribers() {
					samples = append(samples, holding{now, s.Internal, s.External, s.Blocks})
				}
				now = now.Add(time.Millisecond)
			default:
				if rapid.IntRange(0, 7).Draw(t, "fails") == 0 {
					disk.budget = rapid.IntRange(0, 60).Draw(t, "bytes")
				}
				src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(1, 7).Draw(t, "host"))}), uint16(5000+rapid.IntRange(0, 30).Draw(t, "port")))
				b := udp(src, remote)
				verdict, _ := e.Outbound(b, now)
				disk.budget = -1
				if verdict == natcore.Forward {
					a, _ := netip.AddrFromSlice(b[12:16])
					external := netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[20:]))
					u := last[external]
					if u == nil || u.internal != src || now.Sub(u.to) >= 300*time.Second {
						u = &use{src, external, now, now}
						uses, last[external] = append(uses, u), u
					}
					u.to = now
				}
				now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "pause")) * time.Millisecond)
			}
		}
		require.NoError(t, w.j.Close())

		r := reader(t, disk)
		defer r.Close()
		require.Empty(t, r.Damage())
		for _, u := range uses {
			for _, at := range []time.Time{u.from, u.from.Add(u.to.Sub(u.from) / 2), u.from.Add(u.to.Sub(u.from) / 7), u.to} {
				got, err := r.Who(logging.Query{External: u.external.Addr(), Port: u.external.Port(), At: at})
				require.NoError(t, err)
				require.Len(t, got, 1, "%v at %v", u.external, at)
				require.Equal(t, u.internal.Addr(), got[0].Subscriber)
			}
		}
		var all []logging.Interval
		for b, err := range r.Intervals() {
			require.NoError(t, err)
			all = append(all, b.Interval)
		}
		for _, at := range sampled {
			want, got := map[holding]int{}, map[holding]int{}
			for _, s := range samples {
				if s.at.Equal(at) && s.blocks > 0 {
					want[holding{internal: s.internal, external: s.external}] += s.blocks
				}
			}
			ms := logging.MillisOf(at)
			for _, v := range all {
				if v.From <= ms && (v.Open || v.To > ms) {
					got[holding{internal: v.Subscriber, external: v.External}]++
				}
			}
			require.Equal(t, want, got, "blocks held at %v", at)
		}
		for c, err := range r.Verify(guard) {
			require.NoError(t, err)
			require.Fail(t, c.String())
		}
	})
}
