package interop

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging/ipfix"
	"github.com/blocknat/blocknat/logging/netsink"
)

// nfdumpNames are the names in nfdump's JSON of the elements that it keeps.
var nfdumpNames = map[uint16]string{
	323: "t_event", 230: "nat_event_id", 4: "proto", 7: "src_port", 8: "src4_addr", 27: "src6_addr", 225: "src4_xlt_ip", 227: "src_xlt_port",
	361: "pblock_start", 362: "pblock_end", 363: "pblock_step", 364: "pblock_size",
}

// shown returns an element as nfdump shows it.
func shown(ie uint16, v string) string {
	switch ie {
	case 323:
		return time.UnixMilli(int64(binary.BigEndian.Uint64([]byte(v)))).UTC().Format("2006-01-02T15:04:05.000")
	case 8, 27, 225:
		a, _ := netip.AddrFromSlice([]byte(v))
		return a.String()
	}
	n := uint64(0)
	for _, c := range []byte(v) {
		n = n<<8 | uint64(c)
	}
	return fmt.Sprint(n)
}

// TestNfdump: nfcapd takes all records, and nfdump shows of NetFlow 9 the event, its time, the addresses, the ports and
// the block of each. Debian's version 1.7.1 drops the block from IPFIX; 1.7.4 and later keep it.
func TestNfdump(t *testing.T) {
	for _, version := range []ipfix.Version{ipfix.NetFlow9, ipfix.IPFIX} {
		t.Run(fmt.Sprint("version=", version), func(t *testing.T) {
			capd, dump := tool(t, "nfcapd", "nfdump"), tool(t, "nfdump", "nfdump")
			dir, port := place(t), free(t, "udp")
			// The command of docs/collectors.md, with another port and directory.
			d := start(t, dir, capd, "-b", "127.0.0.1", "-p", fmt.Sprint(port), "-w", dir)
			d.listening("udp", port)
			s, err := netsink.NewIPFIX("udp", fmt.Sprintf("127.0.0.1:%d", port), ipfix.Config{Version: version}, netsink.Config{})
			send(t, s, err, records())
			drained(t, port)
			d.stop() // it closes its file
			files, err := filepath.Glob(filepath.Join(dir, "nfcapd.*"))
			require.NoError(t, err)
			require.Len(t, files, 1)
			cmd := exec.Command(dump, "-r", files[0], "-o", "json")
			cmd.Env = append(os.Environ(), "TZ=UTC")
			out, err := cmd.Output()
			require.NoError(t, err)
			var got []map[string]any
			require.NoError(t, json.Unmarshal(out, &got), "%s", out)

			want := allExpected(records())
			require.Equal(t, len(want), len(got))
			blocks := 0
			for i, w := range want {
				for ie, v := range w {
					name := nfdumpNames[ie]
					if name == "" {
						continue
					}
					value, ok := got[i][name]
					if ie >= 361 && version == ipfix.IPFIX && !ok {
						continue
					}
					require.Equal(t, shown(ie, v), fmt.Sprint(value), "record %d: %s", i, name)
					if ie == 361 {
						blocks++
					}
				}
			}
			if version == ipfix.NetFlow9 {
				require.Equal(t, 10, blocks)
			}
		})
	}
}
