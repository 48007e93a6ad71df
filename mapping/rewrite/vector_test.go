package rewrite

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// vector is a packet before and after translation, from computed examples that
// were checked by full recomputation and by an independent translator.
type vector struct {
	name          string
	before, after string
	out, back     Translation
}

const (
	insideA  = "10.0.0.2:40000"
	insideB  = "10.0.0.3:41000"
	outsideA = "203.0.113.5:50000"
	outsideB = "203.0.113.5:50002"
)

func from(s string) Translation { return Translation{Source: netip.MustParseAddrPort(s)} }
func to(d string) Translation   { return Translation{Destination: netip.MustParseAddrPort(d)} }
func both(s, d string) Translation {
	return Translation{Source: netip.MustParseAddrPort(s), Destination: netip.MustParseAddrPort(d)}
}

var vectors = []vector{
	{"P1", "450000261c4640004011ea410a000002c633640a9c400035001243674e415420766563746f72",
		"450000261c4640004011b83dcb007105c633640ac35000350012ea524e415420766563746f72", from(outsideA), from(insideA)},
	{"P2", "450000261c4640004011ea410a000002c633640a9c400035001200004e415420766563746f72",
		"450000261c4640004011b83dcb007105c633640ac3500035001200004e415420766563746f72", from(outsideA), from(insideA)},
	{"P3", "450000261c4640004011ea410a000002c633640a9c400035001259144e4154207665637459c5",
		"450000261c4640004011b83dcb007105c633640ac35000350012ffff4e4154207665637459c5", from(outsideA), from(insideA)},
	{"P4", "4500003c1c4640004006ea360a000002c633640a9c4001bb1122334400000000a002faf0366d0000020405b40402080a000000010000000001030307",
		"4500003c1c4640004006b832cb007105c633640ac35001bb1122334400000000a002faf0dd580000020405b40402080a000000010000000001030307", from(outsideA), from(insideA)},
	{"P5", "450000241c4640004001ea530a000002c633640a08005435123400016162636465666768",
		"450000241c4640004001b84fcb007105c633640a0800a318c35000016162636465666768", from(outsideA), from("10.0.0.2:4660")},
	{"P6", "450000422b2b00003701f24cc633640acb0071050303636400000000450000261c4640003911bf3dcb007105c633640ac35000350012ea524e415420766563746f72",
		"450000422b2b000037012451c633640a0a0000020303316000000000450000261c4640003911f1410a000002c633640a9c400035001243674e415420766563746f72", to(insideA), to(outsideA)},
	{"P7", "45000038010100003c017ec0c00002fecb0071050304ee1000000578450005c81c4640003c06b6a6cb007105c633640ac35001bb11223345",
		"45000038010100003c01b0c4c00002fe0a0000020304152100000578450005c81c4640003c06e8aa0a000002c633640a9c4001bb11223345", to(insideA), to(outsideA)},
	{"P8", "4500003c2b2c000037015991c00002fecb0071050b004715000000004600002a1c46400039112a35cb007105c633640a94040000c35000350012ea52",
		"4500003c2b2c000037018b95c00002fe0a0000020b001511000000004600002a1c46400039115c390a000002c633640a940400009c40003500124367", to(insideA), to(outsideA)},
	{"P9", "450000261c4640004011d8790a000002cb0071059c40c35200126e814e415420766563746f72",
		"450000261c4640004011d878cb0071050a000003c350a02800126a9a4e415420766563746f72", both(outsideA, insideB), both(insideA, outsideB)},
	{"P10", "450000423c3c00004001f8760a000003cb0071050303432900000000450000261c4640004011d878cb0071050a000003c350a02800126a9a4e415420766563746f72",
		"450000423c3c00004001f877cb0071050a0000020303432800000000450000261c4640004011d8790a000002cb0071059c40c35200126e814e415420766563746f72", both(outsideB, insideA), both(insideB, outsideA)},
	{"P11", "450000400007000040017bb2c00002fecb0071050b00f4ff00000000450000241c4640000101f74fcb007105c633640a0800a318c35000016162636465666768",
		"45000040000700004001adb6c00002fe0a0000020b00f4ff00000000450000241c464000010129540a000002c633640a08005435123400016162636465666768", to("10.0.0.2:4660"), to(outsideA)},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// TestVectors covers P1 to P11, both ways: CK-04 (P2, P3), CK-05 (P6 to P8),
// CK-06 (P11), RFC 5508 rows 01, 03b, 04a, 04b, 04c, 07 and RFC 4787 rows 09a, 12b.
func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run("TestVector"+v.name, func(t *testing.T) {
			b := unhex(t, v.before)
			require.NoError(t, Apply(b, v.out))
			require.Equal(t, v.after, hex.EncodeToString(b), "before to after")
			require.NoError(t, Apply(b, v.back))
			require.Equal(t, v.before, hex.EncodeToString(b), "after to before")
		})
	}
}

// TestVectorsBySetters replays P1, P5, P6 and P9 through the setters alone.
func TestVectorsBySetters(t *testing.T) {
	const a, e, bAddr = 0x0a000002, 0xcb007105, 0x0a000003
	for i, step := range map[int]func(b []byte, p, q *Packet4){
		0: func(b []byte, p, _ *Packet4) { p.SetSource(b, e, 50000) },
		4: func(b []byte, p, _ *Packet4) { p.SetSource(b, e, 50000) },
		5: func(b []byte, p, q *Packet4) {
			require.Equal(t, FaultNone, ParseQuoted4(b, p, q))
			p.SetDestination(b, a, 0)
			p.SetQuotedSource(b, q, a, 40000)
		},
		8: func(b []byte, p, _ *Packet4) {
			p.SetSource(b, e, 50000)
			p.SetDestination(b, bAddr, 41000)
		},
	} {
		t.Run("TestVector"+vectors[i].name, func(t *testing.T) {
			b := unhex(t, vectors[i].before)
			var p, q, again Packet4
			require.Equal(t, FaultNone, Parse4(b, &p))
			step(b, &p, &q)
			require.Equal(t, vectors[i].after, hex.EncodeToString(b))
			require.Equal(t, FaultNone, Parse4(b, &again))
			require.Equal(t, again, p, "the setters keep the parsed value up to date")
			require.NotEqual(t, CheckWrong, p.CheckHeader(b))
			require.NotEqual(t, CheckWrong, p.CheckTransport(b))
		})
	}
}
