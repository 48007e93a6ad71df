package deterministic

import (
	"slices"
	"testing"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// The sets of a map are those that portblock makes by its own arithmetic, for
// every slot of MAP, GMA, Mask and Crypto.
func TestSetsAgreeWithPortblock(t *testing.T) {
	one := func(cfg Config) *Map {
		cfg.Internal, cfg.External = Spans("10.0.0.0"), Spans("192.0.2.1")
		return mustNew(t, cfg)
	}
	same := func(m *Map, slot int, want portblock.Set) {
		t.Helper()
		got := Ports{m: m, slot: uint32(slot)}.On(addr("192.0.2.1"))
		require.Equal(t, want.Len(), got.Len())
		require.Equal(t, slices.Collect(want.Ranges()), slices.Collect(got.Ranges()))
		for i := range want.Len() {
			a, _ := want.At(i)
			b, ok := got.At(i)
			require.True(t, ok && a == b)
			j, ok := got.Index(a)
			require.True(t, ok && j == i)
		}
	}
	for _, c := range [][2]int{{6, 8}, {6, 4}, {4, 6}, {8, 8}, {1, 4}, {0, 4}} {
		m := one(Config{Algorithm: MAP, PSIDOffset: c[0], PSIDLen: c[1], Reserved: ranges()})
		for psid := 1; psid < 1<<c[1]; psid += 3 { // PSID 0 holds port 0 if a is 0
			want, err := portblock.PSIDSet(uint8(c[0]), uint8(c[1]), uint16(psid))
			require.NoError(t, err)
			same(m, psid, want)
		}
	}
	for _, c := range [][2]int{{60, 4}, {7, 100}, {1, 1}, {1000, 3}} {
		m := one(Config{Algorithm: GMA, SharingRatio: c[0], Contiguous: c[1]})
		for psid := 0; psid < c[0]; psid += 17 {
			want, err := portblock.GMASet(c[0], c[1], 1024, uint16(psid))
			require.NoError(t, err)
			same(m, psid, want)
		}
	}
	for _, mask := range []uint16{0x1400, 0x01f0, 0x5555, 0xfc00} {
		m := one(Config{Algorithm: Mask, PortRangeMask: mask, Reserved: ranges()})
		b := newMaskBits(mask)
		for slot := 1; slot < int(slotsOfMask(mask)); slot += 7 {
			want, err := portblock.MaskSet(b.expand(uint16(slot)), mask)
			require.NoError(t, err)
			same(m, slot, want)
		}
	}
	key := [16]byte{3, 1, 4, 1, 5}
	cipher := portblock.NewCipher(key)
	m := one(Config{Algorithm: Crypto, Key: key, SharingRatio: 63})
	for slot := range 63 {
		want, err := portblock.CryptoSet(cipher, uint16(1024+1024*slot), 1024)
		require.NoError(t, err)
		same(m, slot, want)
	}
}

func TestZeroPortsIsEmpty(t *testing.T) {
	var p Ports
	require.Zero(t, p.Len())
	require.False(t, p.External().IsValid())
	require.False(t, p.Contains(addr("192.0.2.1"), 1024))
	require.Equal(t, "no ports", p.String())
	for range p.Ranges() {
		t.Fatal("a range")
	}
	on := p.On(addr("192.0.2.1"))
	require.Zero(t, on.Len())
	require.False(t, on.External().IsValid())
	require.False(t, on.Contains(1024))
	_, ok := on.At(0)
	require.False(t, ok)
	require.Empty(t, slices.Collect(on.Ranges()))
	require.Panics(t, func() { mustNew(t, rfc7422Example()).ports(0).At(4032) })
	require.Equal(t, AddressPorts{}, mustNew(t, rfc7422Example()).ports(0).On(addr("192.0.2.2")))
}
