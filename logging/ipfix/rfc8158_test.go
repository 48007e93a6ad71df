package ipfix

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
)

// sink keeps messages.
type sink struct {
	messages [][]byte
	err      error
}

func (s *sink) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.messages = append(s.messages, append([]byte(nil), b...))
	return len(b), nil
}

func newExporter(t testing.TB, c Config) (*Exporter, *sink) {
	s := &sink{}
	e, err := NewExporter(s, c)
	require.NoError(t, err)
	return e, s
}

const vectorTime = logging.Millis(1700000000123)

var (
	host4 = netip.MustParseAddr("100.64.0.1")
	host6 = netip.MustParseAddr("2001:db8::1")
	ext4  = netip.MustParseAddr("203.0.113.5")
)

func blockRecord() logging.Record {
	return logging.Record{Kind: logging.BlockAllocated, Time: vectorTime, Subscriber: host4, External: ext4,
		First: 1024, Last: 1535, Spaces: logging.AllSpaces}
}

func sessionRecord(host netip.Addr) logging.Record {
	return logging.Record{Kind: logging.SessionCreated, Time: vectorTime, Subscriber: host, Internal: netip.AddrPortFrom(host, 40000),
		External: ext4, First: 50000, Last: 50000, Protocol: 17}
}

// TestRFC8158_VectorMessages compares whole messages with ones that were worked
// out from the RFCs by hand.
func TestRFC8158_VectorMessages(t *testing.T) {
	quota := logging.Record{Kind: logging.QuotaExceeded, Resource: logging.ResourceSubscriberMappings, Time: vectorTime, Max: 512, Subscriber: host4}
	for name, tc := range map[string]struct {
		r     logging.Record
		first uint16
		want  string
	}{
		"event 16": {blockRecord(), 256, "000a00496553f100000000000000000100020020010000060143000800e600010008000400e1000401690002016a0002010000190000018bcfe5687b1064400001cb007105040005ff"},
		"event 13": {quota, 257, "000a00456553f10000000000000000010002001c010100050143000800e6000101d2000401d9000400080004010100190000018bcfe5687b0d000000030000020064400001"},
		"event 4":  {sessionRecord(host4), 258, "000a004e6553f100000000000000000100020024010200070143000800e600010008000400e10004000400010007000200e300020102001a0000018bcfe5687b0464400001cb007105119c40c350"},
	} {
		t.Run(name, func(t *testing.T) {
			e, s := newExporter(t, Config{Domain: 1, Mandatory: true, FirstTemplate: tc.first})
			require.NoError(t, e.Append(&tc.r))
			require.Len(t, s.messages, 1)
			require.Equal(t, tc.want, hex.EncodeToString(s.messages[0]))
		})
	}
	t.Run("event 17", func(t *testing.T) {
		e, s := newExporter(t, Config{Domain: 1, Mandatory: true, TemplateInterval: -1})
		r := blockRecord()
		require.NoError(t, e.Append(&r))
		r.Kind, r.Allocated, r.Time = logging.BlockReleased, r.Time, 1700000600456
		require.NoError(t, e.Append(&r))
		require.Equal(t, "0000018bcfee91881164400001cb007105040005ff", hex.EncodeToString(s.messages[1][20:]))
	})
}

// TestRFC8158_Events goes through every event with both families of hosts and
// holds number, mandatory elements and size (rows 8158-E03 to E18, Q1 to Q5, T1
// to T5 and 8158-13). The wanted columns are those of the RFC's tables.
func TestRFC8158_Events(t *testing.T) {
	event := func(k logging.Kind, what logging.Resource) func(netip.Addr) logging.Record {
		return func(host netip.Addr) logging.Record {
			return logging.Record{Kind: k, Resource: what, Time: vectorTime, Subscriber: host, External: ext4, PoolID: 7, Max: 512,
				Internal: netip.AddrPortFrom(host, 40000), First: 1024, Last: 1024, Protocol: 6, Spaces: logging.AllSpaces}
		}
	}
	const none = logging.ResourceNone
	for _, tc := range []struct {
		row          string
		record       func(netip.Addr) logging.Record
		event4       uint64
		event6       uint64
		size4, size6 int
		elements     []int // besides time and event; 8 stands for the source address
		sub, subIE   int
	}{
		{"E03", event(logging.AddressesExhausted, none), 3, 3, 13, 13, []int{283}, 0, 0},
		{"E04_E06", event(logging.SessionCreated, none), 4, 6, 22, 34, []int{8, 225, 4, 7, 227}, 0, 0},
		{"E05_E07", event(logging.SessionDeleted, none), 5, 7, 22, 34, []int{8, 225, 4, 7, 227}, 0, 0},
		{"E08_E10", event(logging.MappingCreated, none), 8, 10, 17, 29, []int{8, 225}, 0, 0},
		{"E09_E11", event(logging.MappingDeleted, none), 9, 11, 17, 29, []int{8, 225}, 0, 0},
		{"E12", event(logging.PortsExhausted, none), 12, 12, 14, 14, []int{225, 4}, 0, 0},
		{"E13_Q1", event(logging.QuotaExceeded, logging.ResourceSessions), 13, 13, 17, 17, []int{466, 471}, 1, 466},
		{"E13_Q2", event(logging.QuotaExceeded, logging.ResourceMappings), 13, 13, 17, 17, []int{466, 472}, 2, 466},
		{"E13_Q3", event(logging.QuotaExceeded, logging.ResourceSubscriberMappings), 13, 13, 21, 33, []int{466, 473, 8}, 3, 466},
		{"E13_Q4", event(logging.QuotaExceeded, logging.ResourceSubscribers), 13, 13, 17, 17, []int{466, 474}, 4, 466},
		{"E13_Q5", event(logging.QuotaExceeded, logging.ResourceFragments), 13, 13, 21, 33, []int{466, 475, 8}, 5, 466},
		{"E14", event(logging.AddressBound, none), 14, 14, 17, 29, []int{8, 225}, 0, 0},
		{"E15", event(logging.AddressUnbound, none), 15, 15, 17, 29, []int{8, 225}, 0, 0},
		{"E16", event(logging.BlockAllocated, none), 16, 16, 21, 33, []int{8, 225, 361, 362}, 0, 0},
		{"E17", event(logging.BlockReleased, none), 17, 17, 21, 33, []int{8, 225, 361, 362}, 0, 0},
		{"E18_T1", event(logging.ThresholdHigh, logging.ResourcePool), 18, 18, 21, 21, []int{467, 476, 283}, 1, 467},
		{"E18_T2", event(logging.ThresholdLow, logging.ResourcePool), 18, 18, 21, 21, []int{467, 477, 283}, 2, 467},
		{"E18_T3", event(logging.ThresholdHigh, logging.ResourceMappings), 18, 18, 17, 17, []int{467, 478}, 3, 467},
		{"E18_T4", event(logging.ThresholdHigh, logging.ResourceSubscriberMappings), 18, 18, 21, 33, []int{467, 480, 8}, 4, 467},
		{"E18_T5", event(logging.ThresholdHigh, logging.ResourceAddresses), 18, 18, 17, 17, []int{467, 481}, 5, 467},
	} {
		for _, version := range []Version{IPFIX, NetFlow9} {
			for _, host := range []netip.Addr{host4, host6} {
				name := tc.row + "/version=" + map[Version]string{IPFIX: "10", NetFlow9: "9"}[version] + "/host=" + map[bool]string{true: "v4", false: "v6"}[host.Is4()]
				t.Run(name, func(t *testing.T) {
					want, size := tc.event4, tc.size4
					if host.Is6() {
						want, size = tc.event6, tc.size6
					}
					r := tc.record(host)
					require.NoError(t, r.Check())
					for _, only := range []bool{true, false} {
						e, s := newExporter(t, Config{Version: version, Mandatory: only})
						require.NoError(t, e.Append(&r))
						var d decoder
						m, err := d.message(s.messages[0])
						require.NoError(t, err)
						require.Len(t, m.data, 1)
						f := m.data[0]
						require.EqualValues(t, vectorTime, f.uint(323))
						require.Equal(t, want, f.uint(230))
						for _, ie := range tc.elements {
							if ie == 8 && host.Is6() {
								ie = 27
							}
							require.Contains(t, f, ie)
						}
						if only {
							require.Len(t, f, len(tc.elements)+2)
							require.Equal(t, size, d.dataLens[0])
						} else {
							require.Contains(t, f, 463)
						}
						check(t, f, host, &r)
						if tc.subIE != 0 {
							require.EqualValues(t, tc.sub, f.uint(tc.subIE))
						}
					}
				})
			}
		}
	}
}

// check compares every element of f with the record.
func check(t *testing.T, f fields, host netip.Addr, r *logging.Record) {
	t.Helper()
	for ie := range f {
		switch {
		case ie == 8 || ie == 27:
			require.Equal(t, string(host.AsSlice()), f[ie])
		case ie == 225:
			require.Equal(t, string(r.External.AsSlice()), f[ie])
		case ie == 283:
			require.EqualValues(t, r.PoolID, f.uint(ie))
		case ie == 4:
			require.EqualValues(t, r.Protocol, f.uint(ie))
		case ie == 7:
			require.EqualValues(t, r.Internal.Port(), f.uint(ie))
		case ie == 227 || ie == 361:
			require.EqualValues(t, r.First, f.uint(ie))
		case ie == 362:
			require.EqualValues(t, r.Last, f.uint(ie))
		case ie == 463:
			require.EqualValues(t, r.Instance, f.uint(ie))
		case ie >= 471 && ie <= 481:
			require.EqualValues(t, r.Max, f.uint(ie))
		}
	}
}

// TestRFC8158_E00: no record becomes event 0, 1 or 2, and what has no event is
// accepted and counted.
func TestRFC8158_E00_E01_E02(t *testing.T) {
	for k := logging.Kind(0); k < 40; k++ {
		for what := logging.Resource(0); what < 10; what++ {
			ev := classify(&logging.Record{Kind: k, Resource: what})
			if ev.shape != shapeNone && ev.number < 3 {
				t.Errorf("%v becomes event %d", k, ev.number)
			}
		}
	}
	e, s := newExporter(t, Config{})
	for _, r := range []logging.Record{
		{Kind: logging.ConfigEpoch, Time: 1},
		{Kind: logging.ThresholdLow, Resource: logging.ResourceMappings, Time: 1},
		{Kind: logging.QuotaExceeded, Resource: logging.ResourcePool, Time: 1},
		{Kind: logging.ThresholdHigh, Resource: logging.ResourceFragments, Time: 1},
		{Kind: logging.BlockInterim, Time: 2, Allocated: 1, External: ext4, Subscriber: host4, Spaces: logging.AllSpaces},
	} {
		require.NoError(t, e.Append(&r))
	}
	require.Empty(t, s.messages)
	require.EqualValues(t, 5, e.Stats().Skipped)
}

// TestRFC8158_04: destinations are exported only when asked for.
func TestRFC8158_04(t *testing.T) {
	for _, host := range []netip.Addr{host4, host6} {
		r := sessionRecord(host)
		r.Remote = netip.MustParseAddrPort("192.0.2.9:443")
		e, s := newExporter(t, Config{})
		require.NoError(t, e.Append(&r))
		var d decoder
		m, err := d.message(s.messages[0])
		require.NoError(t, err)
		for _, ie := range []int{11, 12, 28, 226, 228} {
			require.NotContains(t, m.data[0], ie)
		}
		e, s = newExporter(t, Config{Remotes: true})
		require.NoError(t, e.Append(&r))
		m, err = d.message(s.messages[0])
		require.NoError(t, err)
		require.Equal(t, "\xc0\x00\x02\x09", m.data[0][226])
		require.EqualValues(t, 443, m.data[0].uint(228))
		require.Equal(t, host.Is4(), m.data[0][12] != "")
	}
}

// TestRFC8158_14: a block that does not cover all protocols says which it does.
func TestRFC8158_14(t *testing.T) {
	r := blockRecord()
	r.Spaces = logging.TCP | logging.ICMP
	e, s := newExporter(t, Config{})
	require.NoError(t, e.Append(&r))
	var d decoder
	m, err := d.message(s.messages[0])
	require.NoError(t, err)
	require.Len(t, m.data, 2)
	require.EqualValues(t, 6, m.data[0].uint(4))
	require.EqualValues(t, 1, m.data[1].uint(4))
	r.Spaces = logging.AllSpaces
	require.NoError(t, e.Append(&r))
	m, err = d.message(s.messages[1])
	require.NoError(t, err)
	require.NotContains(t, m.data[0], 4)
}

// TestRFC8158_06_E12: an exhaustion of several port spaces is told for each.
func TestRFC8158_06_E12(t *testing.T) {
	e, s := newExporter(t, Config{})
	require.NoError(t, e.Append(&logging.Record{Kind: logging.PortsExhausted, Time: 1, External: ext4, Spaces: logging.AllSpaces}))
	var d decoder
	m, err := d.message(s.messages[0])
	require.NoError(t, err)
	require.Len(t, m.data, 3)
	require.Equal(t, []uint64{6, 17, 1}, []uint64{m.data[0].uint(4), m.data[1].uint(4), m.data[2].uint(4)})
}
