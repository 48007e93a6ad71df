package natcore_test

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// TestErrorsAndFragmentsAtOnce: callers at once bring refused packets, SYNs that nobody admits, fragments, and packets that they
// reject, and all fetch and expire; what is counted is what is there.
func TestErrorsAndFragmentsAtOnce(t *testing.T) {
	n := newNAT(t, filtered, func(c *natcore.Config) {
		c.Limits.SessionsPerSubscriber, c.Limits.Fragments = 20, 40
		c.ICMP.SYNs, c.ICMP.SYNsPerAddress, c.ICMP.PerReceiver = 30, 10, 100
	})
	e := n.out(t, tcp, endpoint(host(0), 1), s1p1)
	var callers sync.WaitGroup
	for g := range 4 {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 7))
			now := n.now
			var drained []natcore.Packet
			for i := range 400 {
				now = now.Add(time.Duration(r.IntN(100)) * time.Millisecond)
				src := endpoint(host(r.IntN(8)), 1+r.IntN(40))
				batch := []natcore.Packet{
					{Bytes: build(t, udp, src, s1p1, make([]byte, 100), tcpFlags{})},
					{Bytes: build(t, tcp, endpoint(server2, 1+r.IntN(50)), e, nil, tcpFlags{syn: true}), Direction: natcore.Inbound},
				}
				for _, f := range split(batch[0].Bytes, 40) {
					batch = append(batch, natcore.Packet{Bytes: numbered(f, r.IntN(9))})
				}
				r.Shuffle(len(batch), func(a, b int) { batch[a], batch[b] = batch[b], batch[a] })
				n.Process(batch, now)
				n.Reject(&batch[0], rewrite.FragmentationNeeded(600), now)
				drained = n.Drain(drained[:0])
				for j := range drained {
					b := drained[j].Bytes
					if !bytes.Equal(b[:1], []byte{0x45}) || sum(b[:20], 0) != 0xffff {
						t.Errorf("no packet: %x", b)
					}
				}
				if i%20 == 0 {
					n.Expire(now, 1000)
				}
			}
		})
	}
	callers.Wait()
	check(t, n)
	n.wait(time.Hour)
	n.expire()
	n.Drain(nil)
	check(t, n)
	st := n.Stats()
	require.Zero(t, st.Datagrams+st.FragmentsHeld+st.SYNsHeld)
	require.Positive(t, st.ErrorsBuilt)
}
