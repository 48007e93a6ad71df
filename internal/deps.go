//go:build tools

package internal

import (
	_ "github.com/RoaringBitmap/roaring/v2"
	_ "github.com/google/gopacket"
	_ "github.com/google/gopacket/layers"
	_ "github.com/google/gopacket/pcapgo"
	_ "github.com/stretchr/testify/require"
	_ "pgregory.net/rapid"
)
