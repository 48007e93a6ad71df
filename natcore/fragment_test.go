package natcore_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// split cuts a packet into fragments of size payload bytes (a multiple of 8), by RFC 791 section 3.2.
func split(b []byte, size int) [][]byte {
	var fragments [][]byte
	payload := b[20:]
	for at := 0; at < len(payload); at += size {
		end := min(at+size, len(payload))
		f := append(bytes.Clone(b[:20]), payload[at:end]...)
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		field := uint16(at / 8)
		if end < len(payload) {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(f[6:], field)
		f[10], f[11] = 0, 0
		c := ^sum(f[:20], 0)
		f[10], f[11] = byte(c>>8), byte(c)
		fragments = append(fragments, f)
	}
	return fragments
}

// join puts fragments together again, whatever their order, and requires right header checksums and equal addresses.
func join(t failer, fragments [][]byte) []byte {
	t.Helper()
	var whole []byte
	size := 0
	for _, f := range fragments {
		require.EqualValues(t, 0xffff, sum(f[:20], 0), "header checksum of a fragment")
		require.Equal(t, fragments[0][12:20], f[12:20], "all fragments go from one address to one")
		at := int(binary.BigEndian.Uint16(f[6:])&0x1fff) * 8
		size = max(size, at+len(f)-20)
		whole = append(whole, make([]byte, max(0, 20+size-len(whole)))...)
		copy(whole[20+at:], f[20:])
	}
	copy(whole, fragments[0][:20])
	binary.BigEndian.PutUint16(whole[2:], uint16(len(whole)))
	binary.BigEndian.PutUint16(whole[6:], 0x4000)
	whole[10], whole[11] = 0, 0
	c := ^sum(whole[:20], 0)
	whole[10], whole[11] = byte(c>>8), byte(c)
	return whole
}

// pass gives fragments to the engine and returns all that it forwards, at once or later.
func (n *nat) pass(t failer, dir natcore.Direction, want natcore.Verdict, fragments [][]byte) [][]byte {
	t.Helper()
	var passed [][]byte
	for _, f := range fragments {
		batch := []natcore.Packet{{Bytes: bytes.Clone(f), Direction: dir}}
		n.Process(batch, n.now)
		switch batch[0].Verdict {
		case want:
			passed = append(passed, batch[0].Bytes)
		case natcore.Held:
			require.Equal(t, f, batch[0].Bytes, "a held packet is as it came")
		default:
			require.Fail(t, "fragment dropped", "%v", batch[0].Reason)
		}
		for _, p := range n.Drain(nil) {
			require.Equal(t, want, p.Verdict)
			passed = append(passed, p.Bytes)
		}
	}
	return passed
}

var permutations = [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}

// TestRFC4787_14_FragmentsInAnyOrder sends datagrams of three fragments in all six
// orders, out, in and hairpinned: put together again they are the packet that a NAT makes of the whole one (B22, B23, B26).
func TestRFC4787_14_FragmentsInAnyOrder(t *testing.T) {
	payload := bytes.Repeat([]byte("fragment"), 9)
	for _, k := range []kind{udp, tcp, icmp} {
		for _, order := range permutations {
			t.Run(fmt.Sprint(k, order), func(t *testing.T) {
				n := newNAT(t)
				a, s := endpoint(hostA, 40000), endpoint(server1, 443)
				if k == icmp {
					s = endpoint(server1, 0)
				}
				shuffled := func(b []byte) [][]byte {
					f := split(b, 32)
					require.Len(t, f, 3)
					return [][]byte{f[order[0]], f[order[1]], f[order[2]]}
				}
				passed := n.pass(t, natcore.Outbound, natcore.Forward, shuffled(build(t, k, a, s, payload, tcpFlags{syn: true})))
				require.Len(t, passed, 3)
				e := read(t, join(t, passed))
				require.True(t, e.right)
				require.Equal(t, payload, e.payload)
				require.True(t, n.External(e.src.Addr()))

				answer := tcpFlags{syn: true, ack: true, seq: 7}
				passed = n.pass(t, natcore.Inbound, natcore.Forward, shuffled(build(t, k, s, e.src, payload, answer)))
				require.Len(t, passed, 3)
				require.Equal(t, build(t, k, s, a, payload, answer), join(t, passed))

				if k == icmp {
					return
				}
				b := endpoint(hostB, 41000)
				passed = n.pass(t, natcore.Outbound, natcore.Hairpin, shuffled(build(t, k, b, e.src, payload, tcpFlags{syn: true})))
				require.Len(t, passed, 3)
				h := read(t, join(t, passed))
				require.True(t, h.right)
				require.Equal(t, a, h.dst)
				require.True(t, n.External(h.src.Addr()))
				check(t, n)
			})
		}
	}
}

// TestRFC4787_14a_FragmentsWithoutFirstAreBounded: a flood of fragments whose
// first one never comes fills its room and no more (ATK-10); whole packets and datagrams in order go on; the room is free again later.
func TestRFC4787_14a_FragmentsWithoutFirstAreBounded(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Limits.Fragments = 100
		c.Limits.FragmentBytes = 2000
	})
	tail := split(build(t, udp, endpoint(hostA, 1), endpoint(server1, 1), make([]byte, 64), tcpFlags{}), 32)[1]
	held := 0
	for i := range 10_000 {
		f := bytes.Clone(tail)
		binary.BigEndian.PutUint16(f[4:], uint16(i))
		copy(f[12:16], netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}).AsSlice())
		verdict, why := n.Outbound(f, n.now)
		if verdict == natcore.Held {
			held++
			continue
		}
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonFragment, why)
	}
	require.Equal(t, 2000/(len(tail)+64), held)
	require.EqualValues(t, held, n.Stats().FragmentsHeld)
	n.out(t, udp, endpoint(hostA, 40000), endpoint(server1, 53))
	n.wait(10 * time.Second)
	n.expire()
	st := n.Stats()
	require.Zero(t, st.FragmentsHeld+st.Datagrams)
	require.EqualValues(t, held, st.FragmentsLost)
	passed := n.pass(t, natcore.Outbound, natcore.Forward, split(build(t, udp, endpoint(hostA, 40000), endpoint(server1, 53), make([]byte, 64), tcpFlags{}), 32))
	require.Len(t, passed, 3)
}
