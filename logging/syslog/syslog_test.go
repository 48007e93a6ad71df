package syslog_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/loggingtest"
	"github.com/blocknat/blocknat/logging/syslog"
)

// message is what a receiver makes of a message.
type message struct {
	pri                 int
	when                time.Time
	host, app, proc, id string
	elements            []string
	params              map[string]map[string]string
	order               map[string][]string
}

// parse reads a message by the grammar of RFC 5424 section 6, strictly, and
// shares no code with the encoder.
func parse(s string) (m message, err error) {
	m.params, m.order = map[string]map[string]string{}, map[string][]string{}
	if !utf8.ValidString(s) {
		return m, fmt.Errorf("no UTF-8")
	}
	rest, ok := strings.CutPrefix(s, "<")
	pri, rest, ok2 := strings.Cut(rest, ">1 ")
	if m.pri, err = strconv.Atoi(pri); err != nil || !ok || !ok2 || m.pri > 191 || pri != strconv.Itoa(m.pri) {
		return m, fmt.Errorf("priority of %q", s)
	}
	var head [5]string
	for i, limit := range []int{64, 255, 48, 128, 32} {
		head[i], rest, ok = strings.Cut(rest, " ")
		if !ok || head[i] == "" || len(head[i]) > limit || strings.ContainsFunc(head[i], func(r rune) bool { return r < 33 || r > 126 }) {
			return m, fmt.Errorf("header field %d of %q", i, s)
		}
	}
	if m.when, err = time.Parse("2006-01-02T15:04:05.999999Z07:00", head[0]); err != nil {
		return m, err
	}
	m.host, m.app, m.proc, m.id = head[1], head[2], head[3], head[4]
	for rest != "" {
		if rest[0] != '[' {
			return m, fmt.Errorf("%q in place of an element", rest)
		}
		end := strings.IndexAny(rest, " ]")
		id := rest[1:end]
		if id == "" || len(id) > 32 || strings.ContainsAny(id, "=\"") || m.params[id] != nil {
			return m, fmt.Errorf("element id %q", id)
		}
		m.elements = append(m.elements, id)
		m.params[id] = map[string]string{}
		rest = rest[end:]
		for rest[0] == ' ' {
			name, value, ok := strings.Cut(rest[1:], `="`)
			if !ok || name == "" || len(name) > 32 || strings.ContainsAny(name, " ]\"") {
				return m, fmt.Errorf("parameter %q", rest)
			}
			var b strings.Builder
			i := 0
			for ; value[i] != '"'; i++ {
				switch {
				case value[i] == '\\' && strings.ContainsRune(`"\]`, rune(value[i+1])):
					i++
				case value[i] == ']':
					return m, fmt.Errorf("bare ] in %q", value)
				}
				b.WriteByte(value[i])
			}
			rest = value[i+1:]
			m.params[id][name] = b.String()
			m.order[id] = append(m.order[id], name)
		}
		rest = rest[1:]
	}
	return m, nil
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestSYS_03 compares with the message that VPP writes.
func TestSYS_03(t *testing.T) {
	r := logging.Record{Kind: logging.MappingCreated, Time: 1700000000123, Host: "cgn1", Internal: netip.MustParseAddrPort("100.64.0.1:40000"),
		External: addr("203.0.113.5"), First: 50000, Last: 50000, Protocol: 17}
	require.Equal(t, `<134>1 2023-11-14T22:13:20.123Z cgn1 NAT - APMADD [napmap SSUBIX="0" SVLAN="0" IATYP="IPv4" ISADDR="100.64.0.1" ISPORT="40000" XATYP="IPv4" XSADDR="203.0.113.5" XSPORT="50000" PROTO="17"]`,
		string(syslog.Encoder{VPP: true, DraftOnly: true}.AppendMessage(nil, &r)))
	r.Kind = logging.MappingDeleted
	require.Contains(t, string(syslog.Encoder{}.AppendMessage(nil, &r)), " APMDEL [napmap ")
}

// TestSYS_02: sessions in the form of VPP.
func TestSYS_02(t *testing.T) {
	r := logging.Record{Kind: logging.SessionCreated, Time: 1700000000123, Host: "cgn1", Realm: "7", Internal: netip.MustParseAddrPort("[2001:db8::1]:40000"),
		External: addr("203.0.113.5"), First: 50000, Last: 50000, Protocol: 6, Remote: netip.MustParseAddrPort("192.0.2.1:443")}
	require.Equal(t, `<134>1 2023-11-14T22:13:20.123Z cgn1 NAT - SADD [nsess SVLAN="7" IATYP="IPv6" ISADDR="2001:db8::1" ISPORT="40000" XATYP="IPv4" XSADDR="203.0.113.5" XSPORT="50000" PROTO="6" XDADDR="192.0.2.1" XDPORT="443"]`,
		string(syslog.Encoder{VPP: true, DraftOnly: true}.AppendMessage(nil, &r)))
}

// TestSYS_01_06: facility, severity, application and the content of a block.
func TestSYS_01_06(t *testing.T) {
	r := loggingtest.Records()[0]
	r.SubscriberID, r.Time = "489321", 1795228200123
	require.Equal(t, `<134>1 2026-11-21T02:30:00.123Z cgn1.example.net NAT - PTADD [nprng NATINST="1" SSUBIX="489321" IRLM="vrf7" IATYP="IPv4" ISADDR="100.64.1.10" `+
		`XATYP="IPv4" XSADDR="198.51.100.7" PORTMN="20480" PORTMX="20735" TRIG="OPKT"]`+
		`[blocknat@32473 kind="block-allocated" host="cgn1.example.net" epoch="3" pool_id="7" pool="cgn" subscriber_id="489321" step="1" spaces="tcp+udp+icmp" reason="outbound" used="1" max="4"]`,
		string(syslog.Encoder{}.AppendMessage(nil, &r)))
	for id, want := range map[string]string{"4294967295": "4294967295", "4294967296": "0", "line 4": "0", "99999999999": "0"} {
		r.SubscriberID = id
		require.Contains(t, string(syslog.Encoder{}.AppendMessage(nil, &r)), ` SSUBIX="`+want+`" `)
	}
	r.Kind, r.Allocated, r.Reason = logging.BlockReleased, r.Time-1000, logging.ReasonIdle
	m, err := parse(string(syslog.Encoder{Registered: true, Enterprise: 99, ProcID: "12 3", Facility: 23, Host: "other"}.AppendMessage(nil, &r)))
	require.NoError(t, err)
	require.Equal(t, []string{"nprng@99", "blocknat@99"}, m.elements)
	require.Equal(t, "PTDEL other 12_3 190", fmt.Sprint(m.id, " ", m.host, " ", m.proc, " ", m.pri))
	require.Equal(t, "2026-11-21T02:29:59.123Z", m.params["blocknat@99"]["allocated"], "a release stands alone")
	require.Equal(t, "AUTO", m.params["nprng@99"]["TRIG"])
}

// TestSYS_04: what the draft does not have is in a private element only.
func TestSYS_04(t *testing.T) {
	for _, r := range loggingtest.Records() {
		m, err := parse(string(syslog.Encoder{DraftOnly: true}.AppendMessage(nil, &r)))
		require.NoError(t, err)
		require.Len(t, m.elements, 1)
		private := strings.HasPrefix(m.elements[0], "blocknat@")
		if private {
			require.Equal(t, r.Kind.String(), m.id)
			require.Equal(t, r.Kind.String(), m.params[m.elements[0]]["kind"])
		} else {
			require.Contains(t, []string{"nprng", "napmap", "nsess", "namap"}, m.elements[0])
		}
		switch r.Kind {
		case logging.BlockInterim, logging.QuotaExceeded, logging.AddressesExhausted, logging.PortsExhausted,
			logging.ThresholdHigh, logging.ThresholdLow, logging.ConfigEpoch:
			require.True(t, private, r.Kind)
		default:
			require.False(t, private, r.Kind)
			require.Equal(t, 16*8+6, m.pri, "informational")
		}
		switch r.Kind {
		case logging.QuotaExceeded, logging.AddressesExhausted, logging.PortsExhausted, logging.ThresholdHigh:
			require.Equal(t, 16*8+4, m.pri, "warning")
		}
	}
}

// TestSYS_05 draws any text and any kind; a strict receiver gets back what went
// in. Control characters become three octal digits.
func TestSYS_05(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom(loggingtest.Records()).Draw(t, "record")
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{`"\]`, "a\nb", "\xff", `\`, "]", "", "\x7f"}))
		r.Pool, r.Host, r.SubscriberID = text.Draw(t, "pool"), text.Draw(t, "host"), text.Draw(t, "id")
		e := syslog.Encoder{Registered: rapid.Bool().Draw(t, "registered")}
		line := string(e.AppendRecord([]byte("x"), &r)[1:])
		if strings.Count(line, "\n") != 1 || line[len(line)-1] != '\n' {
			t.Fatalf("not one line: %q", line)
		}
		m, err := parse(line[:len(line)-1])
		if err != nil {
			t.Fatal(err)
		}
		if m.when.UnixMilli() != int64(r.Time) || m.app != "NAT" {
			t.Fatalf("%v %s", m.when, m.app)
		}
		for name, want := range map[string]string{"pool": r.Pool, "subscriber_id": r.SubscriberID} {
			var b strings.Builder
			for _, c := range want { // wrong bytes come as U+FFFD
				if c < 0x20 || c == 0x7f {
					fmt.Fprintf(&b, "#%03o", c)
				} else {
					b.WriteRune(c)
				}
			}
			if got := m.params["blocknat@32473"][name]; got != b.String() {
				t.Fatalf("%s: got %q, want %q", name, got, b.String())
			}
		}
		frame := e.AppendFrame([]byte("x"), &r)[1:]
		length, msg, _ := bytes.Cut(frame, []byte(" "))
		if string(length) != strconv.Itoa(len(msg)) || string(msg) != line[:len(line)-1] {
			t.Fatalf("frame %q", frame)
		}
		if framed := (syslog.Frames{Encoder: e}).AppendRecord(nil, &r); !bytes.Equal(framed, frame) {
			t.Fatalf("Frames %q", framed)
		}
	})
}

func TestConformance(t *testing.T) {
	loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
		return loggingtest.Harness{Log: logging.NewWriter(&bytes.Buffer{}, syslog.Encoder{})}
	})
}

// TestUDP sends a message of each kind to a socket on loopback: one a datagram
// (RFC 5426 section 3.1).
func TestUDP_SYS_01(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer server.Close()
	conn, err := net.Dial("udp", server.LocalAddr().String())
	require.NoError(t, err)
	defer conn.Close()
	l := logging.NewMessageWriter(conn, syslog.Datagrams{})
	buf := make([]byte, 65536)
	for _, r := range loggingtest.Records() {
		require.NoError(t, l.Append(&r))
		require.NoError(t, server.SetReadDeadline(time.Now().Add(10*time.Second)))
		n, _, err := server.ReadFrom(buf)
		require.NoError(t, err)
		m, err := parse(string(buf[:n]))
		require.NoError(t, err)
		require.Equal(t, r.Time.Time(), m.when)
	}
}

// TestStream reads frames from a connection by their lengths alone (RFC 6587
// section 3.4.1).
func TestStream(t *testing.T) {
	var b bytes.Buffer
	l := logging.NewMessageWriter(&b, syslog.Frames{})
	for _, r := range loggingtest.Records() {
		r.Pool = "two\nlines"
		require.NoError(t, l.Append(&r))
	}
	n := 0
	for ; b.Len() > 0; n++ {
		length, err := b.ReadString(' ')
		require.NoError(t, err)
		size, err := strconv.Atoi(strings.TrimSpace(length))
		require.NoError(t, err)
		_, err = parse(string(b.Next(size)))
		require.NoError(t, err)
	}
	require.Equal(t, len(loggingtest.Records()), n)
}

func TestAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 4096)
	var enc logging.Encoder = syslog.Encoder{}
	var frames logging.Encoder = syslog.Frames{}
	for _, r := range loggingtest.Records() {
		require.Zero(t, testing.AllocsPerRun(10, func() { buf = enc.AppendRecord(buf[:0], &r) }), r.Kind)
		require.Zero(t, testing.AllocsPerRun(10, func() { buf = frames.AppendRecord(buf[:0], &r) }), r.Kind)
	}
}

func BenchmarkEncode(b *testing.B) {
	r := loggingtest.Records()[0]
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = syslog.Encoder{}.AppendMessage(buf[:0], &r)
	}
	b.SetBytes(int64(len(buf)))
}

func ExampleEncoder() {
	r := logging.Record{
		Kind: logging.BlockAllocated, Time: 1795228210123, Host: "cgn1", Spaces: logging.AllSpaces, Reason: logging.ReasonOutbound,
		Subscriber: addr("100.64.1.10"), External: addr("198.51.100.7"), First: 20480, Last: 20735,
	}
	fmt.Printf("%s\n", syslog.Encoder{DraftOnly: true}.AppendMessage(nil, &r))
	// Output: <134>1 2026-11-21T02:30:10.123Z cgn1 NAT - PTADD [nprng NATINST="0" SSUBIX="0" IATYP="IPv4" ISADDR="100.64.1.10" XATYP="IPv4" XSADDR="198.51.100.7" PORTMN="20480" PORTMX="20735" TRIG="OPKT"]
}
