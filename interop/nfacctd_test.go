package interop

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging/ipfix"
	"github.com/blocknat/blocknat/logging/netsink"
)

// nfacctdNames are the names of the elements in nfacctd's JSON: its own and those
// of config/primitives.lst.
var nfacctdNames = map[uint16]string{
	230: "nat_event", 7: "port_src", 8: "ip_src", 27: "ip_src", 225: "post_nat_ip_src", 227: "post_nat_port_src",
	361: "block_first", 362: "block_last", 363: "block_step", 364: "block_ports", 283: "pool", 463: "instance",
	466: "quota_event", 471: "max_sessions", 472: "max_mappings", 473: "max_per_subscriber", 474: "max_subscribers", 475: "max_fragments",
	467: "threshold_event", 476: "pool_high", 477: "pool_low", 478: "mappings_high", 480: "per_subscriber_high", 481: "addresses_high",
}

// protocols are what nfacctd makes of protocolIdentifier.
var protocols = map[string]string{"\x01": "icmp", "\x06": "tcp", "\x11": "udp"}

// TestNfacctd: pmacct's nfacctd shows all elements of all records, from IPFIX and from NetFlow 9.
func TestNfacctd(t *testing.T) {
	for _, version := range []ipfix.Version{ipfix.IPFIX, ipfix.NetFlow9} {
		t.Run(fmt.Sprint("version=", version), func(t *testing.T) {
			t.Parallel()
			path := tool(t, "nfacctd", "pmacct")
			dir, port := place(t), free(t, "udp")
			configure(t, dir, nil, "primitives.lst")
			configure(t, dir, []string{"4739", fmt.Sprint(port)}, "nfacctd.conf")
			d := start(t, dir, path, "-f", "nfacctd.conf")
			d.end = syscall.SIGINT
			d.listening("udp", port)
			// What comes before the plugin is ready stays in the pipe to it until more comes.
			await(t, "the plugin is ready", func() bool { return strings.Contains(d.out.String(), "no print_output_file") })
			s, err := netsink.NewIPFIX("udp", fmt.Sprintf("127.0.0.1:%d", port), ipfix.Config{Version: version}, netsink.Config{})
			send(t, s, err, records())
			want := allExpected(records())
			await(t, "all records are printed", func() bool { return strings.Count(d.out.String(), `"nat_event"`) >= len(want) })
			d.stop()

			got := map[string][]map[string]any{} // by time; several of one time differ in protocol
			lines := 0
			for _, line := range strings.Split(d.out.String(), "\n") {
				if !strings.HasPrefix(line, "{") {
					continue
				}
				var e map[string]any
				require.NoError(t, json.Unmarshal([]byte(line), &e), line)
				at := fmt.Sprint(e["timestamp_start"])
				got[at] = append(got[at], e)
				lines++
			}
			require.Equal(t, len(want), lines)
			for i, w := range want {
				ms := binary.BigEndian.Uint64([]byte(w[323]))
				var e map[string]any
				for _, one := range got[fmt.Sprintf("%d.%03d000", ms/1000, ms%1000)] {
					if w[4] == "" || one["ip_proto"] == protocols[w[4]] {
						e = one
					}
				}
				require.NotNil(t, e, "record %d is missing", i)
				for ie, v := range w {
					if name := nfacctdNames[ie]; name != "" {
						require.Equal(t, shown(ie, v), fmt.Sprint(e[name]), "record %d: %s", i, name)
					}
				}
			}
		})
	}
}
