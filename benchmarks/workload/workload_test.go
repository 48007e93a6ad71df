package workload

import (
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

const seed = 20260501

// TestPacketsMatchGopacket compares packets with those that gopacket serialises.
func TestPacketsMatchGopacket(t *testing.T) {
	flows := slices.Concat(Uniform(seed, 200), IMIX(seed, Uniform(seed+1, 100)), SYNFlood(seed, 200), DNSBurst(seed, 200), UniformTCP(seed, 100))
	for _, f := range flows {
		f = f.Answer(ExternalBase+uint32(f.SrcPort), f.SrcPort)
		require.Equal(t, serialised(t, f), f.Put(make([]byte, ringSlot)), "%+v", f)
	}
	// A ring's buffers are used again, with other protocols and sizes.
	ring := NewRing(true)
	for len(flows) > 0 {
		for i, p := range ring.Fill(flows) {
			require.Equal(t, serialised(t, flows[i]), p)
		}
		slices.Reverse(flows)
		flows = flows[:max(0, len(flows)-97)]
	}
}

func serialised(t *testing.T, f Flow) []byte {
	t.Helper()
	ip := &layers.IPv4{
		Version: 4, IHL: 5, TTL: 64, Id: 7, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocol(f.Proto),
		SrcIP: []byte{byte(f.Src >> 24), byte(f.Src >> 16), byte(f.Src >> 8), byte(f.Src)},
		DstIP: []byte{byte(f.Dst >> 24), byte(f.Dst >> 16), byte(f.Dst >> 8), byte(f.Dst)},
	}
	var transport gopacket.SerializableLayer
	payload := int(f.Size) - 20
	if f.Proto == UDP {
		l := &layers.UDP{SrcPort: layers.UDPPort(f.SrcPort), DstPort: layers.UDPPort(f.DstPort)}
		require.NoError(t, l.SetNetworkLayerForChecksum(ip))
		transport, payload = l, payload-8
	} else {
		l := &layers.TCP{
			SrcPort: layers.TCPPort(f.SrcPort), DstPort: layers.TCPPort(f.DstPort), Seq: 1000, Ack: 2000,
			Window: 1024, SYN: f.Flags&FlagSYN != 0, ACK: f.Flags&FlagACK != 0,
		}
		require.NoError(t, l.SetNetworkLayerForChecksum(ip))
		transport, payload = l, payload-20
	}
	buf := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		ip, transport, gopacket.Payload(make([]byte, payload))))
	return buf.Bytes()
}

func TestReproducible(t *testing.T) {
	generators := map[string]func(seed uint64) any{
		"uniform":  func(s uint64) any { return Uniform(s, 1000) },
		"zipf":     func(s uint64) any { return Zipf(s, Uniform(1, 100), 1000, 1.1) },
		"imix":     func(s uint64) any { return IMIX(s, Uniform(1, 1000)) },
		"synflood": func(s uint64) any { return SYNFlood(s, 1000) },
		"dnsburst": func(s uint64) any { return DNSBurst(s, 1000) },
		"churn":    func(s uint64) any { return Churn(s, 100, 5, time.Minute, time.Second) },
		"pair":     func(s uint64) any { return Pair(s, 100, 10) },
		"tcp":      func(s uint64) any { return UniformTCP(s, 1000) },
		"repeated": func(s uint64) any { return Repeated(s, Uniform(1, 100), 1000) },
		"ports":    func(s uint64) any { return Ports(s) },
	}
	for name, g := range generators {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, g(seed), g(seed))
			require.NotEqual(t, g(seed), g(seed+1))
		})
	}
}

// TestFlowsAreDifferent holds where a workload promises one session a packet.
func TestFlowsAreDifferent(t *testing.T) {
	for name, flows := range map[string][]Flow{
		"uniform": Uniform(seed, 100_000), "synflood": SYNFlood(seed, 100_000),
		"dnsburst": DNSBurst(seed, 100_000), "pair": Pair(seed, 40_000, 2),
		"tcp": UniformTCP(seed, 100_000), "ports": Ports(seed),
	} {
		seen := map[Flow]bool{}
		for _, f := range flows {
			require.GreaterOrEqual(t, f.SrcPort, uint16(1024), name)
			f.Dst, f.Size = 0, 0
			require.False(t, seen[f], "%s: %+v", name, f)
			seen[f] = true
		}
	}
}

func TestShapes(t *testing.T) {
	flows := Uniform(seed, 1000)
	count := map[Flow]int{}
	for _, p := range Zipf(seed, flows, 100_000, 1.0) {
		count[p]++
	}
	// The harmonic number of 1,000 is 7.485: the most frequent flow has 13.4 % of the packets.
	require.InDelta(t, 13_360, count[flows[0]], 600)
	require.InDelta(t, 1_336, count[flows[9]], 200)

	sizes := map[uint16]int{}
	for _, p := range IMIX(seed, Uniform(seed, 12_000)) {
		sizes[p.Size]++
	}
	require.InDelta(t, 7000, sizes[46], 250)
	require.InDelta(t, 4000, sizes[576], 250)
	require.InDelta(t, 1000, sizes[1500], 150)

	var last, sum time.Duration
	for _, e := range Churn(seed, 1000, 2, time.Hour, time.Minute) {
		require.GreaterOrEqual(t, e.At, last)
		last, sum = e.At, sum+e.At
	}
	require.InDelta(t, 30.25, (sum / 2000).Minutes(), 1.5)
}

// TestPortsAreAsMany holds the flows of a full address against the ports that it has.
func TestPortsAreAsMany(t *testing.T) { require.Len(t, Ports(seed), 65_536-1024) }

func TestFlowSize(t *testing.T) { require.EqualValues(t, 16, unsafe.Sizeof(Flow{})) }

func BenchmarkFill(b *testing.B) {
	flows := Uniform(seed, RingSize)
	ring := NewRing(false)
	b.ReportAllocs()
	for b.Loop() {
		ring.Fill(flows)
	}
}
