package nattest

import (
	"bytes"
	"encoding/binary"
)

// protocols are the transports of rows that say the same of each.
var protocols = []struct {
	name  string
	proto byte
	needs Feature
}{{"udp", protoUDP, 0}, {"tcp", protoTCP, TCP}, {"icmp", protoICMP, Queries}}

// tests3022 are about the bytes of packets: RFC 3022 section 4, and RFC 768 and RFC 1624, which it leans on.
func tests3022() []test {
	var all []test
	for _, k := range protocols {
		all = append(all, test{
			Row{"3022-01/" + k.name, Must, "4.1", "Checksums are right behind the NAT as before it, for any length", k.needs | Bytes}, nil,
			func(s *stage) {
				for n := range 18 {
					payload := bytes.Repeat([]byte{0xff, 0x5a, 0}, 500)[:n*n*4+n]
					p := s.first(k.proto, a40000, s1p1)
					p.payload = payload
					external := s.out(p).src
					p = s.answer(k.proto, s1p1, external)
					p.payload = payload
					s.in(p, a40000)
				}
			},
		})
	}
	return append(all, []test{
		{
			Row{"3022-02", Must, "4.1", "A UDP datagram without checksum has none behind the NAT", Bytes}, nil,
			func(s *stage) {
				external := s.open(protoUDP, a40000, s1p1)
				for _, p := range []*packet{s.udp(a40000, s1p1), s.udp(s1p1, external)} {
					b := p.bytes()
					b[26], b[27] = 0, 0
					r := s.sort(s.pass(b, p.src == s1p1), p.src == s1p1)
					s.require(r.forward != nil, "the packet %s is dropped", name(p))
					s.require(r.forward.zeroSum, "the packet %s has the checksum %#04x", name(p), r.forward.sum)
				}
			},
		}, {
			Row{"3022-03", Must, "4.1", "A UDP checksum that comes out as 0 is sent as 0xFFFF (RFC 768)", Bytes}, nil,
			func(s *stage) {
				external := s.open(protoUDP, a40000, s1p1)
				p := s.udp(a40000, s1p1)
				// With the sum of the translated packet in it the payload makes that sum all ones.
				q := *p
				q.src, q.payload = external, []byte{0, 0}
				b := q.bytes()
				p.payload = []byte{b[26], b[27]}
				r := s.outbound(p)
				s.require(r.forward != nil, "the packet does not leave")
				s.require(r.forward.src == external, "the packet leaves from %v, the one before from %v", r.forward.src, external)
				s.require(r.forward.sum == 0xffff, "the checksum is %#04x", r.forward.sum)
			},
		}, {
			Row{"3022-04", Must, "4.1", "A wrong transport checksum is not made right: the receiver still sees that the packet is damaged", Bytes | TCP}, nil,
			func(s *stage) {
				external := s.open(protoUDP, a40000, s1p1)
				c := s.connect(a40000, s1p1)
				for _, p := range []*packet{s.udp(a40000, s1p1), s.udp(s1p1, external), c.fromHost(psh|ack, "data"), c.fromRemote(psh|ack, "data")} {
					b := p.bytes()
					b[len(b)-1] ^= 0x10
					inbound := p.src == s1p1
					if r := s.sort(s.pass(b, inbound), inbound); r.forward != nil {
						s.require(!r.forward.sumOK, "the packet %s was damaged, and its checksum is right behind the NAT", name(p))
					}
				}
			},
		}, {
			Row{"3022-05", Must, "4.1", "Type of service, the DF bit and IP options stay as they are", Bytes}, nil,
			func(s *stage) {
				external := s.open(protoUDP, a40000, s1p1)
				for _, df := range []bool{false, true} {
					for _, p := range []*packet{s.udp(a40000, s1p1), s.udp(s1p1, external)} {
						p.df, p.tos, p.options = df, 0xb8, []byte{1, 1, 1, 0}
						r := s.sort(s.pass(p.bytes(), p.src == s1p1), p.src == s1p1)
						s.require(r.forward != nil, "the packet %s with options is dropped", name(p))
						q := r.forward
						s.require(q.df == df && q.tos == p.tos && bytes.Equal(q.options, p.options),
							"DF %v, TOS %#x, options %x became %v, %#x, %x", df, p.tos, p.options, q.df, q.tos, q.options)
						s.require(q.headerOK && q.sumOK, "a checksum is wrong")
					}
				}
			},
		}, {
			Row{"3022-06", Must, "4.1", "The TTL is decremented as often as the NAT says that it is a hop", Bytes}, nil,
			func(s *stage) {
				p := s.out(s.udp(a40000, s1p1))
				s.require(p.ttl == 64-s.subject.Hops, "64 became %d outbound", p.ttl)
				p = s.in(s.udp(s1p1, p.src), a40000)
				s.require(p.ttl == 64-s.subject.Hops, "64 became %d inbound", p.ttl)
			},
		}, {
			Row{"3022-07", Must, "4.1", "Bytes behind the IP packet, as Ethernet pads them, are no part of it", Bytes | Queries}, nil,
			func(s *stage) {
				external := s.open(protoICMP, a40000, s1p1)
				p := s.reply(server1, external)
				r := s.sort(s.pass(append(p.bytes(), 1, 2, 3, 4, 5, 6), true), true)
				s.require(r.forward != nil, "a reply with a trailer does not arrive")
				s.intact(p, r.forward, true)
			},
		}, {
			Row{"3022-08", Must, "3", "A packet whose header contradicts its length is dropped, and harms nothing", Bytes}, nil,
			func(s *stage) {
				external := s.open(protoUDP, a40000, s1p1)
				for _, change := range []func(b []byte) []byte{
					func(b []byte) []byte { return nil },
					func(b []byte) []byte { return b[:19] },
					func(b []byte) []byte { b[0] = 0x44; return b },
					func(b []byte) []byte { b[0] = 0x4f; return b },
					func(b []byte) []byte { b[0] = 0x65; return b },
					func(b []byte) []byte { binary.BigEndian.PutUint16(b[2:], 10); return b },
					func(b []byte) []byte { binary.BigEndian.PutUint16(b[24:], 4); return b },
				} {
					for _, p := range []*packet{s.udp(a40000, s1p1), s.udp(s1p1, external)} {
						s.require(len(s.pass(change(p.bytes()), p.src == s1p1)) == 0, "the packet %s is forwarded", name(p))
					}
				}
				s.in(s.udp(s1p1, external), a40000)
			},
		},
	}...)
}

// pass hands the NAT the bytes of a packet.
func (s *stage) pass(b []byte, inbound bool) []Packet {
	if inbound {
		return s.nat.Inbound(b, s.now)
	}
	return s.nat.Outbound(b, s.now)
}
