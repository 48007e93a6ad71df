package proof

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"go/build"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/examples/quickstart/internal/testpacket"
)

var (
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	times = Times{HoldDown: 2 * time.Minute, GuardTime: 2 * time.Minute, UDP: 5 * time.Minute, ICMP: time.Minute, TCP: 4 * time.Minute}
)

const (
	sub, other = "100.64.0.1", "100.64.0.2"
	remote     = "198.18.0.9:53"
	ext        = "203.0.113.1"
)

// outbound is a translated datagram, built twice: as the subscriber and as the NAT writes it.
func outbound(n int, after time.Duration, internal, external string) Case {
	b := testpacket.UDP(internal, remote, "query")
	return Case{Number: n, Time: start.Add(after), Way: Outbound, Original: b, Given: b, Result: testpacket.UDP(external, remote, "query")}
}

// inbound is the answer.
func inbound(n int, after time.Duration, internal, external string) Case {
	b := testpacket.UDP(remote, internal, "answer")
	return Case{Number: n, Time: start.Add(after), Way: Inbound, Original: b, Given: testpacket.UDP(remote, external, "answer"), Result: bytes.Clone(b)}
}

// hairpin is a datagram between subscribers.
func hairpin(n int, after time.Duration, src, extSrc, dst, extDst string) Case {
	return Case{Number: n, Time: start.Add(after), Way: Hairpin, Original: testpacket.UDP(src, dst, "hello"),
		Given: testpacket.UDP(src, extDst, "hello"), Result: testpacket.UDP(extSrc, dst, "hello")}
}

// later is the second fragment of a datagram.
func later(src, dst string) []byte {
	return testpacket.Fragments(testpacket.UDP(src+":5000", dst+":80", "sixteen bytes of data"), 16)[1]
}

func allocated(after time.Duration, sub, ext string, first int) string {
	return line("block-allocated", after, sub, ext, first)
}

func released(after time.Duration, sub, ext string, first int) string {
	return line("block-released", after, sub, ext, first)
}

func line(kind string, after time.Duration, sub, ext string, first int) string {
	return fmt.Sprintf(`{"kind":%q,"time":%q,"subscriber":%q,"external":%q,"first":%d,"last":%d,"spaces":["tcp","udp","icmp"]}`+"\n",
		kind, start.Add(after).Format("2006-01-02T15:04:05.000Z"), sub, ext, first, first+255)
}

// judge returns the violations by check, after the packets and the records.
func judge(t *testing.T, records string, cases ...Case) map[string]int {
	p := New(times)
	for _, c := range cases {
		p.Packet(c)
	}
	require.NoError(t, p.Records(strings.NewReader(records)))
	found := map[string]int{}
	sum := 0
	for _, c := range p.Checks() {
		if c.Violations > 0 {
			found[c.Name] = c.Violations
			require.NotEmpty(t, c.Examples)
		}
		sum += c.Violations
	}
	require.Equal(t, sum, p.Violations())
	return found
}

const minute = time.Minute

// block is the record of the only block that most tests need.
var block = allocated(0, sub, ext, 4096) + released(10*minute, sub, ext, 4096)

func TestAllIsWell(t *testing.T) {
	second := allocated(0, other, ext, 8192) + released(10*minute, other, ext, 8192)
	tcp := func(src, dst string) []byte { return testpacket.TCP(src, dst, testpacket.SYN, "") }
	syn := Case{Number: 4, Time: start, Original: tcp(sub+":5000", remote), Given: tcp(sub+":5000", remote), Result: tcp(ext+":4099", remote)}
	echo := Case{Number: 5, Time: start, Original: testpacket.ICMP(sub, "198.18.0.9", 8, 1, 1, "x"),
		Given: testpacket.ICMP(sub, "198.18.0.9", 8, 1, 1, "x"), Result: testpacket.ICMP(ext, "198.18.0.9", 8, 4100, 1, "x")}
	quoteOriginal := testpacket.UDP(sub+":5000", remote, "query")
	quoteGiven := testpacket.UDP(ext+":4097", remote, "query")
	unreachable := Case{Number: 6, Time: start, Way: Inbound, Original: testpacket.Unreachable("198.18.0.9", sub, quoteOriginal),
		Given: testpacket.Unreachable("198.18.0.9", ext, quoteGiven), Result: testpacket.Unreachable("198.18.0.9", sub, quoteOriginal)}
	require.Empty(t, judge(t, block+second,
		outbound(1, 0, sub+":5000", ext+":4097"), inbound(2, time.Second, sub+":5000", ext+":4097"),
		hairpin(3, 2*time.Second, sub+":5000", ext+":4097", other+":80", ext+":8200"), syn, echo, unreachable))
}

// TestItCanFail breaks one thing a time and sees the violation counted by the check that is there for it.
func TestItCanFail(t *testing.T) {
	const (
		right       = "checksums that were right are right (computed in full)"
		wrong       = "checksums that were wrong are still wrong (computed in full)"
		cut         = "checksums over bytes that are not all there (by difference)"
		none        = "UDP without checksum stays without"
		rest        = "nothing else in the packet has changed"
		restored    = "inbound packets are restored byte for byte"
		hairpinned  = "hairpinned packets reach their receiver and hide their sender"
		owner       = "no two subscribers share an external endpoint at one time"
		holdDown    = "an external endpoint rests before it serves another internal one"
		independent = "an internal endpoint has one external endpoint for all remotes"
		paired      = "a subscriber has one external address"
		resolve     = "address, port and time lead through the block records to the subscriber"
		overlap     = "no two blocks overlap"
		guard       = "a released block rests for the guard time"
		finally     = "every block is released in the end"
		decoded     = "packets that gopacket decodes before and after"
	)
	good := func() Case { return outbound(1, 0, sub+":5000", ext+":4097") }
	edit := func(c Case, f func(c *Case)) Case { f(&c); return c }
	for _, c := range []struct {
		name    string
		check   string
		records string
		cases   []Case
	}{
		{"an IP checksum is broken", right, block, []Case{edit(good(), func(c *Case) { c.Result[10] ^= 1 })}},
		{"a UDP checksum is broken", right, block, []Case{edit(good(), func(c *Case) { c.Result[26] ^= 1 })}},
		{"a wrong UDP checksum is mended", wrong, block, []Case{edit(good(), func(c *Case) { c.Given[26] ^= 1 })}},
		{"a wrong IP checksum is mended", wrong, block, []Case{edit(good(), func(c *Case) { c.Given[10] ^= 1 })}},
		{"the checksum of a cut packet is off", cut, block, []Case{edit(good(), func(c *Case) {
			c.Given, c.Original, c.Result = c.Given[:30], c.Original[:30], c.Result[:30]
			c.Result[26] ^= 1
		})}},
		{"a UDP checksum appears", none, block, []Case{edit(good(), func(c *Case) { clear(c.Given[26:28]) })}},
		{"a UDP checksum disappears", none, block, []Case{edit(good(), func(c *Case) { clear(c.Result[26:28]) })}},
		{"the payload changes", rest, block, []Case{edit(good(), func(c *Case) { c.Result[28] ^= 1 })}},
		{"the TTL changes", rest, block, []Case{edit(good(), func(c *Case) { c.Result[8]-- })}},
		{"the destination changes", rest, block, []Case{edit(good(), func(c *Case) { c.Result[19]++ })}},
		{"the length changes", rest, block, []Case{edit(good(), func(c *Case) { c.Result = append(c.Result, 0) })}},
		{"it is no IPv4 any more", decoded, block, []Case{edit(good(), func(c *Case) { c.Result[0] = 0x65 })}},
		{"an answer goes to another port", restored, block, []Case{edit(inbound(1, 0, sub+":5000", ext+":4097"), func(c *Case) { c.Result[23]++ })}},
		{"a hairpinned packet goes to another host", hairpinned, block + allocated(0, other, ext, 8192) + released(minute, other, ext, 8192),
			[]Case{edit(hairpin(1, 0, sub+":5000", ext+":4097", other+":80", ext+":8200"), func(c *Case) { c.Result = testpacket.UDP(ext+":4097", "100.64.0.3:80", "hello") })}},
		{"a hairpinned fragment goes to another host", hairpinned, "", []Case{{Number: 1, Time: start, Way: Hairpin,
			Original: later(sub, other), Given: later(sub, ext), Result: later(ext, "100.64.0.3")}}},
		{"a hairpinned packet goes to another port", hairpinned, block + allocated(0, other, ext, 8192) + released(minute, other, ext, 8192),
			[]Case{edit(hairpin(1, 0, sub+":5000", ext+":4097", other+":80", ext+":8200"), func(c *Case) { c.Result = testpacket.UDP(ext+":4097", other+":81", "hello") })}},
		{"a hairpinned packet shows its sender", hairpinned, block + allocated(0, other, ext, 8192) + released(minute, other, ext, 8192),
			[]Case{edit(hairpin(1, 0, sub+":5000", ext+":4097", other+":80", ext+":8200"), func(c *Case) { c.Result = testpacket.UDP(sub+":5000", other+":80", "hello") })}},
		{"two subscribers share an endpoint", owner, block, []Case{good(), outbound(2, minute, other+":7000", ext+":4097")}},
		{"a port is used again without a rest", holdDown, block, []Case{good(), outbound(2, minute, sub+":7000", ext+":4097")}},
		{"a mapping depends on the remote", independent, block, []Case{good(), outbound(2, minute, sub+":5000", ext+":4098")}},
		{"a subscriber has two addresses", paired, block + allocated(0, sub, "203.0.113.2", 4096) + released(minute, sub, "203.0.113.2", 4096),
			[]Case{good(), outbound(2, time.Second, sub+":6000", "203.0.113.2:4097")}},
		{"no block was recorded", resolve, "", []Case{good()}},
		{"the block is recorded too late", resolve, allocated(time.Second, sub, ext, 4096) + released(minute, sub, ext, 4096), []Case{good()}},
		{"the block is released too early", resolve, allocated(0, sub, ext, 4096) + released(minute, sub, ext, 4096),
			[]Case{good(), outbound(2, minute+time.Millisecond, sub+":5000", ext+":4097")}},
		{"the block is another one", resolve, allocated(0, sub, ext, 8192) + released(minute, sub, ext, 8192), []Case{good()}},
		{"the block is another subscriber's", resolve, allocated(0, other, ext, 4096) + released(minute, other, ext, 4096), []Case{good()}},
		{"the block has another address", resolve, allocated(0, sub, "203.0.113.2", 4096) + released(minute, sub, "203.0.113.2", 4096), []Case{good()}},
		{"two subscribers hold the block", overlap, block + allocated(minute, other, ext, 4096) + released(2*minute, other, ext, 4096), nil},
		{"two blocks meet in a part", overlap, block + allocated(minute, other, ext, 4200) + released(2*minute, other, ext, 4200), nil},
		{"a block is released by another", overlap, block + released(minute, other, ext, 4096), nil},
		{"a block does not rest", guard, block + allocated(11*minute, other, ext, 4096) + released(12*minute, other, ext, 4096), nil},
		{"a block stays", finally, allocated(0, sub, ext, 4096), []Case{good()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Contains(t, judge(t, c.records, c.cases...), c.check)
		})
	}
}

func TestQuotationsCanFail(t *testing.T) {
	quoteOriginal := testpacket.UDP(sub+":5000", remote, "query")
	quoteGiven := testpacket.UDP(ext+":4097", remote, "query")
	fresh := func() Case {
		return Case{Number: 1, Time: start, Way: Inbound, Original: testpacket.Unreachable("198.18.0.9", sub, quoteOriginal),
			Given: testpacket.Unreachable("198.18.0.9", ext, quoteGiven), Result: testpacket.Unreachable("198.18.0.9", sub, quoteOriginal)}
	}
	require.Empty(t, judge(t, block, fresh()))
	for name, at := range map[string]int{"ICMP checksum": 22, "quoted IP checksum": 38, "quoted UDP checksum": 54, "quoted source port": 48, "quoted source": 43, "quoted payload": 56} {
		t.Run(name, func(t *testing.T) {
			c := fresh()
			c.Result[at] ^= 1
			require.NotEmpty(t, judge(t, block, c))
		})
	}
	t.Run("the quotation's other side, with right checksums", func(t *testing.T) {
		c := fresh()
		c.Result = testpacket.Unreachable("198.18.0.9", sub, testpacket.UDP(sub+":5000", "198.18.0.9:54", "query"))
		require.Contains(t, judge(t, block, c), "nothing else in the packet has changed")
	})
}

// TestEveryByteCounts flips each bit of a result: none goes unseen.
func TestEveryByteCounts(t *testing.T) {
	for name, c := range map[string]Case{
		"outbound": outbound(1, 0, sub+":5000", ext+":4097"),
		"inbound":  inbound(1, 0, sub+":5000", ext+":4097"),
	} {
		for bit := range 8 * len(c.Result) {
			c := c
			c.Result = bytes.Clone(c.Result)
			c.Result[bit/8] ^= 1 << (bit % 8)
			require.NotEmpty(t, judge(t, block, c), "%s: bit %d", name, bit)
		}
	}
}

func TestPortsMayBeUsedAgainAfterARest(t *testing.T) {
	second := allocated(13*minute, other, ext, 4096) + released(20*minute, other, ext, 4096)
	require.Empty(t, judge(t, block+second,
		outbound(1, 0, sub+":5000", ext+":4097"),
		outbound(2, 7*minute, sub+":7000", ext+":4097"),
		outbound(3, 14*minute, other+":7000", ext+":4097")))
}

func TestDropped(t *testing.T) {
	p := New(times)
	b := testpacket.UDP(sub+":5000", remote, "query")
	p.Dropped(1, b, bytes.Clone(b))
	require.Zero(t, p.Violations())
	changed := bytes.Clone(b)
	changed[12]++
	p.Dropped(2, b, changed)
	require.Equal(t, 1, p.Violations())
}

func TestPcap(t *testing.T) {
	c := outbound(1, 0, sub+":5000", ext+":4097")
	write := func(link layers.LinkType, packets ...[]byte) *bytes.Buffer {
		var b bytes.Buffer
		w := pcapgo.NewWriterNanos(&b)
		require.NoError(t, w.WriteFileHeader(65535, link))
		for _, p := range packets {
			require.NoError(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: start, CaptureLength: len(p), Length: len(p)}, p))
		}
		return &b
	}
	changed := bytes.Clone(c.Result)
	changed[30] ^= 1
	for name, x := range map[string]struct {
		file *bytes.Buffer
		want int
	}{
		"as judged":         {write(layers.LinkTypeRaw, c.Result), 0},
		"changed":           {write(layers.LinkTypeRaw, changed), 1},
		"missing":           {write(layers.LinkTypeRaw), 1},
		"one more":          {write(layers.LinkTypeRaw, c.Result, c.Result), 1},
		"another link type": {write(layers.LinkTypeEthernet, c.Result), 1},
	} {
		p := New(times)
		p.Packet(c)
		require.NoError(t, p.Pcap(x.file), name)
		require.Equal(t, x.want, p.Violations(), name)
	}
	require.Error(t, New(times).Pcap(strings.NewReader("no capture")))
}

func TestRecordsMustBeReadable(t *testing.T) {
	for _, s := range []string{"no JSON\n", `{"kind":"block-allocated"}` + "\n", `{"kind":"block-allocated","time":"yesterday"}` + "\n"} {
		require.Error(t, New(times).Records(strings.NewReader(s)), s)
	}
	require.NoError(t, New(times).Records(strings.NewReader(`{"kind":"pool-exhausted","time":"2026-01-02T03:04:05Z"}`+"\n")))
}

// TestSumAgainstGopacket compares the sums with those that gopacket computed, for odd and even lengths.
func TestSumAgainstGopacket(t *testing.T) {
	for n := range 40 {
		payload := strings.Repeat("ab\xff", n)[:n]
		for _, b := range [][]byte{
			testpacket.UDP(sub+":5000", remote, payload), testpacket.TCP(sub+":5000", remote, testpacket.ACK, payload),
			testpacket.ICMP(sub, "198.18.0.9", 8, 1, 2, payload),
		} {
			h, err := decode(b)
			require.NoError(t, err)
			require.Zero(t, residue(add(0, h.head)))
			r, whole := h.transport()
			require.True(t, whole)
			require.Zero(t, r)
			binary.BigEndian.PutUint16(b[20:], binary.BigEndian.Uint16(b[20:])+1)
			r, _ = h.transport()
			require.NotZero(t, r)
		}
	}
}

func TestEndpointOfEachProtocol(t *testing.T) {
	h, err := decode(testpacket.TCP("100.64.0.1:5000", "198.18.0.9:80", testpacket.SYN, ""))
	require.NoError(t, err)
	e, ok := h.endpoint(h.dst, h.fieldsOf().dstPort)
	require.True(t, ok)
	require.Equal(t, netip.MustParseAddrPort("198.18.0.9:80"), e)
	h, err = decode(testpacket.Other("100.64.0.1", "198.18.0.9", 47, "gre"))
	require.NoError(t, err)
	require.False(t, h.fieldsOf().known)
}

// TestSharesNothingWithTheEngine guards the imports.
func TestSharesNothingWithTheEngine(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	require.NoError(t, err)
	for _, path := range pkg.Imports {
		std := !strings.Contains(strings.Split(path, "/")[0], ".")
		require.True(t, std || strings.HasPrefix(path, "github.com/google/gopacket"), "%s is imported", path)
	}
}

// TestSizeOfUse guards the memory that the package doc states.
func TestSizeOfUse(t *testing.T) {
	require.EqualValues(t, 24, unsafe.Sizeof(use{}))
}
