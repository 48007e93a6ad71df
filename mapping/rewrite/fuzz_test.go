package rewrite

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// addSeeds adds the vectors, one packet of each kind and length of fault, and some
// captured packets of each kind to a fuzz target's corpus.
func addSeeds(f *testing.F, add func(b []byte)) {
	for _, v := range vectors {
		add(unhex(f, v.before))
		add(unhex(f, v.after))
	}
	add(ip4(136, addrA, addrS, nil, udp4(1, 2, []byte("lite")))) // UDP-Lite
	add(fragmented(ip4(17, addrA, addrS, nil, udp4(1, 2, []byte("12345678"))), 0, true))
	add(fragmented(ip4(6, addrA, addrS, nil, make([]byte, 24)), 16, false))
	add(ip4(6, addrA, addrS, []byte{131, 7, 4, 9, 9, 9, 9, 0}, tcp4(1, 2, TCPSyn, []byte{2, 4, 5, 0x78}, nil))) // source route, MSS
	add(plain6(58, addr6R, addr6E, icmp4(3, 0, 0, plain6(17, addr6E, addr6S, udp4(1, 2, nil)))))                // quoted in ICMPv6
	add(ip6(addr6A, addr6S, addr6A, addr6S, []byte{60, 44, 6}, [][]byte{{0, 0, 1, 4, 0, 0, 0, 0}, {0, 0, 0, 1, 0, 0, 0, 1}}, tcp4(1, 2, 0, nil, nil)))
	seen := map[[3]int]int{}
	for _, p := range loadCaptures(f) {
		k := [3]int{int(p.Data[0] >> 4), int(kindOf(p.Data)), len(p.Data) % 2}
		if seen[k]++; seen[k] <= 3 {
			add(p.Data)
		}
	}
}

// guarded returns a copy of b with guard bytes on both sides, and a check that
// they are untouched.
func guarded(b []byte) (inner []byte, check func(t *testing.T)) {
	const pad = 64
	whole := bytes.Repeat([]byte{0xa7}, len(b)+2*pad)
	copy(whole[pad:], b)
	return whole[pad : pad+len(b)], func(t *testing.T) {
		edge := bytes.Repeat([]byte{0xa7}, pad)
		require.Equal(t, edge, whole[:pad], "bytes before the packet")
		require.Equal(t, edge, whole[pad+len(b):], "bytes behind the packet")
	}
}

// packetEnd is where the IP packet ends in b, for accepted packets.
func packetEnd(b []byte) int {
	if b[0]>>4 == 6 {
		return min(len(b), 40+int(binary.BigEndian.Uint16(b[4:])))
	}
	return min(len(b), int(binary.BigEndian.Uint16(b[2:])))
}

// FuzzParse4 parses and drives every IPv4 setter: no panic, nothing outside the
// packet is touched, the parsed value stays what a parse says, and the way back
// restores the bytes.
func FuzzParse4(f *testing.F) {
	addSeeds(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, in []byte) {
		b, check := guarded(in)
		defer check(t)
		var p Packet4
		if Parse4(b, &p) != FaultNone {
			return
		}
		require.LessOrEqual(t, int(p.end), len(b))
		end := packetEnd(b)
		p.CheckHeader(b)
		p.CheckTransport(b)
		if !roundTrip(t, b) {
			return // an ICMP error without a usable quote
		}
		require.Equal(t, sameZero(in), sameZero(b))
		p.DecrementTTL(b)
		p.ClampMSS(b, 100)
		p.SetID(b, 77)
		require.Equal(t, in[end:], b[end:], "trailer")
	})
}

// FuzzParse6 is FuzzParse4 for IPv6.
func FuzzParse6(f *testing.F) {
	addSeeds(f, func(b []byte) { f.Add(b) })
	f.Fuzz(func(t *testing.T, in []byte) {
		b, check := guarded(in)
		defer check(t)
		var p Packet6
		if Parse6(b, &p) != FaultNone {
			return
		}
		require.LessOrEqual(t, int(p.end), len(b))
		end := packetEnd(b)
		p.CheckTransport(b)
		if !roundTrip(t, b) {
			return
		}
		require.Equal(t, sameZero(in), sameZero(b))
		p.DecrementHopLimit(b)
		p.ClampMSS(b, 100)
		require.Equal(t, in[end:], b[end:], "trailer")
	})
}

// FuzzParseQuoted takes any bytes for a quote: inside an error, and standing alone.
func FuzzParseQuoted(f *testing.F) {
	addSeeds(f, func(b []byte) { f.Add(b, byte(3), byte(0)) })
	f.Fuzz(func(t *testing.T, quote []byte, typ, words byte) {
		if len(quote) > 60000 {
			return
		}
		for _, in := range [][]byte{
			ip4(1, addrR, addrE, nil, icmp4(typ, 0, uint32(words)<<16, quote)),
			plain6(58, addr6R, addr6E, icmp4(typ, 0, uint32(words)<<24, quote)),
		} {
			b, check := guarded(in)
			if roundTrip(t, b) {
				require.Equal(t, sameZero(in), sameZero(b))
			}
			check(t)
		}
		b, check := guarded(quote)
		defer check(t)
		var q Packet4
		if ParseEmbedded4(b, &q) == FaultNone {
			q.SetSource(b, addrE, 1)
			q.SetDestination(b, addrA, 2)
		}
		var q6 Packet6
		if ParseEmbedded6(b, &q6) == FaultNone {
			q6.SetSource(b, addr6E, 1)
			q6.SetDestination(b, addr6A, 2)
		}
	})
}

// FuzzApply compares Apply with the model on any bytes and endpoints.
func FuzzApply(f *testing.F) {
	addSeeds(f, func(b []byte) { f.Add(b, addr6E[:], uint16(50000), addr6A[:], uint16(0), byte(3)) })
	f.Fuzz(func(t *testing.T, in, s []byte, sport uint16, d []byte, dport uint16, which byte) {
		if len(in) == 0 || len(s) < 16 || len(d) < 16 {
			return
		}
		v6 := in[0]>>4 == 6
		endpoint := func(raw []byte, port uint16) netip.AddrPort {
			a := [16]byte(raw)
			a[0] |= 1 // no address of all zeros, none that is IPv4-mapped
			if v6 {
				return netip.AddrPortFrom(netip.AddrFrom16(a), port)
			}
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[:4])), port)
		}
		var tr Translation
		if which&1 != 0 {
			tr.Source = endpoint(s, sport)
		}
		if which&2 != 0 {
			tr.Destination = endpoint(d, dport)
		}
		b, check := guarded(in)
		defer check(t)
		if Apply(b, tr) != nil {
			require.Equal(t, in, b, "a refused packet is unchanged")
			return
		}
		require.Equal(t, sameZero(goldenApply(in, tr)), sameZero(b))
	})
}
