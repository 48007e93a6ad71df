package interop

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging/ipfix"
	"github.com/blocknat/blocknat/logging/netsink"
)

// tsharkFields are the fields of tshark's cflow dissector for the elements.
var tsharkFields = map[uint16]string{
	323: "observation_time_milliseconds", 230: "nat_event", 4: "protocol", 7: "srcport", 8: "srcaddr", 27: "srcaddrv6",
	225: "post_natsource_ipv4_address", 227: "post_naptsource_transport_port",
	361: "port_range_start", 362: "port_range_end", 363: "port_range_step_size", 364: "port_range_num_ports",
	283: "nat_pool_id", 463: "nat_instanceid", 466: "nat_quota_exceeded_event", 467: "nat_threshold_event",
	471: "max_session_entries", 472: "max_bib_entries", 473: "max_entries_per_user", 474: "max_subscribers", 475: "max_fragments_pending_reassembly",
	476: "addresspool_highthreshold", 477: "addresspool_lowthreshold", 478: "addressport_mapping_highthreshold",
	480: "addressport_mapping_per_user_highthreshold", 481: "global_addressmapping_highthreshold",
}

// datagrams receives what a sink sends over UDP until it is closed.
func datagrams(t *testing.T, open func(addr string) (*netsink.Sink, error)) (out [][]byte) {
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer pc.Close()
	s, err := open(pc.LocalAddr().String())
	require.NoError(t, err)
	b := make([]byte, 1<<16)
	for _, r := range records() { // one by one, so that each is a message
		require.NoError(t, s.Append(&r))
		if len(expected(r)) == 0 {
			continue
		}
		require.NoError(t, pc.SetReadDeadline(time.Now().Add(patience)))
		n, err := pc.Read(b)
		require.NoError(t, err)
		out = append(out, slices.Clone(b[:n]))
	}
	finish(t, s)
	return out
}

// stream receives what a sink sends over TCP, cut into messages by their lengths.
func stream(t *testing.T, open func(addr string) (*netsink.Sink, error)) (out [][]byte) {
	addr, got := receive(t)
	s, err := open(addr)
	send(t, s, err, records())
	select {
	case b := <-got:
		for len(b) > 0 {
			n := binary.BigEndian.Uint16(b[2:])
			out = append(out, b[:n])
			b = b[n:]
		}
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	return out
}

// capture writes payloads as a file of pcap: IPv4 packets from one port to another, of
// UDP or of one TCP connection, without checksums.
func capture(t *testing.T, path string, tcp bool, port uint16, payloads [][]byte) {
	le, be := binary.LittleEndian, binary.BigEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(le.AppendUint32(b, 1<<18), 101) // raw IP
	sequence := uint32(1)
	for i, p := range payloads {
		var l4 []byte
		if tcp {
			l4 = be.AppendUint16(be.AppendUint16(nil, 40000), port)
			l4 = be.AppendUint32(be.AppendUint32(l4, sequence), 1)
			l4 = append(l4, 5<<4, 0x18, 0xff, 0xff, 0, 0, 0, 0)
			sequence += uint32(len(p))
		} else {
			l4 = be.AppendUint16(be.AppendUint16(nil, 40000), port)
			l4 = be.AppendUint16(be.AppendUint16(l4, uint16(8+len(p))), 0)
		}
		l4 = append(l4, p...)
		ip := []byte{0x45, 0, 0, 0, 0, byte(i), 0x40, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1}
		if tcp {
			ip[9] = 6
		}
		be.PutUint16(ip[2:], uint16(len(ip)+len(l4)))
		n := uint32(len(ip) + len(l4))
		b = le.AppendUint32(le.AppendUint32(b, 1795228210), uint32(i))
		b = le.AppendUint32(le.AppendUint32(b, n), n)
		b = append(append(b, ip...), l4...)
	}
	require.NoError(t, os.WriteFile(path, b, 0o644))
}

// TestTshark: tshark's dissector of IPFIX and NetFlow 9 names all elements of all records with their values, and has no complaint.
func TestTshark(t *testing.T) {
	for name, one := range map[string]struct {
		network string
		version ipfix.Version
	}{"IPFIX over UDP": {"udp", ipfix.IPFIX}, "NetFlow 9 over UDP": {"udp", ipfix.NetFlow9}, "IPFIX over TCP": {"tcp", ipfix.IPFIX}} {
		t.Run(name, func(t *testing.T) {
			path := tool(t, "tshark", "tshark")
			open := func(addr string) (*netsink.Sink, error) {
				return netsink.NewIPFIX(one.network, addr, ipfix.Config{Version: one.version}, netsink.Config{})
			}
			messages := datagrams
			if one.network == "tcp" {
				messages = stream
			}
			file := filepath.Join(t.TempDir(), "records.pcap")
			capture(t, file, one.network == "tcp", 4739, messages(t, open))
			var elements []uint16
			args := []string{"-n", "-r", file, "-d", one.network + ".port==4739,cflow", "-T", "fields", "-E", "separator=|", "-E", "aggregator=;"}
			for ie, field := range tsharkFields {
				elements = append(elements, ie)
				args = append(args, "-e", "cflow."+field)
			}
			args = append(args, "-e", "_ws.malformed", "-e", "_ws.expert.message")
			cmd := exec.Command(path, args...)
			cmd.Env = append(os.Environ(), "TZ=UTC")
			out, err := cmd.Output()
			require.NoError(t, err)

			// Of each element, the values in the order in which they were sent.
			got := map[uint16][]string{}
			for _, line := range strings.Split(strings.TrimRight(string(out), "\n"), "\n") {
				values := strings.Split(line, "|")
				require.Equal(t, len(elements)+2, len(values), line)
				require.Equal(t, []string{"", ""}, values[len(elements):], line)
				for i, ie := range elements {
					if values[i] != "" {
						got[ie] = append(got[ie], strings.Split(values[i], ";")...)
					}
				}
			}
			want := map[uint16][]string{}
			for _, e := range allExpected(records()) {
				for ie, v := range e {
					value := shown(ie, v)
					if ie == 323 {
						at, err := time.Parse("2006-01-02T15:04:05.000", value)
						require.NoError(t, err)
						value = at.Format("Jan _2, 2006 15:04:05.000000000 UTC")
					}
					want[ie] = append(want[ie], value)
				}
			}
			require.Equal(t, len(allExpected(records())), len(got[230]))
			for ie, w := range want {
				if ie == 463 || ie == 4 || ie == 7 || ie == 227 { // optional ones stand in more records
					require.Subset(t, got[ie], w, fmt.Sprint("element ", ie))
					continue
				}
				require.Equal(t, w, got[ie], "element %d", ie)
			}
		})
	}
}
