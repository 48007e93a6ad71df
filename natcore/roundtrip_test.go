package natcore_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// checksumOffset is where the transport checksum stands in a packet that build made.
var checksumOffset = map[kind]int{udp: 20 + 6, tcp: 20 + 16, icmp: 20 + 2}

// damage adds to the checksums of a packet: to the header's, to the transport's. Adding 0 does nothing.
func damage(k kind, b []byte, header, transport uint16) {
	for _, c := range []struct {
		at  int
		add uint16
	}{{10, header}, {checksumOffset[k], transport}} {
		s := uint32(binary.BigEndian.Uint16(b[c.at:])) + uint32(c.add)
		binary.BigEndian.PutUint16(b[c.at:], uint16(s>>16+s&0xffff))
	}
}

// TestRule7_RoundTrip sends a packet out and its answer in. Both must be, byte for
// byte, what gopacket builds for the endpoints that the receiver sees; a
// checksum that was wrong stays wrong, and an absent one stays absent.
func TestRule7_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNAT(t)
		k := kind(rapid.IntRange(0, 2).Draw(t, "kind"))
		src := endpoint(hostA, rapid.SampledFrom([]int{1, 1023, 1024, 40000, 65535}).Draw(t, "port"))
		dst := endpoint(server1, rapid.SampledFrom([]int{1, 53, 65535}).Draw(t, "remote port"))
		if k == icmp {
			dst = endpoint(server1, 0)
		}
		wrongHeader := rapid.SampledFrom([]uint16{0, 0, 1, 0x8000, 0xfffe}).Draw(t, "wrong header")
		wrong := rapid.SampledFrom([]uint16{0, 0, 1, 0x8000, 0xfffe}).Draw(t, "wrong transport")
		absent := k == udp && rapid.IntRange(0, 3).Draw(t, "no checksum") == 0
		payload := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "payload")
		flags := tcpFlags{syn: true, seq: 1000}

		b := build(t, k, src, dst, payload, flags)
		damage(k, b, wrongHeader, wrong)
		if absent {
			binary.BigEndian.PutUint16(b[checksumOffset[k]:], 0)
		} else if k == udp && binary.BigEndian.Uint16(b[checksumOffset[k]:]) == 0 {
			return // the damage made it absent
		}
		verdict, why := n.Outbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		e := read(t, b)
		direct := build(t, k, e.src, dst, payload, flags)
		compare(t, k, direct, b, wrongHeader, wrong, absent)

		answer := tcpFlags{syn: true, ack: true, seq: 5000}
		b = build(t, k, dst, e.src, payload, answer)
		damage(k, b, wrongHeader, wrong)
		verdict, why = n.Inbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		compare(t, k, build(t, k, dst, src, payload, answer), b, wrongHeader, wrong, false)
	})
}

// compare requires that got is want but for the checksums that were made wrong.
func compare(t failer, k kind, want, got []byte, wrongHeader, wrong uint16, absent bool) {
	t.Helper()
	s := read(t, got)
	require.Equal(t, wrongHeader == 0, s.rightIP, "header checksum of %x", got)
	if absent {
		require.Zero(t, binary.BigEndian.Uint16(got[checksumOffset[k]:]), "a checksum came out of nowhere")
	} else {
		require.Equal(t, wrong == 0, s.right, "transport checksum of %x", got)
	}
	want, got = bytes.Clone(want), bytes.Clone(got)
	if wrongHeader != 0 {
		copy(got[10:12], want[10:12])
	}
	if wrong != 0 || absent {
		copy(got[checksumOffset[k]:][:2], want[checksumOffset[k]:])
	}
	require.Equal(t, want, got)
}
