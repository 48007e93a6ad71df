package rewrite

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// errorFor builds an inbound ICMP error of a router about quote.
func errorFor(typ, code byte, rest uint32, quote []byte) []byte {
	return ip4(1, addrR, addrE, nil, icmp4(typ, code, rest, quote))
}

// inward translates an inbound error for A:40000 with the setters.
func inward(t testing.TB, b []byte) (p, q Packet4) {
	t.Helper()
	p = mustParse(t, b)
	require.Equal(t, FaultNone, ParseQuoted4(b, &p, &q))
	p.SetDestination(b, addrA, 0)
	p.SetQuotedSource(b, &q, addrA, 40000)
	return p, q
}

// TestRFC5508_03b_Options: the quoted transport header is behind 0 to 40 bytes of
// options.
func TestRFC5508_03b_Options(t *testing.T) {
	for n := 0; n <= 40; n += 4 {
		want := ip4(17, addrA, addrS, bytes.Repeat([]byte{1}, n), udp4(40000, 53, []byte("odd")))
		quote := ip4(17, addrE, addrS, bytes.Repeat([]byte{1}, n), udp4(50000, 53, []byte("odd")))
		b := errorFor(3, 3, 0, quote)
		_, q := inward(t, b)
		require.Equal(t, want, b[28:])
		require.Equal(t, 20+n, q.HeaderLength())
		requireRight(t, b)
	}
}

// TestRFC5508_03c_CorruptQuote: the quoted transport checksum is not validated, and
// stays wrong by the same amount.
func TestRFC5508_03c_CorruptQuote(t *testing.T) {
	quote := ip4(17, addrE, addrS, nil, udp4(50000, 53, []byte("payload")))
	quote[26] ^= 0x40
	want := ip4(17, addrA, addrS, nil, udp4(40000, 53, []byte("payload")))
	b := errorFor(3, 3, 0, quote)
	_, q := inward(t, b)
	require.Equal(t, CheckWrong, q.CheckTransport(b))
	requireRight(t, b)
	d := int(be16(b[28:], 26)) - be16(want, 26)
	require.Equal(t, (int(be16(quote, 26))-be16(ip4(17, addrE, addrS, nil, udp4(50000, 53, []byte("payload"))), 26)+65535)%65535, (d+65535)%65535)
}

// TestRFC5508_03_03a_Validation: the outer ICMP checksum and the quoted header
// checksum can be judged, and on cut packets the first one cannot.
func TestRFC5508_03_03a_Validation(t *testing.T) {
	b := errorFor(3, 3, 0, ip4(17, addrE, addrS, nil, udp4(50000, 53, []byte("payload"))))
	var q Packet4
	p := mustParse(t, b)
	require.Equal(t, FaultNone, ParseQuoted4(b, &p, &q))
	require.Equal(t, CheckRight, p.CheckTransport(b))
	require.Equal(t, CheckRight, q.CheckHeader(b))

	bad := bytes.Clone(b)
	bad[len(bad)-1]++
	require.Equal(t, CheckWrong, p.CheckTransport(bad))

	bad = bytes.Clone(b)
	bad[28+8]++ // the quoted TTL
	require.Equal(t, CheckWrong, q.CheckHeader(bad))

	cut := b[:len(b)-3]
	p = mustParse(t, cut)
	require.Equal(t, CheckUnknown, p.CheckTransport(cut))
	require.Equal(t, FaultNone, ParseQuoted4(cut, &p, &q))
	require.Equal(t, CheckRight, q.CheckHeader(cut))
	require.NotZero(t, q.Flags&Truncated)
	require.Equal(t, "right wrong unknown", CheckRight.String()+" "+CheckWrong.String()+" "+CheckUnknown.String())
}

// TestRFC5508_03d_Extensions: RFC 4884 extensions behind the quote pass unchanged,
// and the length attribute keeps them out of it.
func TestRFC5508_03d_Extensions(t *testing.T) {
	ext := []byte{0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 2, 3}
	field := make([]byte, 128) // the quote, zero padded
	copy(field, ip4(17, addrE, addrS, nil, udp4(50000, 53, []byte("payload"))))
	for _, typ := range []byte{3, 11, 12} {
		b := errorFor(typ, 0, 32<<16, append(bytes.Clone(field), ext...))
		p, q := inward(t, b)
		requireRight(t, b)
		require.Equal(t, CheckRight, q.CheckTransport(b), "padding is not part of the quote")
		require.Equal(t, ext, b[28+128:])
		require.Equal(t, make([]byte, 128-35), b[28+35:28+128])
		require.Equal(t, uint32(32<<16), binary.BigEndian.Uint32(b[24:]), "rest of header")
		require.Equal(t, typ, p.ICMPType)
	}
	// A length that ends within the quoted transport header leaves too little, one
	// that ends behind 8 bytes of it is enough.
	var q Packet4
	for _, typ := range []byte{3, 11, 12} {
		b := errorFor(typ, 0, 6<<16, field)
		p := mustParse(t, b)
		require.Equal(t, FaultTruncated, ParseQuoted4(b, &p, &q))
		b = errorFor(typ, 0, 7<<16, field)
		p = mustParse(t, b)
		require.Equal(t, FaultNone, ParseQuoted4(b, &p, &q))
		require.NotZero(t, q.Flags&Truncated)
	}
	// Types 4 and 5 have no length attribute: a gateway address is not one.
	b := errorFor(5, 1, 0x0a060000, field)
	p := mustParse(t, b)
	require.Equal(t, FaultNone, ParseQuoted4(b, &p, &q))
}

// TestRFC5508_04a_Truncated: every length of quote, from nothing to all of it, and
// every kind of transport.
func TestRFC5508_04a_Truncated(t *testing.T) {
	for name, pair := range map[string][2][]byte{
		"tcp":  {ip4(6, addrE, addrS, nil, tcp4(50000, 80, TCPAck, []byte{1, 1, 1, 0}, []byte("abc"))), ip4(6, addrA, addrS, nil, tcp4(40000, 80, TCPAck, []byte{1, 1, 1, 0}, []byte("abc")))},
		"udp":  {ip4(17, addrE, addrS, nil, udp4(50000, 80, []byte("abc"))), ip4(17, addrA, addrS, nil, udp4(40000, 80, []byte("abc")))},
		"echo": {ip4(1, addrE, addrS, nil, icmp4(8, 0, 50000<<16, []byte("abc"))), ip4(1, addrA, addrS, nil, icmp4(8, 0, 40000<<16, []byte("abc")))},
	} {
		for n := 0; n <= len(pair[0]); n++ {
			b := errorFor(11, 0, 0, pair[0][:n])
			p := mustParse(t, b)
			var q Packet4
			f := ParseQuoted4(b, &p, &q)
			if n < 28 {
				require.Equal(t, FaultTruncated, f, "%s %d", name, n)
				require.ErrorIs(t, Apply(b, to(insideA)), FaultTruncated)
				continue
			}
			require.Equal(t, FaultNone, f)
			require.Equal(t, n < len(pair[0]), q.Flags&Truncated != 0)
			inward(t, b)
			whole := n
			if name == "tcp" && n == 37 {
				whole = 36 // half a checksum cannot be kept
			}
			require.Equal(t, pair[1][:whole], b[28:28+whole], "%s %d", name, n)
			requireRight(t, b)
		}
	}
}

// TestQuotedFragment: a quoted fragment is reported; the addresses are rewritten.
func TestQuotedFragment(t *testing.T) {
	quote := fragmented(ip4(6, addrE, addrS, nil, make([]byte, 24)), 8, true)
	b := errorFor(11, 1, 0, quote)
	_, q := inward(t, b)
	require.Equal(t, KindFragment, q.Kind)
	require.Equal(t, uint16(8), q.FragmentOffset)
	require.Equal(t, fragmented(ip4(6, addrA, addrS, nil, make([]byte, 24)), 8, true)[:20], b[28:48])
	require.Equal(t, quote[20:], b[48:72])
	requireRight(t, b)
}

// TestQuoteFaults: what cannot be a quote is refused and left alone.
func TestQuoteFaults(t *testing.T) {
	good := ip4(17, addrE, addrS, nil, udp4(50000, 53, []byte("payload")))
	edit := func(i int, v byte) []byte { b := bytes.Clone(good); b[i] = v; return b }
	for name, c := range map[string]struct {
		quote []byte
		want  Fault
	}{
		"nothing":           {nil, FaultTruncated},
		"version":           {edit(0, 0x65), FaultVersion},
		"header length":     {edit(0, 0x44), FaultHeaderLength},
		"total below":       {edit(3, 19), FaultTotalLength},
		"error in an error": {ip4(1, addrE, addrS, nil, icmp4(3, 1, 0, good)), FaultNestedError},
		"options cut":       {append([]byte{0x4f}, good[1:24]...), FaultTruncated},
	} {
		b := errorFor(3, 1, 0, c.quote)
		if name == "options cut" {
			b[28+2], b[28+3] = 1, 0
		}
		was := bytes.Clone(b)
		p := mustParse(t, b)
		var q Packet4
		require.Equal(t, c.want, ParseQuoted4(b, &p, &q), name)
		require.ErrorIs(t, Apply(b, to(insideA)), c.want)
		require.Equal(t, was, b)
	}
	p := mustParse(t, good)
	var q Packet4
	require.Equal(t, FaultNotError, ParseQuoted4(good, &p, &q))
	require.Equal(t, FaultNone, ParseEmbedded4(good, &q))
	require.NotZero(t, q.Flags&Quoted)
}

// TestQuotedReply: an identifier of a quoted reply belongs to its destination, so
// it follows the outer source (RFC 5508 REQ-5 for the host that answered).
func TestQuotedReply(t *testing.T) {
	b := errorFor(3, 1, 0, ip4(1, addrS, addrA, nil, icmp4(0, 0, 0x1234_0001, nil)))
	require.NoError(t, Apply(b, from(outsideA)))
	require.Equal(t, ip4(1, addrS, addrE, nil, icmp4(0, 0, 0xc350_0001, nil)), b[28:])
	requireRight(t, b)
}
