package natcore_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestFragmentsAtRandom: hosts that share an address send cut datagrams with few identifications, both ways, shuffled, repeated and lost, with
// little room and jumps of time. What leaves under one header and identification is put together by a receiver that knows
// nothing: it is never a mixture of two datagrams, and a datagram that is there in full is as it was sent.
func TestFragmentsAtRandom(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			n := newNAT(t, func(c *natcore.Config) {
				c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
				c.Limits.Fragments, c.Limits.FragmentBytes = 10+r.IntN(60), 2000+r.IntN(20000)
				c.Limits.FragmentsPerSubscriber = 4 + r.IntN(20)
			})
			var external [4]netip.AddrPort
			for h := range external {
				external[h] = n.out(t, udp, endpoint(host(h), 40000), s1p1)
			}
			type header struct {
				src, dst netip.Addr
				id       uint16
			}
			type received struct {
				who  byte
				data map[int]byte
				end  int
				at   time.Time
			}
			got := map[header]*received{}
			whole, next := 0, 1000
			receive := func(b []byte) {
				t.Helper()
				k := header{netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), idOf(b)}
				x := got[k]
				if x == nil || n.now.Sub(x.at) > 30*time.Second || x.end > 0 && len(x.data) == x.end {
					x = &received{data: map[int]byte{}, at: n.now}
					got[k] = x
				}
				field := binary.BigEndian.Uint16(b[6:])
				from := int(field&0x1fff) * 8
				for i, v := range b[20:] {
					if at := from + i; at >= 8 { // the payload; all bytes of a datagram are its sender's number
						require.True(t, x.who == 0 || x.who == v, "datagrams of %d and %d are mixed", x.who, v)
						x.who = v
					}
					x.data[from+i] = v
				}
				if field&0x2000 == 0 {
					x.end = from + len(b) - 20
				}
				if x.end > 0 && len(x.data) == x.end {
					whole++
				}
			}
			var queue []natcore.Packet
			for step := range 1500 {
				for len(queue) < 12 {
					h := r.IntN(len(external))
					src, dst, d := endpoint(host(h), 40000), s1p1, natcore.Outbound
					if r.IntN(3) == 0 {
						src, dst, d = s1p1, external[h], natcore.Inbound
					}
					// The remote end never uses an identification again; the hosts use few.
					id := r.IntN(20)
					if d == natcore.Inbound {
						next++
						id = next
					}
					payload := bytes.Repeat([]byte{byte(1 + h)}, 20+r.IntN(200))
					for _, f := range split(build(t, udp, src, dst, payload, tcpFlags{}), 8*(2+r.IntN(8))) {
						if r.IntN(30) > 0 {
							queue = append(queue, natcore.Packet{Bytes: numbered(f, id), Direction: d})
						}
						if r.IntN(30) == 0 {
							queue = append(queue, natcore.Packet{Bytes: numbered(f, id), Direction: d})
						}
					}
				}
				i := r.IntN(min(len(queue), 6))
				batch := []natcore.Packet{queue[i]}
				queue = append(queue[:i], queue[i+1:]...)
				n.Process(batch, n.now)
				if batch[0].Verdict == natcore.Forward {
					receive(batch[0].Bytes)
				}
				if r.IntN(4) == 0 {
					for _, p := range n.Drain(nil) {
						require.Equal(t, natcore.Forward, p.Verdict)
						receive(p.Bytes)
					}
				}
				if r.IntN(100) == 0 {
					n.wait(time.Duration(r.IntN(12)) * time.Second)
				}
				if step%100 == 0 {
					check(t, n)
				}
			}
			require.Greater(t, whole, 50)
			n.wait(time.Minute)
			n.expire()
			check(t, n)
			st := n.Stats()
			require.Zero(t, st.Datagrams+st.FragmentsHeld)
		})
	}
}
