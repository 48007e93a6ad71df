package rewrite

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// seeded returns a random source and prints its seed.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// TestRFC1071_CK01_Vectors is the example of RFC 1071 section 3, in normal and in
// swapped byte order and across an odd boundary.
func TestRFC1071_CK01_Vectors(t *testing.T) {
	b := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	require.Equal(t, uint16(0xddf2), Fold(Sum(b, 0)))
	require.Equal(t, uint16(0x220d), Checksum(b))

	swapped := make([]byte, len(b))
	for i := range b {
		swapped[i^1] = b[i]
	}
	require.Equal(t, bits.ReverseBytes16(0xddf2), Fold(Sum(swapped, 0)))

	// Section 2 B: the sum of an odd piece is swapped before the rest is added.
	odd := Fold(Sum(b[:3], 0))
	rest := bits.ReverseBytes16(Fold(Sum(b[3:], 0)))
	require.Equal(t, uint16(0xddf2), Fold(uint64(odd)+uint64(rest)))
}

// TestRFC1624_CK02_Vector is the example of RFC 1624 section 4, where equation 2
// (RFC 1141) gives 0xFFFF.
func TestRFC1624_CK02_Vector(t *testing.T) {
	require.Equal(t, uint16(0x0000), Delta(0).Word16(0x5555, 0x3285).Update(0xdd2f))
	require.Equal(t, uint16(0xdd2f), Delta(0).Word16(0x3285, 0x5555).Update(0x0000))
}

// TestRFC1624_CK03_IncrementalIsFull compares incremental updates with sums from
// scratch, with many all-zero and all-one words.
func TestRFC1624_CK03_IncrementalIsFull(t *testing.T) {
	r := seeded(t)
	word := func() uint16 {
		switch r.IntN(6) {
		case 0:
			return 0
		case 1:
			return 0xffff
		}
		return uint16(r.Uint32())
	}
	for range 1_000_000 {
		var b [12]byte
		for i := 2; i < len(b); i += 2 {
			binary.BigEndian.PutUint16(b[i:], word())
		}
		b[11] |= 1 // a real header's other words are never all zero
		was := ^uint16(refFold(b[:]))
		m, n := word(), word()
		old := binary.BigEndian.Uint32(b[4:])
		is := uint32(m)<<16 | uint32(n)
		binary.BigEndian.PutUint32(b[4:], is)
		want := ^uint16(refFold(b[:]))
		if got := Delta(0).Word32(old, is).Update(was); got != want {
			t.Fatalf("%x: %04x, want %04x", b, got, want)
		}
		d := Delta(0).Word16(uint16(old), n).Word16(uint16(old>>16), m)
		if got := d.Update(was); got != want {
			t.Fatalf("%x: %04x, want %04x by words", b, got, want)
		}
	}
}

// refFold is the one's complement sum of RFC 1071, word by word.
func refFold(b []byte) uint32 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		s += w
		if s > 0xffff {
			s -= 0xffff
		}
	}
	return s
}

// TestFoldEdges: every carry that folding can make, against the remainder.
func TestFoldEdges(t *testing.T) {
	words := []uint64{0, 1, 2, 0x7fff, 0xfffd, 0xfffe, 0xffff}
	for _, a := range words {
		for _, b := range words {
			for _, c := range words {
				for _, d := range words {
					sum := a<<48 | b<<32 | c<<16 | d
					want := uint16(sum % 65535)
					if want == 0 && sum != 0 {
						want = 0xffff
					}
					require.Equal(t, want, Fold(sum), "%x", sum)
				}
			}
		}
	}
}

func TestSumIsReference(t *testing.T) {
	r := seeded(t)
	buf := make([]byte, 200)
	for range 20_000 {
		b := buf[r.IntN(8) : 8+r.IntN(190)]
		for i := range b {
			b[i] = byte(r.Uint32() | -(r.Uint32() & 1))
		}
		initial := r.Uint64() >> r.IntN(64)
		var head [8]byte
		binary.BigEndian.PutUint64(head[:], initial)
		want := refFold(append(head[:], b...))
		got := Fold(Sum(b, initial))
		if uint32(got) != want && (got%0xffff != 0 || want%0xffff != 0) {
			t.Fatalf("initial %x bytes %x: %04x, want %04x", initial, b, got, want)
		}
	}
}

// TestPseudoSums compares with the sum over a pseudo header that is written out.
func TestPseudoSums(t *testing.T) {
	require.Equal(t, uint16(refFold([]byte{10, 0, 0, 2, 198, 51, 100, 10, 0, 17, 0, 18})),
		Fold(PseudoSum4(0x0a000002, 0xc633640a, 17, 18)))
	src, dst := [16]byte{0x20, 1, 15: 2}, [16]byte{0xfd, 0xff, 0xff, 9: 7}
	ph := append(append(append([]byte{}, src[:]...), dst[:]...), 0, 1, 0x11, 0x70, 0, 0, 0, 58)
	require.Equal(t, uint16(refFold(ph)), Fold(PseudoSum6(&src, &dst, 58, 70000)))
}

// TestUpdatePartial: a partial checksum is an uncomplemented sum.
func TestUpdatePartial(t *testing.T) {
	before := PseudoSum4(0x0a000002, 0xc633640a, 6, 1000)
	after := PseudoSum4(0xcb007105, 0xc633640a, 6, 1000)
	require.Equal(t, Fold(after), Delta(0).Word32(0x0a000002, 0xcb007105).UpdatePartial(Fold(before)))
}

func TestDeltaAddr16(t *testing.T) {
	a, b := [16]byte{0x20, 1, 0xd, 0xb8, 15: 1}, [16]byte{0xfd, 8: 0xff, 9: 0xff}
	c := ^uint16(refFold(a[:]))
	require.Equal(t, ^uint16(refFold(b[:])), Delta(0).Addr16(&a, &b).Update(c))
}
