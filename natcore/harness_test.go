package natcore_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// The fixtures of the requirement tables: internal hosts A and B, servers, a router.
var (
	hostA, hostB     = netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	server1, server2 = netip.MustParseAddr("198.51.100.10"), netip.MustParseAddr("198.51.100.20")
	router           = netip.MustParseAddr("192.0.2.254")
	began            = time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)
)

func endpoint(a netip.Addr, port int) netip.AddrPort { return netip.AddrPortFrom(a, uint16(port)) }

// failer is what the helpers need of a *testing.T or a *rapid.T.
type failer interface {
	require.TestingT
	Helper()
}

// nat is an engine with a manual clock and a log in memory.
type nat struct {
	*natcore.Engine
	log *logging.Memory
	now time.Time
}

// config is the one that most tests start from. It writes no events, so that tests can count the records of blocks.
func config(log logging.Log) natcore.Config {
	return natcore.Config{
		Seed: [32]byte{1, 2, 3}, Log: log, Events: natcore.Events{Off: true},
		Pools: []natcore.PoolConfig{{Name: "cgn", Addresses: alloc.MustParseRanges("203.0.113.5-203.0.113.6")}},
	}
}

func newNAT(t failer, change ...func(*natcore.Config)) *nat {
	t.Helper()
	n := &nat{log: logging.NewMemory(0), now: began}
	cfg := config(n.log)
	for _, c := range change {
		c(&cfg)
	}
	var err error
	n.Engine, err = natcore.New(cfg, n.now)
	require.NoError(t, err)
	return n
}

func (n *nat) wait(d time.Duration) { n.now = n.now.Add(d) }

// expire lets all that is over end: a full round of every shard.
func (n *nat) expire() {
	for !n.Expire(n.now, 1<<20) {
	}
}

// kind is a transport for the packets that the tests build.
type kind uint8

const (
	udp kind = iota
	tcp
	icmp // echo: the internal end's port is the identifier
)

func (k kind) String() string { return [...]string{"udp", "tcp", "icmp"}[k] }

func (k kind) proto() uint8 { return [...]uint8{17, 6, 1}[k] }

// tcpFlags choose the flags of a built TCP segment.
type tcpFlags struct {
	syn, ack, fin, rst bool
	seq                uint32
}

// build serialises a packet with gopacket, which computes all checksums on its own.
// For echo the identifier is that of the end whose port is not 0; a reply has the destination's.
func build(t failer, k kind, src, dst netip.AddrPort, payload []byte, f tcpFlags) []byte {
	t.Helper()
	ip := &layers.IPv4{
		Version: 4, IHL: 5, TTL: 64, Id: 7, Flags: layers.IPv4DontFragment,
		SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice(), Protocol: layers.IPProtocol(k.proto()),
	}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	var transport gopacket.SerializableLayer
	switch k {
	case udp:
		l := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
		require.NoError(t, l.SetNetworkLayerForChecksum(ip))
		transport = l
	case tcp:
		l := &layers.TCP{
			SrcPort: layers.TCPPort(src.Port()), DstPort: layers.TCPPort(dst.Port()),
			SYN: f.syn, ACK: f.ack, FIN: f.fin, RST: f.rst, Seq: f.seq, Window: 1024,
		}
		require.NoError(t, l.SetNetworkLayerForChecksum(ip))
		transport = l
	case icmp:
		code, id := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), src.Port()
		if f.ack {
			code, id = layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoReply, 0), dst.Port()
		}
		transport = &layers.ICMPv4{TypeCode: code, Id: id, Seq: 1}
	}
	require.NoError(t, gopacket.SerializeLayers(buf, opts, ip, transport, gopacket.Payload(payload)))
	b := append([]byte(nil), buf.Bytes()...)
	if k == udp && b[26] == 0 && b[27] == 0 {
		b[26], b[27] = 0xff, 0xff // gopacket sends a computed zero as it is (RFC 768)
	}
	return b
}

// seen is a packet as gopacket reads it.
type seen struct {
	src, dst netip.AddrPort // the identifier stands for both ports of an echo
	payload  []byte
	ttl      uint8
	rightIP  bool // the header checksum is right
	right    bool // the transport checksum is right
}

func read(t failer, b []byte) seen {
	t.Helper()
	p := gopacket.NewPacket(b, layers.LayerTypeIPv4, gopacket.Default)
	ip, ok := p.NetworkLayer().(*layers.IPv4)
	require.True(t, ok, "no IPv4 packet: %x", b)
	src, _ := netip.AddrFromSlice(ip.SrcIP.To4())
	dst, _ := netip.AddrFromSlice(ip.DstIP.To4())
	s := seen{ttl: ip.TTL, rightIP: sum(ip.Contents, 0) == 0xffff}
	pseudo := uint32(0)
	var sport, dport uint16
	switch l := p.Layer(transportOf(ip.Protocol)).(type) {
	case *layers.UDP:
		sport, dport, s.payload = uint16(l.SrcPort), uint16(l.DstPort), l.Payload
		pseudo = pseudoSum(ip)
	case *layers.TCP:
		sport, dport, s.payload = uint16(l.SrcPort), uint16(l.DstPort), l.Payload
		pseudo = pseudoSum(ip)
	case *layers.ICMPv4:
		sport, dport, s.payload = l.Id, l.Id, l.Payload
	default:
		require.Fail(t, "no transport layer", "%x", b)
	}
	s.right = sum(ip.Payload, pseudo) == 0xffff
	s.src, s.dst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return s
}

func transportOf(p layers.IPProtocol) gopacket.LayerType {
	return map[layers.IPProtocol]gopacket.LayerType{
		17: layers.LayerTypeUDP, 6: layers.LayerTypeTCP, 1: layers.LayerTypeICMPv4,
	}[p]
}

func pseudoSum(ip *layers.IPv4) uint32 {
	var s uint32
	for _, b := range [][]byte{ip.SrcIP.To4(), ip.DstIP.To4()} {
		s += uint32(binary.BigEndian.Uint16(b)) + uint32(binary.BigEndian.Uint16(b[2:]))
	}
	return s + uint32(ip.Protocol) + uint32(len(ip.Payload))
}

// sum is the one's complement sum, one word at a time (RFC 1071).
func sum(b []byte, initial uint32) uint16 {
	s := initial
	for i := 0; i < len(b); i += 2 {
		w := uint32(b[i]) << 8
		if i+1 < len(b) {
			w |= uint32(b[i+1])
		}
		s += w
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// out sends a packet from an internal endpoint and requires that it is forwarded whole and
// right; it returns the external endpoint that it left with.
func (n *nat) out(t failer, k kind, src, dst netip.AddrPort, f ...tcpFlags) netip.AddrPort {
	t.Helper()
	e, verdict, why := n.try(t, k, src, dst, f...)
	require.Equal(t, natcore.Forward, verdict, "%v %v > %v dropped: %v", k, src, dst, why)
	return e
}

// try is out without the requirement that the packet is forwarded.
func (n *nat) try(t failer, k kind, src, dst netip.AddrPort, f ...tcpFlags) (netip.AddrPort, natcore.Verdict, natcore.Reason) {
	t.Helper()
	flags := tcpFlags{syn: true, seq: 1000}
	if len(f) > 0 {
		flags = f[0]
	}
	if k == icmp {
		dst = endpoint(dst.Addr(), 0)
	}
	b := build(t, k, src, dst, []byte("payload"), flags)
	before := append([]byte(nil), b...)
	verdict, why := n.Outbound(b, n.now)
	if verdict == natcore.Drop {
		require.Equal(t, before, b, "a dropped packet is as it came")
		return netip.AddrPort{}, verdict, why
	}
	s := read(t, b)
	require.True(t, s.right && s.rightIP, "checksums of %x", b)
	require.Equal(t, "payload", string(s.payload))
	require.EqualValues(t, 64, s.ttl)
	if verdict == natcore.Forward {
		require.Equal(t, dst.Addr(), s.dst.Addr())
		if k != icmp {
			require.Equal(t, dst.Port(), s.dst.Port())
		}
	}
	return s.src, verdict, why
}

// in sends a packet from a remote endpoint to an external one and returns where it went.
func (n *nat) in(t failer, k kind, src, dst netip.AddrPort, f ...tcpFlags) (netip.AddrPort, natcore.Verdict, natcore.Reason) {
	t.Helper()
	flags := tcpFlags{ack: true, seq: 5000}
	if len(f) > 0 {
		flags = f[0]
	}
	b := build(t, k, src, dst, []byte("answer"), flags)
	before := append([]byte(nil), b...)
	verdict, why := n.Inbound(b, n.now)
	if verdict == natcore.Drop {
		require.Equal(t, before, b, "a dropped packet is as it came")
		return netip.AddrPort{}, verdict, why
	}
	s := read(t, b)
	require.True(t, s.right && s.rightIP, "checksums of %x", b)
	require.Equal(t, "answer", string(s.payload))
	require.Equal(t, src.Addr(), s.src.Addr())
	if k != icmp {
		require.Equal(t, src.Port(), s.src.Port())
	}
	return s.dst, verdict, why
}

func check(t *testing.T, n *nat) {
	t.Helper()
	require.NoError(t, n.CheckInvariants())
}
