package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/examples/quickstart/internal/proof"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is a report with every line that there is.
func sample() summary {
	return summary{
		Capture: "capture.pcap", Seed: "golden", Pool: "203.0.113.0/30", Internal: "100.64.0.0/10", Block: 256,
		Notes:   []string{"the file is damaged or cut behind frame 44632 (it ends within a frame); the frames before it were read"},
		Packets: 44633, Cut: 20701, Bytes: 18203343, Captured: 3262400, Span: 897 * time.Second,
		NoIP:     []line{{"ARP", 12}, {"no IP inside", 1}},
		Outbound: 8141, Inbound: 8237, Hairpin: 21802, Bypassed: 3, Held: 8, HeldSent: 7, Errors: 25, Fragments: 2180,
		Drops:    []line{{"ipv6 not translated", 5688}, {"protocol not translated", 493}},
		Unplayed: []line{{noSubscriber, 116}, {noQueryHairpin, 45}},
		Mappings: 152, Refusals: []line{{"addresses exhausted", 2}},
		Subscribers: 332, RestAfter: 2*time.Hour + 11*time.Minute,
		End: state{Subscribers: 206, Sessions: 1398, SessionsMade: 2866, Mappings: 946, BlocksFree: 781, BlocksHeating: 206, BlocksCooling: 21,
			BlocksAllocated: 276, BlocksReleased: 70, Addresses: 4, AddressesInUse: 4},
		Rest:  state{SessionsMade: 2866, BlocksFree: 1008, BlocksAllocated: 276, BlocksReleased: 276, Addresses: 4, RecordsRefused: 1},
		Peaks: []int{1, 1, 1, 2, 3, 5, 251}, BlockRecords: 552, BlockBytes: 135000, Sessions: 5732, SessionBytes: 1412847,
		PerPacket: 134 * time.Nanosecond, InCalls: 5990 * time.Microsecond, Calls: 44467, InExpire: 21950 * time.Microsecond, ExpireCalls: 8768,
		Files: []line{{"quickstart-out/blocks.jsonl", 135000}, {"quickstart-out/translated.pcap", 3291130}},
		Checks: []proof.Check{{Name: "checksums that were right are right (computed in full)", Cases: 42734},
			{Name: "no two subscribers share an external endpoint at one time", Cases: 56607, Violations: 1, Examples: []string{
				"packet 17: UDP 203.0.113.1:4097 is used by 100.64.0.1:5000, and by 100.64.0.2:5000 1m0s before, which is less than the rest that it has"}}},
	}
}

// TestReportGolden compares the report with testdata/report.golden; -update writes that anew.
func TestReportGolden(t *testing.T) {
	s := sample()
	var b bytes.Buffer
	s.write(&b)
	golden := filepath.Join("testdata", "report.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, b.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
	requirePlain(t, b.String())
}

// requirePlain checks that a report is ASCII, has at most 100 columns, and no spaces at a line's end.
func requirePlain(t *testing.T, report string) {
	for _, l := range strings.Split(report, "\n") {
		require.LessOrEqual(t, len(l), 100, l)
		require.Equal(t, strings.TrimRight(l, " "), l)
		for _, r := range l {
			require.True(t, r >= ' ' && r < 127, l)
		}
	}
}

func TestWrap(t *testing.T) {
	require.Equal(t, "aaa bbb\n  ccc", wrap("aaa bbb ccc", 8, "  "))
	require.Equal(t, "", wrap("", 8, "  "))
	require.Equal(t, "aaaaaaaaaaaaaaa\n  b", wrap("aaaaaaaaaaaaaaa b", 8, "  "))
}

func TestShortly(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", time.Hour: "1h", time.Minute: "1m", 2*time.Hour + 11*time.Minute + 11*time.Second: "2h11m11s", 10 * time.Second: "10s", 90 * time.Minute: "1h30m"} {
		require.Equal(t, want, shortly(d))
	}
}
