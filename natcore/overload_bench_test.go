package natcore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
)

// BenchmarkOverloadNewSession makes sessions of one host with a block of 256 ports, each with a mapping of its own: at ports that are
// shared by 20 towards different remote endpoints, and towards one to which every port serves already, which is refused.
func BenchmarkOverloadNewSession(b *testing.B) {
	for _, refused := range []bool{false, true} {
		b.Run(fmt.Sprintf("refused=%v", refused), func(b *testing.B) {
			n := newNAT(b, func(c *natcore.Config) {
				small(1024, 2047, 256)(c)
				p := &c.Pools[0]
				p.Blocks.MaxBlocks, p.Mapping, p.Overload = 1, natcore.AddressAndPortDependent, true
			})
			const each = 5000
			var packets [each][]byte
			for i := range packets {
				packets[i] = build(b, udp, endpoint(hostA, 1024+i), remoteN(i%250), nil, tcpFlags{})
			}
			fill := func() {
				for i := range 256 {
					n.Outbound(build(b, udp, endpoint(hostA, 20000+i), s1p1, nil, tcpFlags{}), n.now)
				}
			}
			fill()
			last := build(b, udp, endpoint(hostA, 30000), s1p1, nil, tcpFlags{})
			scratch := make([]byte, 100)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if refused {
					n.Outbound(scratch[:copy(scratch, last)], n.now)
					continue
				}
				if n.Outbound(scratch[:copy(scratch, packets[i])], n.now); i == each-1 {
					b.StopTimer()
					for range 3 {
						n.wait(10 * time.Minute)
						n.expire()
					}
					fill()
					b.StartTimer()
					i = -1
				}
				i++
			}
		})
	}
}
