package nattest

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"
)

// errorIn requires that an ICMP error arrives at a host as it was sent, but for its destination and its quote.
func (s *stage) errorIn(p *packet, to netip.Addr) *packet {
	r := s.inbound(p)
	s.require(r.forward != nil, "the error %s does not arrive", name(p))
	s.sameError(p, r.forward)
	s.require(r.forward.src.Addr() == p.src.Addr(), "the reporter %v became %v", p.src.Addr(), r.forward.src.Addr())
	s.require(r.forward.dst.Addr() == to, "the error arrives at %v instead of %v", r.forward.dst.Addr(), to)
	return r.forward
}

// errorOut requires that an ICMP error leaves, from an external address.
func (s *stage) errorOut(p *packet, from netip.Addr) *packet {
	r := s.outbound(p)
	s.require(r.forward != nil, "the error %s does not leave", name(p))
	s.sameError(p, r.forward)
	s.require(r.forward.dst.Addr() == p.dst.Addr(), "its destination %v became %v", p.dst.Addr(), r.forward.dst.Addr())
	s.require(r.forward.src.Addr() == from, "the error leaves from %v instead of %v", r.forward.src.Addr(), from)
	return r.forward
}

func (s *stage) sameError(p, q *packet) {
	s.require(q.icmp == p.icmp && q.code == p.code && q.rest == p.rest,
		"type %d, code %d, %#08x became %d, %d, %#08x", p.icmp, p.code, p.rest, q.icmp, q.code, q.rest)
	s.require(q.headerOK && q.sumOK, "a checksum of the error is wrong")
	s.require(len(q.payload) == len(p.payload), "the quote has %d bytes instead of %d", len(q.payload), len(p.payload))
}

// quotes requires that an error shows the packet as its sender wrote it. The TTL of the quote may be any, and so may its
// identification: a NAT that gives datagrams identifications of its own (RFC 7857 section 10) need not remember the others.
func (s *stage) quotes(e, original *packet) {
	want, got := original.bytes(), bytes.Clone(e.payload)
	q, err := parse(got)
	s.require(err == nil && q.headerOK, "the quoted header is wrong, or its checksum is")
	want[8], got[8] = 0, 0
	copy(got[4:6], want[4:6])
	copy(got[10:12], want[10:12]) // differs with them
	want = want[:min(len(want), len(got))]
	s.require(bytes.Equal(want, got[:len(want)]), "the quote is\n%x, its sender wrote\n%x", got[:len(want)], want)
}

// leaves sends a packet and returns it as it left, in parts and in bytes.
func (s *stage) leaves(p *packet) sent {
	r := s.outbound(p)
	s.require(r.forward != nil, "the packet %s does not leave", name(p))
	return r
}

// tests5508 are those of RFC 5508, for ICMP.
func tests5508() []test {
	quoteRow := func(id, title string, needs Feature, size int, make func(s *stage) *packet) test {
		return test{
			Row{id, Must, "4.2.1 REQ-4a", title, Errors | needs}, nil,
			func(s *stage) {
				p := make(s)
				s.quotes(s.errorIn(s.error(router, external1, timeExceeded, 0, s.leaves(p).bytes, size), hostA), p)
			},
		}
	}
	return []test{
		{
			Row{"5508-01", Must, "3.1 REQ-1", "An echo request leaves, and its reply finds back to host and identifier", Queries}, nil,
			func(s *stage) {
				e := s.open(protoICMP, a40000, s1p1)
				for range 3 {
					s.in(s.reply(server1, e), a40000)
					s.open(protoICMP, a40000, s1p1)
				}
			},
		}, {
			Row{"5508-01/zero", Must, "3.1 REQ-1", "Every identifier is served, 0 and 65535 too", Queries}, nil,
			func(s *stage) {
				for _, id := range []int{0, 1, 1023, 65535} {
					e := s.open(protoICMP, at(hostA, id), s1p1)
					s.in(s.reply(server1, e), at(hostA, id))
				}
			},
		}, {
			Row{"5508-01a", Should, "3.1 REQ-1a", "One identifier of a host has one mapping for all remote addresses", Queries}, nil,
			func(s *stage) { s.mapsBy(protoICMP, EndpointIndependent, a40000) },
		}, {
			Row{"5508-01b", Must, "3.1 REQ-1", "Two hosts with the same identifier are told apart", Queries}, nil,
			func(s *stage) { s.distinct(protoICMP) },
		}, {
			Row{"5508-02", Must, "3.2 REQ-2", "A query session lives for 60 s", Queries | Clock}, nil,
			func(s *stage) {
				e := s.open(protoICMP, a40000, s1p1)
				s.wait(59 * time.Second)
				s.alive(protoICMP, s1p1, e, a40000, true)
			},
		}, {
			Row{"5508-02a", Should, "3.2 REQ-2a", "That timer can be set", Queries | Clock}, func(c *Config) { c.ICMPTimeout = 90 * time.Second },
			func(s *stage) {
				e := s.open(protoICMP, a40000, s1p1)
				s.wait(89 * time.Second)
				s.alive(protoICMP, s1p1, e, a40000, true)
				s.out(s.echo(a40000, server1))
				s.wait(91 * time.Second)
				s.alive(protoICMP, s1p1, e, a40000, false)
			},
		}, {
			Row{"5508-03", Should, "4.1 REQ-3", "An error with a wrong ICMP checksum is dropped in silence", Errors | Bytes}, nil,
			func(s *stage) {
				q := s.leaves(s.udp(a40000, s1p1))
				b := s.error(router, external1, unreachable, 1, q.bytes, 576).bytes()
				b[22] ^= 0x40
				s.require(len(s.pass(b, true)) == 0, "something is sent")
			},
		}, {
			Row{"5508-03a", Should, "4.1 REQ-3a", "So is one that quotes a header with a wrong checksum", Errors | Bytes}, nil,
			func(s *stage) {
				quote := bytes.Clone(s.leaves(s.udp(a40000, s1p1)).bytes)
				quote[10] ^= 0x40
				r := s.inbound(s.error(router, external1, unreachable, 1, quote, 576))
				s.require(r.forward == nil && len(r.back) == 0, "something is sent")
			},
		}, {
			Row{"5508-03b", Must, "4.1 REQ-3b", "Quoted headers with options are read right", Errors | Bytes}, nil,
			func(s *stage) {
				p := s.udp(a40000, s1p1)
				p.options = []byte{1, 1, 1, 1, 1, 1, 1, 0}
				s.quotes(s.errorIn(s.error(router, external1, unreachable, 1, s.leaves(p).bytes, 576), hostA), p)
			},
		}, {
			Row{"5508-03c", Should, "4.1 REQ-3c", "The quoted transport checksum does not decide whether an error passes", Errors | Bytes}, nil,
			func(s *stage) {
				quote := bytes.Clone(s.leaves(s.udp(a40000, s1p1)).bytes)
				quote[26] ^= 0x40
				s.errorIn(s.error(router, external1, unreachable, 1, quote, 576), hostA)
			},
		}, {
			Row{"5508-03d", Must, "4.1 REQ-3d", "Extensions behind the quote (RFC 4884) pass unchanged", Errors | Bytes}, nil,
			func(s *stage) {
				p := s.udp(a40000, s1p1)
				p.payload = make([]byte, 200)
				quote := bytes.Clone(s.leaves(p).bytes[:128])
				extension := []byte{0x20, 0, 0, 0, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0xff}
				binary.BigEndian.PutUint16(extension[2:], ^sum(extension, 0))
				e := s.error(router, external1, timeExceeded, 0, append(quote, extension...), 576)
				e.rest = 128 / 4 << 16
				q := s.errorIn(e, hostA)
				s.require(bytes.Equal(q.payload[128:], extension), "the extension became %x", q.payload[128:])
				q.payload = q.payload[:128]
				s.quotes(q, p)
			},
		}, {
			Row{"5508-04", Should, "4.2.1 REQ-4", "An error from outside about nobody's packet is dropped in silence", Errors}, nil,
			func(s *stage) {
				q := s.leaves(s.udp(a40000, s1p1)).forward
				for _, src := range []int{int(q.src.Port()) ^ 1, 0} {
					p := s.udp(at(external1, src), s1p1)
					r := s.inbound(s.error(router, external1, unreachable, 1, p.bytes(), 576))
					s.require(r.forward == nil && len(r.back) == 0, "an error about port %d arrives", src)
				}
			},
		},
		quoteRow("5508-04a", "The quote of an error shows a datagram as its sender wrote it", 0, 576, func(s *stage) *packet { return s.udp(a40000, s1p1) }),
		quoteRow("5508-04a/tcp", "The same for a segment", TCP, 576, func(s *stage) *packet { return s.tcp(a40000, s1p1, syn) }),
		quoteRow("5508-04a/icmp", "The same for an echo request", Queries, 576, func(s *stage) *packet { return s.echo(a40000, server1) }),
		quoteRow("5508-04a/cut", "The same where only 8 bytes behind the header are quoted", 0, 28, func(s *stage) *packet { return s.udp(a40000, s1p1) }),
		quoteRow("5508-04a/cut-tcp", "The same for a segment of which the checksum is not quoted", TCP, 28, func(s *stage) *packet { return s.tcp(a40000, s1p1, syn) }),
		{
			Row{"5508-04b", Must, "4.2.1 REQ-4b", "Type, code and the rest of the ICMP header stay", Errors}, nil,
			func(s *stage) {
				q := s.leaves(s.udp(a40000, s1p1))
				for _, k := range []struct {
					icmp, code byte
					rest       uint32
				}{{unreachable, 4, 1280}, {unreachable, 13, 0}, {timeExceeded, 1, 0}, {unreachable, 0, 0xdead}} {
					e := s.error(router, external1, k.icmp, k.code, q.bytes, 28)
					e.rest = k.rest
					s.errorIn(e, hostA)
				}
			},
		}, {
			Row{"5508-04c", Must, "4.2.1 REQ-4c", "The error goes to the packet's sender, and who reports it stays visible", Errors}, nil,
			func(s *stage) {
				a, b := s.leaves(s.udp(a40000, s1p1)), s.leaves(s.udp(b40000, s1p1))
				s.errorIn(s.error(router, external1, timeExceeded, 0, b.bytes, 28), hostB)
				s.errorIn(s.error(router, external1, timeExceeded, 0, a.bytes, 28), hostA)
			},
		}, {
			Row{"5508-05", Should, "4.2.2 REQ-5", "An error from inside about nobody's packet does not leave", Errors}, nil,
			func(s *stage) {
				s.open(protoUDP, a40000, s1p1)
				p := s.udp(s2p1, b40000)
				s.refused(s.error(hostB, server2, unreachable, 3, p.bytes(), 576))
			},
		}, {
			Row{"5508-05a", Must, "4.2.2 REQ-5a", "The quote of an error from inside shows the packet as the remote end sent it", Errors}, nil,
			func(s *stage) {
				p := s.udp(s1p1, s.open(protoUDP, a40000, s1p1))
				r := s.inbound(p)
				s.require(r.forward != nil, "the packet does not arrive")
				s.quotes(s.errorOut(s.error(hostA, server1, unreachable, 3, r.bytes, 576), external1), p)
			},
		}, {
			Row{"5508-05c", Must, "4.2.2 REQ-5c", "It leaves from the external address of the mapping, whichever host inside reports it", Errors},
			func(c *Config) { c.External = scattered },
			func(s *stage) {
				for i := range 8 {
					src := at(host(i), 5000)
					e := s.open(protoUDP, src, s1p1)
					r := s.inbound(s.udp(s1p1, e))
					s.require(r.forward != nil, "the packet does not arrive")
					s.errorOut(s.error(src.Addr(), server1, unreachable, 3, r.bytes, 576), e.Addr())
				}
			},
		}, {
			Row{"5508-06", Must, "4.3 REQ-6", "An error ends no query", Queries | Errors | Clock}, nil,
			func(s *stage) {
				q := s.leaves(s.echo(a40000, server1))
				s.errorIn(s.error(router, external1, unreachable, 1, q.bytes, 576), hostA)
				s.wait(59 * time.Second)
				s.alive(protoICMP, s1p1, q.forward.src, a40000, true)
			},
		}, {
			Row{"5508-06/refresh", Must, "4.3 REQ-6", "Nor does it keep one alive", Queries | Errors | Clock}, func(c *Config) { c.ICMPTimeout = 60 * time.Second },
			func(s *stage) {
				q := s.leaves(s.echo(a40000, server1))
				for range 4 {
					s.wait(50 * time.Second)
					s.inbound(s.error(router, external1, unreachable, 1, q.bytes, 576))
				}
				s.alive(protoICMP, s1p1, q.forward.src, a40000, false)
			},
		}, {
			Row{"5508-07", Must, "5 REQ-7", "An error about a hairpinned packet reaches the host that sent it", Errors | Hairpin}, filtering(EndpointIndependent),
			func(s *stage) {
				a, b := s.open(protoUDP, a40000, s1p1), s.open(protoUDP, b40000, s1p1)
				p := s.udp(a40000, b)
				q := s.hairpin(p, b40000)
				quote := packet{proto: protoUDP, src: q.src, dst: q.dst, ttl: q.ttl, id: q.id, payload: q.payload}
				r := s.outbound(s.error(hostB, a.Addr(), unreachable, 3, quote.bytes(), 576))
				s.require(r.forward == nil && len(r.back) == 1, "the error does not come back inside")
				e := r.back[0]
				s.require(e.dst.Addr() == hostA && e.src.Addr() == b.Addr(), "the error goes from %v to %v", e.src.Addr(), e.dst.Addr())
				s.require(e.headerOK && e.sumOK, "a checksum of the error is wrong")
				s.quotes(e, p)
			},
		}, {
			Row{"5508-08", Should, "6 REQ-8", "A host that gets no mapping because of a limit is told by ICMP", Answers}, func(c *Config) { c.PortsPerHost = 4 },
			func(s *stage) {
				for i := range 4 {
					s.open(protoUDP, at(hostA, 5000+i), s1p1)
				}
				p := s.udp(a40000, s1p1)
				s.answered(p, s.refused(p))
			},
		}, {
			Row{"5508-10a", Must, "7 REQ-10a", "Destination Unreachable and Time Exceeded are translated both ways", Errors}, nil,
			func(s *stage) {
				out := s.leaves(s.udp(a40000, s1p1))
				in := s.inbound(s.udp(s1p1, out.forward.src))
				s.require(in.forward != nil, "the packet does not arrive")
				for _, icmp := range []byte{unreachable, timeExceeded} {
					s.errorIn(s.error(router, external1, icmp, 0, out.bytes, 28), hostA)
					s.errorOut(s.error(hostA, server1, icmp, 0, in.bytes, 28), external1)
				}
			},
		}, {
			Row{"5508-10b", May, "7 REQ-10b", "Timestamp queries are translated", Queries}, nil,
			func(s *stage) {
				p := s.echo(a40000, server1)
				p.icmp, p.payload = timestamp, make([]byte, 12)
				e := s.out(p).src
				p = s.reply(server1, e)
				p.icmp, p.payload = tsAnswer, make([]byte, 12)
				s.in(p, a40000)
			},
		}, {
			Row{"5508-10b/problem", May, "7 REQ-10b", "Parameter Problem is translated", Errors}, nil,
			func(s *stage) {
				e := s.error(router, external1, parameterProblem, 0, s.leaves(s.udp(a40000, s1p1)).bytes, 28)
				e.rest = 8 << 24
				s.errorIn(e, hostA)
			},
		}, {
			Row{"5508-10c", Should, "7 REQ-10c", "Source Quench and information requests are not", Queries | Errors}, nil,
			func(s *stage) {
				q := s.leaves(s.udp(a40000, s1p1))
				s.blocked(s.error(router, external1, sourceQuench, 0, q.bytes, 28))
				p := s.echo(a40000, server1)
				p.icmp = informationRequest
				s.refused(p)
			},
		}, {
			Row{"5508-10h", Must, "7.1.2", "ICMP 3/4 that arrives goes on with its MTU to the host that it is for", Errors}, nil,
			func(s *stage) {
				e := s.error(router, external1, unreachable, 4, s.leaves(s.udp(a40000, s1p1)).bytes, 28)
				e.rest = 1400
				s.errorIn(e, hostA)
			},
		}, {
			Row{"5508-10j", Should, "7.3", "No ICMP message with a source route leaves", Queries | Bytes}, nil,
			func(s *stage) {
				p := s.echo(a40000, server1)
				p.options = []byte{131, 7, 4, 192, 0, 2, 1, 0} // loose, with one address to go
				s.refused(p)
			},
		}, {
			Row{"5508-11", May, "8 REQ-11", "ICMP messages of unknown types pass neither way", Queries}, nil,
			func(s *stage) {
				s.open(protoICMP, a40000, s1p1)
				for _, icmp := range []byte{1, 7, 40, 200} {
					p := s.error(hostA, server1, icmp, 0, []byte("unknown"), 7)
					s.refused(p)
					s.blocked(s.error(server1, external1, icmp, 0, []byte("unknown"), 7))
				}
			},
		},
	}
}

// answered requires that exactly one ICMP Destination Unreachable about a packet came back to its sender.
func (s *stage) answered(p *packet, back []*packet) {
	s.require(len(back) == 1, "%d answers come", len(back))
	q := back[0]
	s.require(q.proto == protoICMP && q.icmp == unreachable && q.dst.Addr() == p.src.Addr(), "%s comes", name(q))
	s.require(q.headerOK && q.sumOK, "a checksum of the answer is wrong")
	s.require(len(q.payload) >= 28 && bytes.Equal(q.payload[:28], p.bytes()[:28]), "the answer does not quote the packet")
}
