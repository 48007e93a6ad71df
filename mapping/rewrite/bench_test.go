package rewrite

import (
	"testing"
)

func BenchmarkParse4(b *testing.B) {
	for _, i := range []int{0, 3, 4, 5} {
		b.Run("packet="+vectors[i].name, func(b *testing.B) {
			pkt := unhex(b, vectors[i].before)
			var p Packet4
			for b.Loop() {
				Parse4(pkt, &p)
			}
		})
	}
}

func BenchmarkSetSource(b *testing.B) {
	for _, i := range []int{0, 3, 4} {
		b.Run("packet="+vectors[i].name, func(b *testing.B) {
			pkt := unhex(b, vectors[i].before)
			var p Packet4
			Parse4(pkt, &p)
			a := uint32(0xcb007105)
			for b.Loop() {
				p.SetSource(pkt, a, uint16(a))
				a += 0x01010101
			}
		})
	}
}

func BenchmarkSetDestination(b *testing.B) {
	pkt := unhex(b, vectors[0].before)
	var p Packet4
	Parse4(pkt, &p)
	a := uint32(0xcb007105)
	for b.Loop() {
		p.SetDestination(pkt, a, uint16(a))
		a += 0x01010101
	}
}

func BenchmarkParseAndTranslate4(b *testing.B) {
	for _, i := range []int{0, 3} {
		b.Run("packet="+vectors[i].name, func(b *testing.B) {
			pkt := unhex(b, vectors[i].before)
			a := uint32(0xcb007105)
			for b.Loop() {
				var p Packet4
				Parse4(pkt, &p)
				p.SetSource(pkt, a, uint16(a))
				a += 0x01010101
			}
		})
	}
}

func BenchmarkQuoted4(b *testing.B) {
	pkt := unhex(b, vectors[5].before)
	a := uint32(0xcb007105)
	for b.Loop() {
		var p, q Packet4
		Parse4(pkt, &p)
		ParseQuoted4(pkt, &p, &q)
		p.SetDestination(pkt, a, 0)
		p.SetQuotedSource(pkt, &q, a, uint16(a))
		a += 0x01010101
	}
}
