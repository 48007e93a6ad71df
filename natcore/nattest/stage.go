package nattest

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// The fixtures: two internal hosts and a third, two servers, a remote host that nobody has written to, a
// router on the way, and the external address of rows that need one only.
var (
	internal         = netip.MustParsePrefix("10.0.0.0/16")
	hostA, hostB     = netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	server1, server2 = netip.MustParseAddr("198.51.100.10"), netip.MustParseAddr("198.51.100.20")
	stranger         = netip.MustParseAddr("192.0.2.77")
	router           = netip.MustParseAddr("192.0.2.254")
	external1        = netip.MustParseAddr("203.0.113.5")
	// scattered are external addresses for pools of several; they do not follow one another.
	scattered = []netip.Addr{external1, netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("203.0.113.64"), netip.MustParseAddr("203.0.113.200")}

	a40000     = at(hostA, 40000)
	b40000     = at(hostB, 40000)
	s1p1, s1p2 = at(server1, 3478), at(server1, 3479)
	s2p1       = at(server2, 3478)
)

func at(a netip.Addr, port int) netip.AddrPort { return netip.AddrPortFrom(a, uint16(port)) }

// host returns internal host i, from 0; hosts are not hostA or hostB.
func host(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(1 + i/250), byte(2 + i%250)}) }

// stage is a NAT with its clock, and what the rows do with it. Its methods end the row when the NAT does not do what they require.
type stage struct {
	nat     NAT
	cfg     Config
	now     time.Time
	subject Subject
	packets int // built so far; makes payloads and identifications differ
}

// fail ends the row.
func (s *stage) fail(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)}) // recovered by attempt: the row ends here
}

// require ends the row unless ok.
func (s *stage) require(ok bool, format string, args ...any) {
	if !ok {
		s.fail(format, args...)
	}
}

// wait lets time pass and returns what the NAT sends meanwhile.
func (s *stage) wait(d time.Duration) []Packet {
	s.now = s.now.Add(d)
	return s.nat.Advance(s.now)
}

// build fills in what every packet has.
func (s *stage) build(p packet) *packet {
	s.packets++
	p.ttl, p.id = 64, uint16(s.packets)
	if p.payload == nil {
		p.payload = fmt.Appendf(nil, "packet number %d", s.packets)
	}
	return &p
}

func (s *stage) udp(src, dst netip.AddrPort) *packet {
	return s.build(packet{proto: protoUDP, src: src, dst: dst})
}

func (s *stage) tcp(src, dst netip.AddrPort, flags byte) *packet {
	p := packet{proto: protoTCP, src: src, dst: dst, flags: flags, seq: 1000}
	if flags&syn != 0 {
		p.payload = []byte{}
	}
	return s.build(p)
}

// echo is a request from an internal host; the port of the endpoint is its identifier.
func (s *stage) echo(src netip.AddrPort, dst netip.Addr) *packet {
	return s.build(packet{proto: protoICMP, icmp: echoRequest, src: src, dst: at(dst, int(src.Port())), rest: 1})
}

// reply is the answer to an echo that came from dst.
func (s *stage) reply(src netip.Addr, dst netip.AddrPort) *packet {
	return s.build(packet{proto: protoICMP, icmp: echoReply, src: at(src, int(dst.Port())), dst: dst, rest: 1})
}

// error is an ICMP error about the packet with the bytes quote, of which it quotes at most n.
func (s *stage) error(from, to netip.Addr, icmp, code byte, quote []byte, n int) *packet {
	return s.build(packet{proto: protoICMP, icmp: icmp, code: code, src: at(from, 0), dst: at(to, 0), payload: quote[:min(n, len(quote))]})
}

// first is what opens a session: a datagram, a SYN, an echo request.
func (s *stage) first(proto byte, src, dst netip.AddrPort) *packet {
	switch proto {
	case protoTCP:
		return s.tcp(src, dst, syn)
	case protoICMP:
		return s.echo(src, dst.Addr())
	}
	return s.udp(src, dst)
}

// answer is what a remote host sends first: a datagram, a SYN-ACK, an echo reply.
func (s *stage) answer(proto byte, src, dst netip.AddrPort) *packet {
	switch proto {
	case protoTCP:
		p := s.tcp(src, dst, syn|ack)
		p.seq, p.ack = 5000, 1001
		return p
	case protoICMP:
		return s.reply(src.Addr(), dst)
	}
	return s.udp(src, dst)
}

// sent is what a NAT sends because of one packet.
type sent struct {
	forward *packet   // what goes on in the packet's direction
	bytes   []byte    // of forward
	back    []*packet // what goes to the side that the packet came from: hairpinned packets, answers
}

// outbound hands the NAT a packet of an internal host.
func (s *stage) outbound(p *packet) sent {
	return s.sort(s.nat.Outbound(p.bytes(), s.now), false)
}

// inbound hands the NAT a packet of a remote host.
func (s *stage) inbound(p *packet) sent {
	return s.sort(s.nat.Inbound(p.bytes(), s.now), true)
}

// sort tells what goes on from what goes back.
func (s *stage) sort(packets []Packet, inbound bool) sent {
	var r sent
	for _, p := range packets {
		q, err := parse(p.Bytes)
		s.require(err == nil, "the NAT sends what is no IPv4 packet: %x", p.Bytes)
		if p.Inside != inbound {
			r.back = append(r.back, q)
			continue
		}
		s.require(r.forward == nil, "the NAT forwards one packet twice")
		r.forward, r.bytes = q, p.Bytes
	}
	return r
}

// intact requires that q is p with other endpoints on one side: checksums are right, the rest that the receiver sees is the same.
func (s *stage) intact(p, q *packet, inbound bool) {
	s.require(q.headerOK, "the IP header's checksum is wrong")
	s.require(q.sumOK, "the transport checksum is wrong")
	s.require(q.proto == p.proto && q.icmp == p.icmp && q.code == p.code && q.flags == p.flags, "the packet became another one")
	s.require(bytes.Equal(q.payload, p.payload), "the payload changed from %q to %q", p.payload, q.payload)
	if inbound {
		s.require(q.src.Addr() == p.src.Addr() && (p.proto == protoICMP || q.src == p.src), "the remote end changed from %v to %v", p.src, q.src)
		return
	}
	s.require(q.dst.Addr() == p.dst.Addr() && (p.proto == protoICMP || q.dst == p.dst), "the remote end changed from %v to %v", p.dst, q.dst)
	s.require(slices.Contains(s.cfg.External, q.src.Addr()), "the packet leaves from %v, which is no external address", q.src.Addr())
}

// out requires that a packet leaves, and returns it as it does.
func (s *stage) out(p *packet) *packet {
	r := s.outbound(p)
	s.require(r.forward != nil, "the packet %s does not leave", name(p))
	s.require(len(r.back) == 0, "the packet %s leaves, and %d others go back to its side", name(p), len(r.back))
	s.intact(p, r.forward, false)
	return r.forward
}

// open opens a session and returns the external endpoint.
func (s *stage) open(proto byte, src, dst netip.AddrPort) netip.AddrPort {
	return s.out(s.first(proto, src, dst)).src
}

// refused requires that a packet neither leaves nor goes to an internal host, and returns what answers it.
func (s *stage) refused(p *packet) []*packet {
	r := s.outbound(p)
	s.require(r.forward == nil, "the packet %s leaves", name(p))
	for _, q := range r.back {
		s.require(q.proto == protoICMP && !query(q.icmp) && q.dst.Addr() == p.src.Addr(), "the packet %s goes back inside", name(p))
	}
	return r.back
}

// in requires that a packet arrives at an internal endpoint, and returns it as it does.
func (s *stage) in(p *packet, to netip.AddrPort) *packet {
	r := s.inbound(p)
	s.require(r.forward != nil, "the packet %s does not arrive", name(p))
	s.require(len(r.back) == 0, "the packet %s arrives, and %d others go back to its side", name(p), len(r.back))
	s.intact(p, r.forward, true)
	s.require(r.forward.dst == to, "the packet %s arrives at %v instead of %v", name(p), r.forward.dst, to)
	return r.forward
}

// blocked requires that a packet does not arrive.
func (s *stage) blocked(p *packet) {
	r := s.inbound(p)
	s.require(r.forward == nil, "the packet %s arrives", name(p))
}

// hairpin requires that a packet of an internal host goes to another one, and returns it as it does.
func (s *stage) hairpin(p *packet, to netip.AddrPort) *packet {
	r := s.outbound(p)
	s.require(r.forward == nil, "the packet %s leaves to the external side", name(p))
	s.require(len(r.back) == 1, "the packet %s comes back %d times", name(p), len(r.back))
	q := r.back[0]
	s.require(q.dst == to, "the packet %s comes back to %v instead of %v", name(p), q.dst, to)
	s.require(q.headerOK && q.sumOK, "a checksum of the packet %s that comes back is wrong", name(p))
	s.require(bytes.Equal(q.payload, p.payload) && q.flags == p.flags, "the packet %s comes back as another", name(p))
	return q
}

// name tells in a few words which packet is meant.
func name(p *packet) string {
	switch p.proto {
	case protoICMP:
		return fmt.Sprintf("icmp %d/%d %v > %v", p.icmp, p.code, p.src, p.dst)
	case protoUDP:
		return fmt.Sprintf("udp %v > %v", p.src, p.dst)
	case protoTCP:
		flags := ""
		for i, f := range "FSRPA" {
			if p.flags&(1<<i) != 0 {
				flags += string(f)
			}
		}
		return fmt.Sprintf("tcp %s %v > %v", flags, p.src, p.dst)
	}
	return fmt.Sprintf("protocol %d %v > %v", p.proto, p.src, p.dst)
}
