package deterministic

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

func TestRFC6431_02_03_masked_sets(t *testing.T) {
	for _, c := range []struct {
		mask, value uint16
		ports, runs int
		want        []string
		last        string
	}{
		{0x1400, 0x0400, 16384, 16, []string{"1024-2047", "3072-4095", "9216-10239", "11264-12287", "17408-18431", "19456-20479", "25600-26623", "27648-28671",
			"33792-34815", "35840-36863", "41984-43007", "44032-45055", "50176-51199", "52224-53247", "58368-59391", "60416-61439"}, "60416-61439"},
		{0x01f0, 0x0050, 2048, 128, []string{"80-95", "592-607", "1104-1119"}, "65104-65119"},
	} {
		slots := int(slotsOfMask(c.mask))
		m := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.2"), External: Spans("192.0.2.1"), Algorithm: Mask, PortRangeMask: c.mask, Reserved: ranges()})
		require.Equal(t, slots, m.Ratio())
		b := newMaskBits(c.mask)
		p := Ports{m: m, slot: uint32(b.compress(c.value))}
		var got []portblock.Range
		for _, r := range p.Ranges() {
			got = append(got, r)
		}
		require.Equal(t, c.ports, p.Len())
		require.Len(t, got, c.runs)
		require.Equal(t, ranges(c.want...), got[:len(c.want)])
		require.Equal(t, ranges(c.last)[0], got[len(got)-1])
	}
}

// Two values under one mask are disjoint, and all values together are all ports;
// reserved ports are holes that are counted out of the sets.
func TestRFC6431_04_disjoint(t *testing.T) {
	for _, mask := range []uint16{0x1400, 0x01f0, 0x8001, 0x5555, 0xffff, 0x0001} {
		m := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.0"), External: Spans("192.0.2.1"), Algorithm: Mask, PortRangeMask: mask,
			Reserved: ranges("5004", "5060"), FirstSlot: 1, SharingRatio: 1})
		b := newMaskBits(mask)
		sets := map[uint16]int{}
		for p := range 65536 {
			slot := b.compress(uint16(p))
			require.Equal(t, uint16(p)&mask, b.expand(slot))
			sets[slot]++
		}
		require.Len(t, sets, int(slotsOfMask(mask)))
		for _, n := range sets {
			require.Equal(t, 65536/len(sets), n)
		}
		require.NotZero(t, forward(t, m, "10.0.0.0").Len())
	}
}

// The vectors of the crypto range: a permutation of 1024..65535, its inverse, and
// the hash over the first 2048 values.
func TestRFC6431_06_07_10_crypto_range(t *testing.T) {
	l := newLayout(ranges("0-1023"))
	for _, c := range []struct {
		key     string
		first   []uint16
		middle  uint16
		last    uint16
		inverse uint16
		hash    string
	}{
		{"00000000000000000000000000000000", []uint16{25297, 63061, 36280, 36928, 35015, 42143, 57690, 29206}, 50303, 34576, 55823, "9ecaf44a5c2f1806"},
		{"000102030405060708090a0b0c0d0e0f", []uint16{35297, 25359, 10287, 48069, 53967, 47751, 23468, 33618}, 35935, 7462, 26886, "4d0b4c0f649f16e3"},
		{"2b7e151628aed2a6abf7158809cf4f3c", []uint16{36222, 2597, 35963, 33614, 9506, 20116, 41875, 34638}, 45419, 57583, 9567, "a705077a61fb0093"},
	} {
		var key [16]byte
		_, err := hex.Decode(key[:], []byte(c.key))
		require.NoError(t, err)
		f := newFeistel(key)
		for i, want := range c.first {
			require.Equal(t, want, f.encrypt(&l, uint16(1024+i)))
		}
		require.Equal(t, c.middle, f.encrypt(&l, 32768))
		require.Equal(t, c.last, f.encrypt(&l, 65535))
		require.Equal(t, c.inverse, f.decrypt(&l, 1024))
		var text []byte
		seen := [65536]bool{}
		for x := 1024; x < 65536; x++ {
			y := f.encrypt(&l, uint16(x))
			require.False(t, seen[y] || y < 1024)
			seen[y] = true
			require.Equal(t, uint16(x), f.decrypt(&l, y))
			if x < 3072 {
				text = binary.BigEndian.AppendUint16(text, y)
			}
		}
		sum := sha256.Sum256(text)
		require.Equal(t, c.hash, hex.EncodeToString(sum[:8]))

		// The same sets from a map: subscriber s owns E(1024 + s*n) and on.
		m := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.30"), External: Spans("192.0.2.1"), Algorithm: Crypto, Key: key, PortsPerSubscriber: 2048})
		p := forward(t, m, "10.0.0.0")
		for i, want := range c.first {
			require.Equal(t, want, p.Port(i))
		}
		require.Equal(t, f.encrypt(&l, 1024+2048), forward(t, m, "10.0.0.1").Port(0))
	}
}

func TestRFC6431_08_key_per_address(t *testing.T) {
	cfg := Config{Internal: Spans("10.0.0.0/25"), External: Spans("192.0.2.0/31"), Algorithm: Crypto, Key: [16]byte{9}, KeyPerAddress: true}
	m := mustNew(t, cfg)
	a, b := m.ports(0), m.ports(uint64(m.Ratio()))
	require.NotEqual(t, a.External(), b.External())
	same := 0
	for i := range a.Len() {
		if a.Port(i) == b.Port(i) {
			same++
		}
	}
	require.Less(t, same, 20)
	cfg.External = Spans("10.0.0.0/19")
	_, err := New(cfg)
	require.ErrorContains(t, err, "at most 4096 external addresses")
}
