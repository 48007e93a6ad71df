package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/blocknat/blocknat/examples/ipfwnat/internal/proof"
	"github.com/stretchr/testify/require"
)

// TestDrawing draws two flows that were made by hand.
func TestDrawing(t *testing.T) {
	s, err := loadScheme(optionsOf(t))
	require.NoError(t, err)
	external := netip.MustParseAddrPort("192.0.2.5:5000")
	r := &report{o: optionsOf(t), scheme: s, Last: 299_999}
	r.Reuse.Example = []proof.Flow{
		// 198.51.103.77: 103 is 0x67, so class 7; 443 ends in binary 11, so class 3; 7 x 4 + 3 = 31.
		// TCP, class 31, group 5: nat 31 x 256 + 5 + 1.
		{Proto: tcp, Client: netip.MustParseAddrPort("100.64.9.133:40001"), External: external, Remote: netip.MustParseAddrPort("198.51.103.77:443"), Class: 31, Out: 7942, In: 7942, First: 4992, Last: 5055},
		// 203.0.113.9: 113 is 0x71, so class 1; 80 ends in 00, so class 0; 1 x 4 + 0 = 4.
		{Proto: tcp, Client: netip.MustParseAddrPort("100.99.1.5:1024"), External: external, Remote: netip.MustParseAddrPort("203.0.113.9:80"), Class: 4, Out: 1030, In: 1030, First: 4992, Last: 5055},
	}
	require.Contains(t, s.text, "\ntable natout add 100.64.0.5,6,0.0.7.0,3 7942\n")
	require.Contains(t, s.text, "\ntable natout add 100.64.0.5,6,0.0.1.0,0 1030\n")
	var b bytes.Buffer
	r.draw(&b)
	path := filepath.Join("testdata", "drawing.golden")
	if *update {
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "run the test with -update if the drawing was meant to change")
}

func TestShownBits(t *testing.T) {
	require.Equal(t, "01100100 01...... ........ .0000101", shown(0x64400985, 0xffc0007f, 32))
	require.Equal(t, ".......0", shown(6, 1, 8))
	require.EqualValues(t, 7, selected(0xc633674d, 0x00000f00))
	require.EqualValues(t, 3, selected(443, 3))
}
