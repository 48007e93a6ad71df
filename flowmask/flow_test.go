package flowmask

import (
	"net/netip"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestFlowAgainstModel: what goes in comes out, in every state of the ports.
func TestFlowAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genFlow(t, rapid.Bool().Draw(t, "six"), true)
		f := m.build()
		require.True(t, f.IsValid())
		require.Equal(t, m.six, f.Is6())
		require.Equal(t, m.addr(m.src), f.Src())
		require.Equal(t, m.addr(m.dst), f.Dst())
		require.Equal(t, m.realm, f.Realm())
		require.Equal(t, m.proto, f.Proto())
		require.Equal(t, m.sport, f.SrcPort())
		require.Equal(t, m.dport, f.DstPort())
		require.Equal(t, m.sstate == missing, f.Missing().Has(SrcPort))
		require.Equal(t, m.dstate == missing, f.Missing().Has(DstPort))
		require.Equal(t, m.sstate == unknown, f.Unknown().Has(SrcPort))
		require.Equal(t, m.dstate == unknown, f.Unknown().Has(DstPort))

		r := m
		r.src, r.dst, r.sport, r.dport, r.sstate, r.dstate = m.dst, m.src, m.dport, m.sport, m.dstate, m.sstate
		require.Equal(t, r.build(), f.Reverse())
		require.Equal(t, f, f.Reverse().Reverse())

		g := genFlow(t, m.six, true)
		require.Equal(t, m == g, f == g.build(), "comparable as the model is")
		if m.sstate == present && m.dstate == present {
			parsed, err := ParseFlow(f.String(), AllFields)
			require.NoError(t, err)
			require.Equal(t, f, parsed)
			if m.six {
				require.Equal(t, f, FlowFrom16(m.realm, m.proto, m.src, m.dst, m.sport, m.dport))
			} else {
				require.Equal(t, f, FlowFrom4(m.realm, m.proto, [4]byte(m.src[:4]), [4]byte(m.dst[:4]), m.sport, m.dport))
			}
		}
	})
}

// TestFlowText pins texts, of states and of the zero Flow too.
func TestFlowText(t *testing.T) {
	f := NewFlow(7, 17, netip.MustParseAddrPort("100.64.0.5:9"), netip.MustParseAddrPort("192.0.2.1:53"))
	require.Equal(t, "7,100.64.0.5,17,9,192.0.2.1,53", f.String())
	require.Equal(t, "100.64.0.5,17,192.0.2.1,53", f.Text(SrcIP|Proto|DstIP|DstPort))
	require.Equal(t, "7,100.64.0.5,17,?,192.0.2.1,0", f.WithUnknown(SrcPort).Without(DstPort).String())
	require.Equal(t, "invalid", Flow{}.String())
	require.Equal(t, Flow{}, Flow{}.Without(SrcPort).WithUnknown(DstPort).Reverse())
	require.False(t, Flow{}.Src().IsValid())
	require.Equal(t, f.Without(SrcPort), f.WithUnknown(SrcPort).Without(SrcPort), "the last word counts")
	require.Equal(t, f, f.Without(SrcIP|Proto), "only ports can be left out")
	for name, n := range map[string]uint8{"tcp": 6, "udp": 17, "icmp": 1, "ipv6-icmp": 58, "gre": 47, "esp": 50, "ah": 51, "sctp": 132, "udplite": 136} {
		v, err := ParseFlow("10.0.0.1,"+name, SrcIP|Proto)
		require.NoError(t, err)
		require.Equal(t, n, v.Proto())
	}
	_, err := ParseFlow("10.0.0.1,http", SrcIP|Proto)
	require.ErrorIs(t, err, ErrSyntax)
}

// TestSizes guards the sizes that the documentation states.
func TestSizes(t *testing.T) {
	require.EqualValues(t, 40, unsafe.Sizeof(Flow{}))
	require.EqualValues(t, 40, unsafe.Sizeof(Key{}))
	require.EqualValues(t, 48, unsafe.Sizeof(Mask{}))
	require.EqualValues(t, 48, unsafe.Sizeof(entry[uint32]{}))
	require.EqualValues(t, 80, unsafe.Sizeof(Hasher{}))
	require.EqualValues(t, 328, unsafe.Sizeof(Index{}))
	require.EqualValues(t, 24, unsafe.Sizeof(Instance{}))
}
