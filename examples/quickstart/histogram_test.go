package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHistogram(t *testing.T) {
	var b bytes.Buffer
	histogram(&b, []int{1, 1, 1, 1, 2, 3, 9, 2048}, "ports")
	require.Equal(t, ""+
		"            1 port          4  ##################################################\n"+
		"          2-3 ports         2  #########################\n"+
		"          4-7 ports         0\n"+
		"         8-15 ports         1  #############\n"+
		"        16-31 ports         0\n"+
		"        32-63 ports         0\n"+
		"       64-127 ports         0\n"+
		"      128-255 ports         0\n"+
		"      256-511 ports         0\n"+
		"    512-1,023 ports         0\n"+
		"  1,024-2,047 ports         0\n"+
		"  2,048-4,095 ports         1  #############\n", b.String())
	b.Reset()
	histogram(&b, []int{0}, "ports")
	require.Equal(t, "            0 ports         1  ##################################################\n", b.String())
	b.Reset()
	histogram(&b, nil, "ports")
	require.Empty(t, b.String())
}

func TestBarAndCount(t *testing.T) {
	require.Equal(t, "#####.....", bar(1, 2, 10, '.'))
	require.Equal(t, "#", bar(1, 1e6, 10, 0), "something is never nothing")
	require.Equal(t, "", bar(0, 0, 10, 0))
	require.Equal(t, "##########", bar(3, 2, 10, '.'))
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		require.Equal(t, want, count(n))
	}
	require.Equal(t, "9,999 bytes", size(9999))
	require.Equal(t, "18.2 MB", size(18_203_343))
	require.Equal(t, "10.0 kB", size(10_000))
}
