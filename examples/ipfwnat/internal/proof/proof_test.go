package proof

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const script = `
# two groups of clients, two classes of servers, two of ports
nat 1 config ip 192.0.2.1 same_ports
nat 2 config ip 192.0.2.2 same_ports
nat 3 config ip 192.0.2.1 same_ports
table natout create type flow:src-ip,proto,dst-ip,dst-port valtype nat
table natout setmask 0.0.0.1,1,0.0.1.0,1
table natout add 0.0.0.0,tcp,0.0.0.0,0 1 0.0.0.0,tcp,0.0.0.0,1 1
table natout add 0.0.0.0,tcp,0.0.1.0,0 3 0.0.0.0,tcp,0.0.1.0,1 3
table natout add 0.0.0.1,6,0.0.0.0,0 2
table natin create type flow:src-ip,proto,src-port,dst-ip valtype nat
table natin setmask 0.0.1.0,1,1,255.255.255.255
table natin add 0.0.0.0,tcp,0,192.0.2.1 1 0.0.0.0,tcp,1,192.0.2.1 1
table natin add 0.0.1.0,tcp,0,192.0.2.1 3 0.0.1.0,tcp,1,192.0.2.1 3
table natin add 0.0.0.0,tcp,0,192.0.2.2 2
`

var idle = Times{UDP: 300 * time.Second, TCPOpening: 240 * time.Second, TCPEstablished: 7440 * time.Second, TCPClosing: 240 * time.Second, HoldDown: 120 * time.Second}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newProof(t *testing.T) *Proof {
	t.Helper()
	r, err := ReadRules(script, "natout", "natin")
	require.NoError(t, err)
	return New(r, idle, start)
}

// segment is a TCP segment with right checksums.
func segment(src, dst string, srcPort, dstPort uint16, flags byte) []byte {
	b := make([]byte, 40)
	b[0], b[3], b[9], b[32], b[33] = 0x45, 40, TCP, 0x50, flags
	s, _ := address(src)
	d, _ := address(dst)
	binary.BigEndian.PutUint32(b[12:], s)
	binary.BigEndian.PutUint32(b[16:], d)
	binary.BigEndian.PutUint16(b[20:], srcPort)
	binary.BigEndian.PutUint16(b[22:], dstPort)
	binary.BigEndian.PutUint16(b[10:], ^uint16(fold(sum(0, b[:20]))))
	binary.BigEndian.PutUint16(b[36:], ^uint16(fold(sum(TCP+20, b[12:]))))
	return b
}

func (p *Proof) record(kind string, at time.Duration, client, external string, class, first, last int) {
	fmt.Fprintf(p, `{"kind":%q,"time":%q,"class":%d,"subscriber":%q,"external":%q,"first":%d,"last":%d}`+"\n",
		kind, start.Add(at).Format(time.RFC3339Nano), class, client, external, first, last)
}

func violations(p *Proof) map[string]int {
	m := map[string]int{}
	for _, c := range p.Checks() {
		if c.Violations > 0 {
			m[c.Name] = c.Violations
		}
	}
	return m
}

const server = "203.0.114.1" // class 0 of its address

func TestRightFlow(t *testing.T) {
	p := newProof(t)
	p.record("block-allocated", 0, "10.0.0.2", "192.0.2.1", 0, 1024, 1087)
	p.Outbound(0, segment("10.0.0.2", server, 5000, 80, syn), segment("192.0.2.1", server, 1030, 80, syn))
	p.Inbound(1, segment(server, "192.0.2.1", 80, 1030, syn|ack), segment(server, "10.0.0.2", 80, 5000, syn|ack))
	p.Outbound(2, segment("10.0.0.2", server, 5000, 80, ack), segment("192.0.2.1", server, 1030, 80, ack))
	require.Empty(t, violations(p))
	require.EqualValues(t, 2+7_440_000, p.flows[0].until, "established")
	u := p.Reuse(3, 64)
	require.Equal(t, 1, u.Flows)
	require.Equal(t, []int{1, 0, 0, 0}, u.ByClass)
	require.Equal(t, 1, u.Instances)
	require.EqualValues(t, 1, u.Example[0].Out)
	require.EqualValues(t, 1, u.Example[0].In)
	require.EqualValues(t, 1024, u.Example[0].First)
}

// TestPortChangesHands tries the moment before a port may change hands and that moment.
func TestPortChangesHands(t *testing.T) {
	for _, c := range []struct {
		name  string
		other string // server of the second client
		port  uint16
		at    time.Duration // after the first flow's only packet
		want  []int         // checks
	}{
		{"too early, the same server", server, 80, 360*time.Second - time.Millisecond, []int{checkFlows, checkPorts}},
		{"in time", server, 80, 360 * time.Second, nil},
		{"too early, another server of the class", "198.51.100.9", 22, 360*time.Second - time.Millisecond, []int{checkPorts}},
		{"at once, another class of servers", "198.51.101.9", 80, time.Millisecond, nil},
		{"at once, another class of ports", "198.51.100.9", 443, time.Millisecond, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProof(t)
			p.record("block-allocated", 0, "10.0.0.2", "192.0.2.1", 0, 1024, 1087)
			p.Outbound(0, segment("10.0.0.2", server, 5000, 80, syn), segment("192.0.2.1", server, 1030, 80, syn))
			p.record("block-released", c.at-1, "10.0.0.2", "192.0.2.1", 0, 1024, 1087)
			a, _ := address(c.other)
			p.record("block-allocated", c.at, "10.0.0.4", "192.0.2.1", int(p.rules.class(a, c.port)), 1024, 1087)
			p.Outbound(int32(c.at.Milliseconds()), segment("10.0.0.4", c.other, 5000, c.port, syn), segment("192.0.2.1", c.other, 1030, c.port, syn))
			want := map[string]int{}
			for _, w := range c.want {
				want[checkNames[w]] = 1
			}
			require.Equal(t, want, violations(p))
		})
	}
}

// TestClassNumbers counts by hand: the bit of the address before that of the port.
func TestClassNumbers(t *testing.T) {
	p := newProof(t)
	for _, c := range []struct {
		server string
		port   uint16
		want   uint16
	}{{"1.2.2.1", 80, 0}, {"1.2.2.1", 443, 1}, {"1.2.3.1", 80, 2}, {"1.2.3.1", 443, 3}} {
		a, err := address(c.server)
		require.NoError(t, err)
		require.Equal(t, c.want, p.rules.class(a, c.port), "%v", c)
	}
}

func TestFaultyScripts(t *testing.T) {
	for _, s := range []string{
		"nat x config ip 192.0.2.1",
		"nat 1 config ip 192.0.2",
		"nat 1 config ip 192.0.2.256",
		"table natout create type flow:src-ip\ntable natout setmask 1.2.3",
		"table natout create type flow:src-ip,proto\ntable natout setmask 1.2.3.4",
		"table natout create type flow:src-ip\ntable natout setmask 1.2.3.4\ntable natout add 1.2.3.4 five",
	} {
		_, err := ReadRules(s, "natout", "natin")
		require.ErrorContains(t, err, "line ", s)
	}
}

func TestStrangers(t *testing.T) {
	p := newProof(t)
	p.record("block-allocated", 0, "10.0.0.2", "192.0.2.1", 0, 1024, 1087)
	p.Outbound(0, segment("10.0.0.2", server, 5000, 80, syn), segment("192.0.2.1", server, 1030, 80, syn))
	same, other := "198.51.100.1", "198.51.101.1"
	p.Stranger(1, segment(same, "192.0.2.1", 22, 1030, syn), segment(same, "10.0.0.2", 22, 5000, syn))
	p.Stranger(1, segment(other, "192.0.2.1", 22, 1030, syn), nil)
	p.Stranger(1, segment(same, "192.0.2.1", 22, 1031, syn), nil)
	require.Empty(t, violations(p))
	p.Stranger(1, segment(same, "192.0.2.1", 22, 1030, syn), nil)
	p.Stranger(1, segment(same, "192.0.2.1", 22, 1030, syn), segment(same, "10.0.0.4", 22, 5000, syn))
	p.Stranger(1, segment(other, "192.0.2.1", 22, 1030, syn), segment(other, "10.0.0.2", 22, 5000, syn))
	require.Equal(t, map[string]int{checkNames[checkStrangers]: 3}, violations(p))
}
