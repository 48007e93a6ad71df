package flowmask

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// The configuration of the bug report: 128 external addresses, 2 protocols, 16 classes of destination,
// 4 of destination port.
const (
	reportFields = "flow:src-ip,proto,dst-ip,dst-port"
	reportMask   = "255.192.0.127,1,0.0.15.0,3"
	reportSelect = "0.0.0.127,1,0.0.15.0,3" // without the prefix that is the same for all clients
)

// reportFlows returns flows of clients in 100.64.0.0/10 to anywhere.
func reportFlows(n int, six bool) []Flow {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]Flow, n)
	for i := range out {
		src := [4]byte{100, 64 | byte(r.Uint32()&63), byte(r.Uint32()), byte(r.Uint32())}
		dst := [4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}
		proto := []uint8{6, 17}[r.Uint32()&1]
		sport, dport := uint16(r.Uint32()), uint16(r.Uint32())
		if six {
			var s, d [16]byte
			s[0], d[0] = 0x20, 0x20
			copy(s[12:], src[:])
			copy(d[12:], dst[:])
			out[i] = NewFlow(0, proto, netip.AddrPortFrom(netip.AddrFrom16(s), sport), netip.AddrPortFrom(netip.AddrFrom16(d), dport))
			continue
		}
		out[i] = FlowFrom4(0, proto, src, dst, sport, dport)
	}
	return out
}

// reportInstances returns one flow for each of the 16,384 instances of the report.
func reportInstances() []Flow {
	var out []Flow
	for client := range 128 {
		for _, proto := range []uint8{6, 17} {
			for dst := range 16 {
				for port := range 4 {
					out = append(out, FlowFrom4(0, proto, [4]byte{100, 64, 0, byte(client)}, [4]byte{0, 0, byte(dst), 0}, 0, uint16(port)))
				}
			}
		}
	}
	return out
}

// benchFlows is how many flows a benchmark goes through: a power of two.
const benchFlows = 1 << 14

func BenchmarkIndex(b *testing.B) {
	for _, c := range []struct{ name, mask, fields string }{
		{"report", reportSelect, reportFields},
		{"report-24-bits", reportMask, reportFields},
		{"one-run", "0.0.255.255", "src-ip"},
		{"every-second-bit", "85.85.85.85,85,85", "src-ip,src-port,dst-port"},
		{"ipv6", "::7f,1,::f00,3", reportFields},
	} {
		m := MustParseMask(c.mask, c.fields)
		x, err := NewIndex(m)
		if err != nil {
			b.Fatal(err)
		}
		const n = 512 // fits the first cache, as a packet's fields do when they are asked for
		flows := reportFlows(n, m.Is6())
		b.Run(fmt.Sprintf("mask=%s/bits=%d", c.name, m.Ones()), func(b *testing.B) {
			b.ReportAllocs()
			var sum uint32
			i := 0
			for b.Loop() {
				v, _ := x.Of(flows[i&(n-1)])
				sum += v
				i++
			}
			sink = uint64(sum)
		})
	}
}

var sink uint64

// BenchmarkSelect is the choice among the 16,384 instances of the report, by each way that there is.
func BenchmarkSelect(b *testing.B) {
	flows := reportFlows(benchFlows, false)
	entries := reportInstances()
	mask := MustParseMask(reportMask, reportFields)

	// Each way says how many times the table's time it takes.
	var base float64
	ratio := func(b *testing.B) {
		ns := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
		if base == 0 {
			base = ns
		}
		b.ReportMetric(ns/base, "x-table")
	}

	b.Run("way=table/entries=16384", func(b *testing.B) {
		base = 0
		t := NewTable[uint32](mask, [16]byte{1})
		for i, f := range entries {
			if err := t.Insert(f, uint32(i)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		var sum uint64
		i := 0
		for b.Loop() {
			v, ok := t.Lookup(flows[i&(benchFlows-1)])
			if !ok {
				b.Fatal("no instance")
			}
			sum += uint64(v)
			i++
		}
		sink = sum
		ratio(b)
	})
	b.Run("way=index-and-slice/entries=16384", func(b *testing.B) {
		x, err := NewIndex(MustParseMask(reportSelect, reportFields))
		if err != nil {
			b.Fatal(err)
		}
		values := make([]uint32, x.Len())
		for i, f := range entries {
			at, _ := x.Of(f)
			values[at] = uint32(i)
		}
		b.ReportAllocs()
		var sum uint64
		i := 0
		for b.Loop() {
			at, _ := x.Of(flows[i&(benchFlows-1)])
			sum += uint64(values[at])
			i++
		}
		sink = sum
		ratio(b)
	})
	b.Run("way=classifier-8-masks/entries=16384", func(b *testing.B) {
		c := NewClassifier[uint32]([16]byte{1})
		for i, f := range entries {
			m := MustParseMask(fmt.Sprintf("255.192.0.127,1,0.0.15.0,%d", 3+i%8*256), reportFields)
			if err := c.Insert(Rule[uint32]{Number: uint32(i), Mask: m, Flow: f, Value: uint32(i)}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		var sum uint64
		i := 0
		for b.Loop() {
			v, _ := c.Lookup(flows[i&(benchFlows-1)])
			sum += uint64(v)
			i++
		}
		sink = sum
		ratio(b)
	})
	b.Run("way=go-map-struct-key/entries=16384", func(b *testing.B) {
		type key struct {
			src, dst [4]byte
			proto    uint8
			dport    uint16
		}
		keyOf := func(f Flow) key {
			s, d := uint32(f.a>>32)&0xffc0007f, uint32(f.a)&0x00000f00
			return key{
				[4]byte{byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)},
				[4]byte{byte(d >> 24), byte(d >> 16), byte(d >> 8), byte(d)}, f.Proto() & 1, f.DstPort() & 3,
			}
		}
		t := make(map[key]uint32, len(entries))
		for i, f := range entries {
			t[keyOf(f)] = uint32(i)
		}
		b.ReportAllocs()
		var sum uint64
		i := 0
		for b.Loop() {
			v, ok := t[keyOf(flows[i&(benchFlows-1)])]
			if !ok {
				b.Fatal("no instance")
			}
			sum += uint64(v)
			i++
		}
		sink = sum
		ratio(b)
	})
	b.Run("way=go-map-masked-key/entries=16384", func(b *testing.B) {
		t := make(map[Key]uint32, len(entries))
		for i, f := range entries {
			t[mask.Apply(f)] = uint32(i)
		}
		b.ReportAllocs()
		var sum uint64
		i := 0
		for b.Loop() {
			v, ok := t[mask.Apply(flows[i&(benchFlows-1)])]
			if !ok {
				b.Fatal("no instance")
			}
			sum += uint64(v)
			i++
		}
		sink = sum
		ratio(b)
	})
	b.Run("way=linear-rule-list/entries=16384", func(b *testing.B) {
		// What the report replaces: one rule per instance, tried one after the other.
		type rule struct{ srcMask, src, dstMask, dst, protoMask, proto, portMask, port uint32 }
		var rules []rule
		for _, f := range entries {
			rules = append(rules, rule{0xffc0007f, uint32(f.a>>32) & 0xffc0007f, 0xf00, uint32(f.a) & 0xf00, 1, uint32(f.Proto()) & 1, 3, uint32(f.DstPort()) & 3})
		}
		b.ReportAllocs()
		var sum uint64
		i := 0
		for b.Loop() {
			f := &flows[i&(benchFlows-1)]
			src, dst, proto, port := uint32(f.a>>32), uint32(f.a), uint32(f.Proto()), uint32(f.DstPort())
			for j := range rules {
				r := &rules[j]
				if src&r.srcMask == r.src && dst&r.dstMask == r.dst && proto&r.protoMask == r.proto && port&r.portMask == r.port {
					sum += uint64(j)
					break
				}
			}
			i++
		}
		sink = sum
		ratio(b)
	})
}

func BenchmarkHash(b *testing.B) {
	h := NewHasher([16]byte{1})
	for _, six := range []bool{false, true} {
		flows := reportFlows(benchFlows, six)
		family := map[bool]string{false: "ipv4", true: "ipv6"}[six]
		b.Run("kind=flow/family="+family, func(b *testing.B) {
			i := 0
			for b.Loop() {
				sink += h.Flow(flows[i&(benchFlows-1)])
				i++
			}
		})
		b.Run("kind=symmetric/family="+family, func(b *testing.B) {
			i := 0
			for b.Loop() {
				sink += h.Symmetric(flows[i&(benchFlows-1)])
				i++
			}
		})
	}
}

func BenchmarkTable(b *testing.B) {
	for _, six := range []bool{false, true} {
		family := map[bool]string{false: "ipv4", true: "ipv6"}[six]
		for _, n := range []int{1 << 10, 1 << 14, 1 << 18} {
			flows := reportFlows(n, six)
			m := FullMask(SrcIP|DstIP|SrcPort|DstPort|Proto, six)
			b.Run(fmt.Sprintf("op=lookup/family=%s/entries=%d", family, n), func(b *testing.B) {
				t := NewTable[uint32](m, [16]byte{1})
				for i, f := range flows {
					_, _ = t.Replace(f, uint32(i))
				}
				rand.Shuffle(n, func(i, j int) { flows[i], flows[j] = flows[j], flows[i] })
				i := 0
				for b.Loop() {
					v, _ := t.Lookup(flows[i&(n-1)])
					sink += uint64(v)
					i++
				}
			})
		}
	}
	b.Run("op=insert-delete/entries=16384", func(b *testing.B) {
		flows := reportFlows(benchFlows, false)
		t := NewTable[uint32](FullMask(SrcIP|DstIP|SrcPort|DstPort|Proto, false), [16]byte{1})
		for i, f := range flows {
			_, _ = t.Replace(f, uint32(i))
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			f := flows[i&(benchFlows-1)]
			v, _ := t.Delete(f)
			_ = t.Insert(f, v)
			i++
		}
	})
}

func BenchmarkSpread(b *testing.B) {
	m := MustParseMask(reportMask, reportFields)
	flows := reportFlows(benchFlows, false)
	for _, n := range []int{3, 16, 128} {
		var in []Instance
		for i := range n {
			in = append(in, Instance{fmt.Sprint("nat", i), uint16(1 + i%3)})
		}
		s, err := NewSpread([16]byte{}, in...)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("instances=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				sink += uint64(s.Pick(m.Apply(flows[i&(benchFlows-1)])))
				i++
			}
		})
	}
}
