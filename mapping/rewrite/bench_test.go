package rewrite

import "testing"

// benchPackets are 64 copies of a vector, so that one operation does not wait for
// the stores of the one before.
func benchPackets(b *testing.B, i int) (pkts [64][]byte, parsed [64]Packet4) {
	for k := range pkts {
		pkts[k] = unhex(b, vectors[i].before)
		Parse4(pkts[k], &parsed[k])
	}
	return pkts, parsed
}

var benchVectors = []struct {
	name string
	i    int
}{{"udp", 0}, {"tcp", 3}, {"echo", 4}}

func BenchmarkParse4(b *testing.B) {
	for _, v := range append(benchVectors, struct {
		name string
		i    int
	}{"error", 5}) {
		b.Run("packet="+v.name, func(b *testing.B) {
			pkts, parsed := benchPackets(b, v.i)
			k := 0
			for b.Loop() {
				Parse4(pkts[k&63], &parsed[k&63])
				k++
			}
		})
	}
}

func BenchmarkSetSource(b *testing.B) {
	for _, v := range benchVectors {
		b.Run("packet="+v.name, func(b *testing.B) {
			pkts, parsed := benchPackets(b, v.i)
			k := 0
			for b.Loop() {
				parsed[k&63].SetSource(pkts[k&63], addrE+uint32(k), uint16(k))
				k++
			}
		})
	}
}

func BenchmarkSetDestination(b *testing.B) {
	for _, v := range benchVectors {
		b.Run("packet="+v.name, func(b *testing.B) {
			pkts, parsed := benchPackets(b, v.i)
			k := 0
			for b.Loop() {
				parsed[k&63].SetDestination(pkts[k&63], addrE+uint32(k), uint16(k))
				k++
			}
		})
	}
}

// BenchmarkTranslate4 is parse and one endpoint: what an engine adds to a look-up.
func BenchmarkTranslate4(b *testing.B) {
	for _, v := range benchVectors {
		b.Run("packet="+v.name, func(b *testing.B) {
			pkts, _ := benchPackets(b, v.i)
			k := 0
			for b.Loop() {
				var p Packet4
				Parse4(pkts[k&63], &p)
				p.SetSource(pkts[k&63], addrE+uint32(k), uint16(k))
				k++
			}
		})
	}
}

// BenchmarkQuoted4 is an inbound ICMP error, both packets parsed and rewritten.
func BenchmarkQuoted4(b *testing.B) {
	pkts, _ := benchPackets(b, 5)
	k := 0
	for b.Loop() {
		var p, q Packet4
		pkt := pkts[k&63]
		Parse4(pkt, &p)
		ParseQuoted4(pkt, &p, &q)
		p.SetDestination(pkt, addrA+uint32(k), 0)
		p.SetQuotedSource(pkt, &q, addrA+uint32(k), uint16(k))
		k++
	}
}

// BenchmarkTranslate6 is BenchmarkTranslate4 for IPv6.
func BenchmarkTranslate6(b *testing.B) {
	pkt := plain6(6, addr6A, addr6S, tcp4(1, 2, 0, nil, make([]byte, 1000)))
	to, k := addr6E, 0
	for b.Loop() {
		var p Packet6
		Parse6(pkt, &p)
		to[15] = byte(k)
		p.SetSource(pkt, to, uint16(k))
		k++
	}
}

func BenchmarkApply(b *testing.B) {
	pkts, _ := benchPackets(b, 0)
	tr, k := from(outsideA), 0
	for b.Loop() {
		_ = Apply(pkts[k&63], tr)
		k++
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{20, 64, 1500} {
		b.Run("bytes="+map[int]string{20: "20", 64: "64", 1500: "1500"}[n], func(b *testing.B) {
			buf := make([]byte, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				Checksum(buf)
			}
		})
	}
}
