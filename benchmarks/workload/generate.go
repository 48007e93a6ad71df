package workload

import (
	"math"
	"slices"
	"time"
)

// Uniform returns n different UDP flows of MinSize in random order: 64 flows
// an internal host, to 16 remote hosts. Taken in order, each flow is as likely as any other.
func Uniform(seed uint64, n int) []Flow {
	r := newRand(seed, 2)
	flows := make([]Flow, n)
	var first uint16
	for i := range flows {
		if i%FlowsPerHost == 0 {
			first = uint16(r.UintN(16384))
		}
		flows[i] = Flow{
			Src: InternalBase + 1 + uint32(i/FlowsPerHost), SrcPort: 16384 + (first+uint16(i%FlowsPerHost)*257)%49152,
			Dst: RemoteBase + 1 + uint32(r.UintN(Remotes)), DstPort: 443, Proto: UDP, Size: MinSize,
		}
	}
	Shuffle(seed, flows)
	return flows
}

// UniformTCP is Uniform with TCP flows whose packets are ACKs.
func UniformTCP(seed uint64, n int) []Flow {
	flows := Uniform(seed, n)
	for i := range flows {
		flows[i].Proto, flows[i].Flags = TCP, FlagACK
	}
	return flows
}

// Repeated returns n packets of the flows, each one of any of them.
func Repeated(seed uint64, flows []Flow, n int) []Flow {
	r := newRand(seed, 8)
	packets := make([]Flow, n)
	for i := range packets {
		packets[i] = flows[r.IntN(len(flows))]
	}
	return packets
}

// Ports returns a flow for each port of one external address, 1024 to 65535: 252 hosts with 256 each, all to one remote
// endpoint, so that no port serves twice.
func Ports(seed uint64) []Flow {
	const hosts, each = 252, 256
	r := newRand(seed, 9)
	flows := make([]Flow, 0, hosts*each)
	for h := range uint32(hosts) {
		first := r.UintN(64512)
		for p := range uint(each) {
			flows = append(flows, Flow{
				Src: InternalBase + 1 + h, SrcPort: 1024 + uint16((first+p*40503)%64512), Dst: RemoteBase + 1, DstPort: 443, Proto: UDP, Size: MinSize,
			})
		}
	}
	Shuffle(seed, flows)
	return flows
}

// Zipf returns n packets of the flows, of which the i-th most frequent one has a share
// that falls as 1/i^s: few flows carry most packets. s is larger than 0; 1.0 to 1.1 is usual for traffic.
func Zipf(seed uint64, flows []Flow, n int, s float64) []Flow {
	r := newRand(seed, 3)
	cumulated := make([]float64, len(flows))
	total := 0.0
	for i := range cumulated {
		total += math.Pow(float64(i+1), -s)
		cumulated[i] = total
	}
	packets := make([]Flow, n)
	for i := range packets {
		at, _ := slices.BinarySearch(cumulated, r.Float64()*total)
		packets[i] = flows[min(at, len(flows)-1)]
	}
	return packets
}

// IMIX gives packets the sizes of the simple Internet mix: 7 of 46 (40 does
// not fill a frame), 4 of 576 and 1 of 1,500 bytes.
func IMIX(seed uint64, packets []Flow) []Flow {
	r := newRand(seed, 4)
	out := slices.Clone(packets)
	for i := range out {
		switch d := r.UintN(12); {
		case d < 7:
			out[i].Size = MinSize
		case d < 11:
			out[i].Size = 576
		default:
			out[i].Size = 1500
		}
	}
	return out
}

// SYNFlood returns n SYNs of 256 infected hosts to one server, each from
// another source port as far as there are any: every packet is a session of its own that is never answered.
func SYNFlood(seed uint64, n int) []Flow {
	const hosts = 256
	r := newRand(seed, 5)
	flows := make([]Flow, n)
	var start [hosts]uint16
	for i := range start {
		start[i] = uint16(r.Uint32())
	}
	for i := range flows {
		h := i % hosts
		flows[i] = Flow{
			Src: InternalBase + 1 + uint32(h), SrcPort: 1024 + uint16((uint32(start[h])+uint32(i/hosts)*40503)%64512),
			Dst: RemoteBase + 1, DstPort: 80, Proto: TCP, Flags: FlagSYN, Size: MinSize,
		}
	}
	Shuffle(seed, flows)
	return flows
}

// DNSBurst returns n queries of 4,096 hosts to two resolvers, each from a fresh source port, as resolvers'
// clients do since RFC 5452.
func DNSBurst(seed uint64, n int) []Flow {
	const hosts = 4096
	r := newRand(seed, 6)
	flows := make([]Flow, n)
	for i := range flows {
		flows[i] = Flow{
			Src: InternalBase + 1 + uint32(i%hosts), SrcPort: 1024 + uint16(uint32(i/hosts)*25111%64512),
			Dst: RemoteBase + 1 + uint32(r.UintN(2)), DstPort: 53, Proto: UDP, Size: 60 + uint16(r.UintN(4)),
		}
	}
	Shuffle(seed, flows)
	return flows
}

// Event is a packet at a time.
type Event struct {
	Flow
	At time.Duration // since the start
}

// Churn returns the packets of n flows that begin at random times within
// span, live for exponentially distributed times around mean, and send packets
// packets each, the first at their start and the others at random times of
// their life. Flows are those of Uniform; the events are in order of time.
func Churn(seed uint64, n, packets int, span, mean time.Duration) []Event {
	r := newRand(seed, 7)
	events := make([]Event, 0, n*packets)
	for _, f := range Uniform(seed, n) {
		start := time.Duration(r.Float64() * float64(span))
		life := time.Duration(r.ExpFloat64() * float64(mean))
		events = append(events, Event{f, start})
		for range packets - 1 {
			events = append(events, Event{f, start + time.Duration(r.Float64()*float64(life))})
		}
	}
	slices.SortStableFunc(events, func(a, b Event) int { return int(min(max(a.At-b.At, -1), 1)) })
	return events
}

// Pair returns the flow set of RFC 9693 section 4.1 with a single address pair: all combinations of the source
// and destination ports, each once, in pseudorandom order (section 4.4).
func Pair(seed uint64, sources, destinations int) []Flow {
	flows := make([]Flow, 0, sources*destinations)
	for s := range sources {
		for d := range destinations {
			flows = append(flows, Flow{
				Src: InternalBase + 1, SrcPort: uint16(10000 + s), Dst: RemoteBase + 1, DstPort: uint16(10000 + d),
				Proto: UDP, Size: MinSize,
			})
		}
	}
	Shuffle(seed, flows)
	return flows
}
