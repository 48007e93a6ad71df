package natcore_test

import (
	"fmt"
	"testing"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// BenchmarkStatic measures packets of known static sessions, one by one: from outside to a mapped port, and with twice NAT.
func BenchmarkStatic(b *testing.B) {
	for _, twice := range []bool{false, true} {
		for _, flows := range []int{1, 10_000} {
			b.Run(fmt.Sprintf("twice=%v/flows=%d", twice, flows), func(b *testing.B) {
				s := balanced(1, 1)
				if twice {
					s.Sources = alloc.MustParseRanges("10.255.0.0/24")
				}
				n := newNAT(b, withStatic(s))
				packets := make([][]byte, flows)
				for i := range packets {
					from := client(i%60000, 4000+i/60000)
					require.Equal(b, natcore.Forward, n.comes(b, tcp, from, at("203.0.113.5:80"), synFlags).verdict)
					packets[i] = build(b, tcp, from, at("203.0.113.5:80"), nil, ackFlags)
				}
				var buffer [64]byte
				batch := make([]natcore.Packet, 1)
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					batch[0] = natcore.Packet{Bytes: buffer[:copy(buffer[:], packets[i])], Direction: natcore.Inbound}
					n.Process(batch, n.now)
					if i++; i == flows {
						i = 0
					}
				}
				require.Equal(b, natcore.Forward, batch[0].Verdict)
			})
		}
	}
}

// BenchmarkStaticNewSession measures a session from outside that begins and ends, with a choice of servers and a source endpoint.
func BenchmarkStaticNewSession(b *testing.B) {
	s := balanced(1, 2, 3)
	s.Sources = alloc.MustParseRanges("10.255.0.0/24")
	n := newNAT(b, withStatic(s))
	first := build(b, tcp, client(1, 4000), at("203.0.113.5:80"), nil, synFlags)
	var buffer [64]byte
	batch := make([]natcore.Packet, 1)
	i := 0
	for b.Loop() {
		p := buffer[:copy(buffer[:], first)]
		p[14], p[15] = byte(i>>8), byte(i) // another client: the checksums are then wrong, and stay so
		batch[0] = natcore.Packet{Bytes: p, Direction: natcore.Inbound}
		n.Process(batch, n.now)
		if i++; i%30_000 == 0 {
			n.wait(200 * 1e9)
			n.expire()
			n.wait(200 * 1e9)
		}
	}
	require.Equal(b, natcore.Forward, batch[0].Verdict, "%v", batch[0].Reason)
}
