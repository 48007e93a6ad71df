package layers

import (
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/blocknat/blocknat/mapping/rewrite"
)

// BenchmarkApply decodes into kept layers and translates them.
func BenchmarkApply(b *testing.B) {
	pkt := shape{kind: "udp", src: a4, dst: s4, payload: make([]byte, 36)}.build()
	var ip layers.IPv4
	var udp layers.UDP
	ls := []gopacket.Layer{&ip, &udp}
	t := rewrite.Translation{Source: e4}
	b.ReportAllocs()
	for b.Loop() {
		_ = ip.DecodeFromBytes(pkt, gopacket.NilDecodeFeedback)
		_ = udp.DecodeFromBytes(ip.Payload, gopacket.NilDecodeFeedback)
		if err := Apply(ls, t); err != nil {
			b.Fatal(err)
		}
	}
}
