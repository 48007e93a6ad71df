package flowmask

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestIndexAgainstModel: the index is the number that the selected bits spell, and is dense; a
// table on the same mask tells the same flows apart.
func TestIndexAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMask(t, MaxIndexBits)
		mask := m.build()
		x, err := NewIndex(mask)
		require.NoError(t, err)
		require.Equal(t, mask, x.Mask())
		require.Equal(t, 1<<mask.Ones(), x.Len())
		table := NewTable[uint32](mask, [16]byte{7})
		for range 8 {
			f := genFlow(t, genFamily(t, m), true)
			text, ok := m.selected(f)
			got, gotOK := x.Of(f.build())
			require.Equal(t, ok, gotOK)
			if !ok {
				require.Zero(t, got)
				require.Error(t, table.Insert(f.build(), 0))
				continue
			}
			require.Equal(t, number(text), got, "flow %v, mask %v", f.build(), mask)
			require.Equal(t, mask.Apply(f.build()), mask.Apply(x.Flow(got)), "expansion")
			if v, found := table.Lookup(f.build()); found {
				require.Equal(t, v, got, "table and index disagree")
			} else {
				for _, v := range table.All() {
					require.NotEqual(t, v, got, "table and index disagree")
				}
				require.NoError(t, table.Insert(f.build(), got))
			}
		}
		i := rapid.Uint32().Draw(t, "index")
		want := i & uint32(x.Len()-1)
		back, ok := x.Of(x.Flow(i))
		require.True(t, ok)
		require.Equal(t, want, back, "Of(Flow(i)) under %v", mask)
		require.Zero(t, x.Flow(i).Missing()|x.Flow(i).Unknown())
	})
}

// TestBug219316_IndexIsDense: the 16,384 instances of the bug report have the indexes 0 to
// 16,383, the client's address highest.
func TestBug219316_IndexIsDense(t *testing.T) {
	x, err := NewIndex(MustParseMask(reportSelect, reportFields))
	require.NoError(t, err)
	require.Equal(t, 16384, x.Len())
	seen := make([]bool, x.Len())
	for _, f := range reportInstances() {
		i, ok := x.Of(f)
		require.True(t, ok)
		require.False(t, seen[i])
		seen[i] = true
		want := f.a>>32&127<<7 | f.w>>protoShift&1<<6 | f.a>>8&15<<2 | f.w&3
		require.EqualValues(t, want, i)
	}
	whole, err := NewIndex(MustParseMask(reportMask, reportFields))
	require.NoError(t, err, "the report's own mask has 24 bits and just fits")
	require.Equal(t, 1<<24, whole.Len())
}

// TestIndexTooWide: one bit more than fits is refused, with the count.
func TestIndexTooWide(t *testing.T) {
	_, err := NewIndex(MustParseMask("255.255.255.0,1", "src-ip,proto"))
	var e *IndexError
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, ErrTooManyBits)
	require.Equal(t, 25, e.Ones)
	require.Contains(t, err.Error(), "25 bits")
	x, err := NewIndex(Mask{})
	require.NoError(t, err)
	require.Equal(t, 1, x.Len())
	i, ok := x.Of(reportFlows(1, true)[0])
	require.True(t, ok)
	require.Zero(t, i)
}
