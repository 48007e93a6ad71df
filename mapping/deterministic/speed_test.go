package deterministic

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"unsafe"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// speedConfigs are maps of 65,536 subscribers, one of each algorithm.
func speedConfigs() []Config {
	var out []Config
	for a := Sequential; a <= Mask; a++ {
		cfg := Config{Name: a.String(), Internal: Spans("10.0.0.0-10.0.255.255"), External: Spans("203.0.112.0/24"), Algorithm: a}
		switch a {
		case RoundRobin, Interlaced:
			cfg.GroupSize = 8
		case Crypto, Random:
			cfg.Key[0] = 1
		case MAP:
			cfg.PSIDOffset, cfg.PSIDLen = 6, 8
		case GMA:
			cfg.Contiguous = 4
		case Mask:
			cfg.PortRangeMask = 0x0ff0
		}
		out = append(out, cfg)
	}
	v6 := Config{Name: "sequential-v6", Internal: Spans("2001:db8::/40"), SubscriberBits: 56, External: Spans("203.0.112.0/24")}
	holes := Config{Name: "sequential-holes", Internal: Spans("10.0.0.0-10.0.255.255"), External: Spans("203.0.112.0/24"), Reserved: ranges("0-1023", "5004", "5060", "8080", "33434-33534")}
	for i := range 50 {
		holes.InternalExclude = append(holes.InternalExclude, MustParseSpan(fmt.Sprintf("10.0.%d.7-10.0.%d.19", 3*i, 3*i)))
	}
	return append(out, v6, holes)
}

var (
	sinkPorts  Ports
	sinkPrefix netip.Prefix
	sinkAddr   netip.Addr
	sinkPort   uint16
	sinkErr    error
)

// hosts returns addresses of subscribers in an order that is not theirs.
func hosts(m *Map) []netip.Addr {
	out := make([]netip.Addr, 1024)
	for i := range out {
		out[i] = m.Subscriber(uint64(i) * 40503 % m.Subscribers()).Addr()
	}
	return out
}

// BenchmarkForward finds the external address and first port of a subscriber.
func BenchmarkForward(b *testing.B) {
	for _, cfg := range speedConfigs() {
		b.Run("algorithm="+cfg.Name, func(b *testing.B) {
			m := mustNew(b, cfg)
			in, i := hosts(m), 0
			b.ReportAllocs()
			for b.Loop() {
				sinkPorts, sinkErr = m.Forward(in[i&1023])
				sinkAddr = sinkPorts.External()
				i++
			}
		})
	}
}

// BenchmarkPort adds the computation of one port to that.
func BenchmarkPort(b *testing.B) {
	for _, cfg := range speedConfigs() {
		b.Run("algorithm="+cfg.Name, func(b *testing.B) {
			m := mustNew(b, cfg)
			in, i := hosts(m), 0
			b.ReportAllocs()
			for b.Loop() {
				sinkPorts, sinkErr = m.Forward(in[i&1023])
				sinkPort = sinkPorts.Port(i & 127)
				i++
			}
		})
	}
}

// BenchmarkReverse finds the subscriber of an external address and port.
func BenchmarkReverse(b *testing.B) {
	for _, cfg := range speedConfigs() {
		b.Run("algorithm="+cfg.Name, func(b *testing.B) {
			m := mustNew(b, cfg)
			var out []netip.AddrPort
			for i, a := range hosts(m) {
				p, _ := m.Forward(a)
				out = append(out, p.At(i%p.Len()))
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				sinkPrefix, sinkErr = m.Reverse(out[i&1023].Addr(), out[i&1023].Port())
				i++
			}
			require.NoError(b, sinkErr)
		})
	}
}

// BenchmarkSet does both with many maps.
func BenchmarkSet(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		maps := manyMaps(b, n, func(i int) uint32 { return uint32(i % 10) })
		s, err := NewSet(maps...)
		require.NoError(b, err)
		var in []netip.Addr
		var realm []uint32
		var out []netip.AddrPort
		for i := range 1024 {
			m := maps[i*7919%n]
			in = append(in, m.Subscriber(uint64(i)*31%m.Subscribers()).Addr())
			realm = append(realm, m.cfg.Realm)
			p, _ := m.Forward(in[i])
			out = append(out, p.At(i%p.Len()))
		}
		b.Run(fmt.Sprintf("op=forward/maps=%d", n), func(b *testing.B) {
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				sinkPorts, sinkErr = s.Forward(realm[i&1023], in[i&1023])
				sinkAddr = sinkPorts.External()
				i++
			}
			require.NoError(b, sinkErr)
		})
		b.Run(fmt.Sprintf("op=reverse/maps=%d", n), func(b *testing.B) {
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				_, sinkPrefix, sinkErr = s.Reverse(0, out[i&1023].Addr(), out[i&1023].Port())
				i++
			}
			require.NoError(b, sinkErr)
		})
	}
}

// BenchmarkNew builds a map.
func BenchmarkNew(b *testing.B) {
	for _, cfg := range speedConfigs() {
		b.Run("algorithm="+cfg.Name, func(b *testing.B) {
			for b.Loop() {
				if _, err := New(cfg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRule derives customer edges of RFC 7597.
func BenchmarkRule(b *testing.B) {
	r := mustRule(b, appendixA())
	inside, outside := addr("2001:db8:12:3400::"), addr("192.0.2.18")
	b.Run("op=ce", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ce, _ := r.CE(inside)
			sinkAddr = ce.Address
		}
	})
	b.Run("op=reverse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ce, _ := r.Reverse(outside, 1232)
			sinkAddr = ce.Address
		}
	})
}

// TestCallsAllocateNothing is the table of hot calls; refusals are hot, too.
func TestCallsAllocateNothing(t *testing.T) {
	for _, cfg := range speedConfigs() {
		m := mustNew(t, cfg)
		s, err := NewSet(m)
		require.NoError(t, err)
		inside := m.Subscriber(777).Addr()
		p := m.ports(777)
		outside := p.At(3)
		stranger := addr("198.18.0.1")
		for name, call := range map[string]func(){
			"Forward":          func() { sinkPorts, sinkErr = m.Forward(inside) },
			"Forward refused":  func() { sinkPorts, sinkErr = m.Forward(stranger) },
			"Reverse":          func() { sinkPrefix, sinkErr = m.Reverse(outside.Addr(), outside.Port()) },
			"Reverse reserved": func() { sinkPrefix, sinkErr = m.Reverse(outside.Addr(), 0) },
			"Reverse refused":  func() { sinkPrefix, sinkErr = m.Reverse(stranger, 0) },
			"Number":           func() { _, sinkErr = m.Number(inside) },
			"Ports.External":   func() { sinkAddr = p.External() },
			"Reverse all ports": func() {
				for port := 0; port < 65536; port += 4099 { // whatever the refusal
					sinkPrefix, sinkErr = m.Reverse(m.External(m.Externals()-1), uint16(port))
				}
			},
			"Map.Capacity":        func() { sinkPort = uint16(m.Capacity()) },
			"Ports.Map":           func() { _ = p.Map() },
			"Ports.Len":           func() { sinkPort = uint16(p.Len()) },
			"Ports.At":            func() { sinkAddr = p.At(5).Addr() },
			"Ports.Index":         func() { _, _ = p.Index(outside.Addr(), outside.Port()) },
			"AddressPorts.At":     func() { sinkPort, _ = p.On(outside.Addr()).At(3) },
			"AddressPorts.Index":  func() { _, _ = p.On(outside.Addr()).Index(outside.Port()) },
			"Set.Forward":         func() { sinkPorts, sinkErr = s.Forward(0, inside) },
			"Set.Forward refused": func() { sinkPorts, sinkErr = s.Forward(0, stranger) },
			"Set.Reverse":         func() { _, sinkPrefix, sinkErr = s.Reverse(0, outside.Addr(), outside.Port()) },
			"Set.Reverse refused": func() { _, sinkPrefix, sinkErr = s.Reverse(9, stranger, 9) },
		} {
			require.Zero(t, testing.AllocsPerRun(20, call), "%s of %s", name, cfg.Name)
		}
	}
	r := mustRule(t, appendixA())
	require.Zero(t, testing.AllocsPerRun(20, func() {
		ce, _ := r.CE(addr("2001:db8:12:3400::"))
		sinkErr = r.CheckSource(ce.Address, ce.IPv4.Addr(), 1232)
	}))
}

// The memory of a map does not depend on the number of its subscribers.
func TestMemoryIsIndependentOfSubscribers(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Ports{}), uintptr(24))
	require.LessOrEqual(t, unsafe.Sizeof(Map{}), uintptr(640))
	size := func(in, out string) float64 {
		var before, after runtime.MemStats
		maps := make([]*Map, 200)
		runtime.GC()
		runtime.GC() // also what finalizers and pools held
		runtime.ReadMemStats(&before)
		for i := range maps {
			maps[i] = mustNew(t, Config{Internal: Spans(in), External: Spans(out), Reserved: []portblock.Range{}})
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(maps)
		return float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / float64(len(maps))
	}
	small, large := size("10.0.0.0/24", "192.0.2.1"), size("0.0.0.0/0", "32.0.0.0/8")
	t.Logf("bytes per map: %.0f with 2^8 subscribers, %.0f with 2^32", small, large)
	require.InDelta(t, small, large, 512, "a map of 2^32 subscribers is no larger than noise above one of 2^8")
	require.Less(t, large, 2048.0)
}
