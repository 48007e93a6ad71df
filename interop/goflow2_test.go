package interop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/ipfix"
)

// goflow2 decodes messages and requires that sequence numbers count as each version has it.
type goflow2 struct {
	templates netflow.NetFlowTemplateSystem
	next      uint32 // the sequence number to come
	data      []elements
	pools     map[uint64]string
}

func newGoflow2() *goflow2 {
	return &goflow2{templates: netflow.CreateTemplateSystem(), pools: map[uint64]string{}}
}

func (g *goflow2) message(t *testing.T, b []byte) {
	t.Helper()
	var v9 netflow.NFv9Packet
	var v10 netflow.IPFIXPacket
	require.NoError(t, netflow.DecodeMessageVersion(bytes.NewBuffer(b), g.templates, &v9, &v10), "%x", b)
	sets, sequence := v10.FlowSets, v10.SequenceNumber
	if v9.Version == 9 {
		sets, sequence = v9.FlowSets, v9.SequenceNumber
	}
	require.Equal(t, g.next, sequence)
	records, data := 0, uint32(0)
	for _, s := range sets {
		switch s := s.(type) {
		case netflow.DataFlowSet:
			for _, r := range s.Records {
				e := elements{}
				for _, f := range r.Values {
					e[f.Type] = string(f.Value.([]byte))
				}
				g.data = append(g.data, e)
			}
			records, data = records+len(s.Records), data+uint32(len(s.Records))
		case netflow.OptionsDataFlowSet:
			for _, r := range s.Records {
				e := elements{}
				for _, f := range append(r.ScopesValues, r.OptionsValues...) {
					e[f.Type] = string(f.Value.([]byte))
				}
				g.pools[uint64(binary.BigEndian.Uint32([]byte(e[283])))] = strings.TrimRight(e[284], "\x00")
			}
			records, data = records+len(s.Records), data+uint32(len(s.Records))
		case netflow.TemplateFlowSet:
			records += len(s.Records)
		case netflow.IPFIXOptionsTemplateFlowSet:
			records += len(s.Records)
		case netflow.NFv9OptionsTemplateFlowSet:
			records += len(s.Records)
		default:
			t.Fatalf("%T", s)
		}
	}
	if v9.Version == 9 {
		require.EqualValues(t, v9.Count, records)
		g.next++
	} else {
		require.EqualValues(t, len(b), v10.Length)
		g.next += data
	}
}

// transport is what an Exporter writes to.
type transport struct {
	t *testing.T
	g *goflow2
	n int // the longest message
}

func (w *transport) Write(b []byte) (int, error) {
	w.g.message(w.t, b)
	w.n = max(w.n, len(b))
	return len(b), nil
}

// requireElements holds what was decoded against what RFC 8158 demands, in order.
func requireElements(t *testing.T, want, got []elements) {
	t.Helper()
	require.Equal(t, len(want), len(got))
	for i, w := range want {
		for ie, v := range w {
			require.Equal(t, fmt.Sprintf("%x", v), fmt.Sprintf("%x", got[i][ie]), "record %d, element %d", i, ie)
		}
	}
}

// TestGoflow2 has goflow2's decoder read messages of all records, under all configurations.
func TestGoflow2(t *testing.T) {
	for _, version := range []ipfix.Version{ipfix.IPFIX, ipfix.NetFlow9} {
		for _, batch := range []bool{false, true} {
			for _, mtu := range []int{512, 1400, 65535} {
				for _, realms := range []bool{false, true} {
					if realms && version == ipfix.NetFlow9 {
						continue
					}
					t.Run(fmt.Sprintf("version=%d/batch=%t/mtu=%d/realms=%t", version, batch, mtu, realms), func(t *testing.T) {
						w := &transport{t: t, g: newGoflow2()}
						x, err := ipfix.NewExporter(w, ipfix.Config{
							Version: version, Batch: batch, MTU: mtu, Realms: realms, Domain: 7, TemplateMessages: 5,
							Pools: []ipfix.Pool{{ID: 7, Name: "cgn"}, {ID: 8, Name: strings.Repeat("n", 64)}},
						})
						require.NoError(t, err)
						var want []elements
						for range 4 {
							for _, r := range records() {
								require.NoError(t, x.Append(&r))
							}
							want = append(want, allExpected(records())...)
						}
						require.NoError(t, x.Flush())
						require.LessOrEqual(t, w.n, mtu)
						requireElements(t, want, w.g.data)
						require.Equal(t, map[uint64]string{7: "cgn", 8: strings.Repeat("n", 64)}, w.g.pools)
						if realms {
							require.Equal(t, "vrf7", w.g.data[0][464])
						}
					})
				}
			}
		}
	}
}

// TestGoflow2Options: mandatory elements alone, remote endpoints, interim records.
func TestGoflow2Options(t *testing.T) {
	for _, version := range []ipfix.Version{ipfix.IPFIX, ipfix.NetFlow9} {
		w := &transport{t: t, g: newGoflow2()}
		x, err := ipfix.NewExporter(w, ipfix.Config{Version: version, Mandatory: true})
		require.NoError(t, err)
		for _, r := range records() {
			require.NoError(t, x.Append(&r))
		}
		want := allExpected(records())
		for _, e := range want {
			if _, block := e[361]; block {
				for _, ie := range []uint16{363, 364, 283} {
					delete(e, ie)
				}
			}
			delete(e, 463)
		}
		requireElements(t, want, w.g.data)

		w = &transport{t: t, g: newGoflow2()}
		x, err = ipfix.NewExporter(w, ipfix.Config{Version: version, Remotes: true, Interim: true})
		require.NoError(t, err)
		for _, r := range records() {
			if r.Kind == logging.SessionCreated && r.Subscriber.Is4() {
				r.Remote = remote
				require.NoError(t, x.Append(&r))
				e := w.g.data[len(w.g.data)-1]
				require.Equal(t, address(remote.Addr()), e[12])
				require.Equal(t, address(remote.Addr()), e[226])
				require.Equal(t, number(uint64(remote.Port()), 2), e[11])
			}
			if r.Kind == logging.BlockInterim {
				require.NoError(t, x.Append(&r))
				e := w.g.data[len(w.g.data)-1]
				require.Equal(t, number(uint64(r.Allocated), 8), e[323])
				require.Equal(t, number(16, 1), e[230])
			}
		}
		require.Equal(t, 2, len(w.g.data))
	}
}
