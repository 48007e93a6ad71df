package natcore_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// oneOf returns one of the values.
func oneOf[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// anyConfig draws a configuration from the edges of what is allowed, and returns its usable ports.
func anyConfig(r *rand.Rand) (change func(*natcore.Config), first, last uint16) {
	first = oneOf[uint16](r, 0, 1, 1023, 1024, 5000, 65520, 65535)
	last = uint16(min(65535, int(first)+oneOf(r, 1, 2, 15, 16, 17, 100, 5000)-1))
	return func(c *natcore.Config) {
		c.Shards = oneOf(r, 1, 2, 256)
		p := &c.Pools[0]
		p.Addresses = alloc.MustParseRanges(oneOf(r, "203.0.113.5", "203.0.113.0-203.0.113.3", "255.255.255.254", "1.0.0.0-1.0.0.1"))
		if p.Addresses[0].First() != p.Addresses[0].Last() && r.IntN(2) == 0 {
			p.Exclude = alloc.MustParseRanges(p.Addresses[0].First().String())
		}
		p.Blocks.Ports = portblock.RangeOf(first, last)
		p.Blocks.BlockSize = oneOf(r, 16, 256, 4096)
		p.Blocks.FirstBlockSize = oneOf(r, 0, 0, 0, 16, 256, 4096)
		p.SubscribersPerAddress = r.IntN(3)
		p.Filtering = natcore.Behaviour(r.IntN(3))
		p.Mapping = natcore.Behaviour(r.IntN(3))
		p.Blocks.Resting = oneOf(r, portblock.RestRefuse, portblock.RestOldest)
		p.Blocks.NoRefill = r.IntN(4) == 0
		p.Blocks.Parity = oneOf(r, portblock.Ignore, portblock.Prefer)
		p.Blocks.Class = oneOf(r, portblock.Ignore, portblock.Prefer)
		p.Blocks.Preserve = r.IntN(2) == 0
		c.Rules = []natcore.Rule{{Realm: 65535, Pool: "cgn"}, {Pool: "cgn"}}
	}, first, last
}

// TestAnyConfiguration runs packets of two realms through random configurations: what is forwarded has a port of
// the range that nobody else has, the answer comes back, and in the end nothing is left.
func TestAnyConfiguration(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 2))
		change, first, last := anyConfig(r)
		n := newNAT(t, change)
		type owner struct {
			internal netip.AddrPort
			realm    natcore.Realm
		}
		owners := map[tuple]owner{}
		for range 40 {
			k := kind(r.IntN(3))
			o := owner{endpoint(host(2+r.IntN(4)), oneOf(r, 0, 1, 500, 1024, 65535)), oneOf[natcore.Realm](r, 0, 65535)}
			dst := endpoint(server1, r.IntN(3))
			if k == icmp {
				dst = endpoint(server1, 0)
			}
			out := []natcore.Packet{{Bytes: build(t, k, o.internal, dst, []byte("x"), tcpFlags{syn: true, seq: 0xfffffffe}), Realm: o.realm}}
			before := string(out[0].Bytes)
			n.Process(out, n.now)
			if out[0].Verdict == natcore.Drop {
				require.Equal(t, before, string(out[0].Bytes))
				continue
			}
			require.Equal(t, natcore.Forward, out[0].Verdict, "seed %d", seed)
			e := read(t, out[0].Bytes)
			require.True(t, e.right && e.rightIP, "seed %d", seed)
			require.True(t, first <= e.src.Port() && e.src.Port() <= last, "seed %d: %v", seed, e.src)
			u := tuple{kind: k, external: e.src}
			if before, ok := owners[u]; ok {
				require.Equal(t, before, o, "seed %d: rule 1", seed)
			}
			owners[u] = o
			in := []natcore.Packet{{Bytes: build(t, k, dst, e.src, []byte("y"), tcpFlags{syn: true, ack: true, seq: 0xfffffffe}), Direction: natcore.Inbound}}
			n.Process(in, n.now)
			require.Equal(t, natcore.Forward, in[0].Verdict, "seed %d: %v", seed, in[0].Reason)
			require.Equal(t, o, owner{read(t, in[0].Bytes).dst, in[0].Realm}, "seed %d", seed)
			if r.IntN(5) == 0 {
				_, _ = n.Map(natcore.MapRequest{Internal: o.internal, Protocol: k.proto(), Lifetime: time.Minute, Realm: o.realm}, n.now)
			}
		}
		require.NoError(t, n.CheckInvariants(), "seed %d", seed)
		n.rest()
		n.empty(t)
	}
}
