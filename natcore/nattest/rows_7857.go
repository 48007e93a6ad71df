package nattest

import (
	"net/netip"
	"time"
)

// tests7857 are those of RFC 7857, which updates the RFCs before.
func tests7857() []test {
	return []test{
		{
			Row{"7857-01b", Should, "2", "A remote end's SYN-ACK alone does not establish a connection", TCP | Clock}, nil,
			func(s *stage) {
				c := s.dial(a40000, s1p1)
				c.out(syn)
				c.in(syn | ack)
				s.wait(transitory + time.Minute)
				s.wait(time.Minute)
				s.blocked(c.fromRemote(psh|ack, "data"))
			},
		}, {
			Row{"7857-02", Should, "2.1", "A connection that was closed is forgotten after its 240 s", TCP | Clock}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				c.works()
				c.close(true)
				s.wait(transitory + time.Minute)
				s.wait(time.Minute)
				s.blocked(c.fromRemote(psh|ack, "data"))
			},
		}, {
			Row{"7857-02/opening", Should, "2.1", "A connection that opens has 240 s for it", TCP | Clock}, nil,
			func(s *stage) {
				c := s.dial(a40000, s1p1)
				c.out(syn)
				s.wait(transitory - time.Second)
				c.in(syn | ack)
				c.out(ack)
				c.works()
			},
		}, {
			Row{"7857-03", Must, "2.2", "A reset of a connection is translated and forwarded, either way", TCP}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				c.works()
				c.in(rst)
				c = s.connect(b40000, s1p1)
				c.works()
				c.out(rst | ack)
			},
		}, {
			Row{"7857-04", Should, "2.2", "After a reset the session stays for 240 s", TCP | Clock}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				c.works()
				c.in(rst)
				s.wait(transitory - time.Second)
				c.outData(psh|ack, "the reset was lost")
			},
		}, {
			Row{"7857-04/end", Should, "2.2", "Then it is over", TCP | Clock}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				c.works()
				c.in(rst)
				s.wait(transitory + time.Minute)
				s.wait(time.Minute)
				s.blocked(c.fromRemote(psh|ack, "data"))
			},
		}, {
			Row{"7857-04/back", Should, "2.2", "Data within that time brings the connection back to its long timer", TCP | Clock}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				c.works()
				c.in(rst)
				s.wait(time.Minute)
				c.outData(psh|ack, "the reset was lost")
				c.inData(psh|ack, "so it was")
				s.wait(time.Hour)
				c.works()
			},
		}, {
			Row{"7857-05", Must, "2.2", "A reset that does not belong to the connection does not shorten its life", TCP | Clock}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				c.works()
				s.resets(c)
				s.wait(2 * time.Hour)
				c.works()
			},
		}, {
			Row{"7857-06b", Must, "3", "Two endpoints that speak with one remote endpoint never share an external one, where mapping depends on it", 0},
			mapping(AddressAndPortDependent),
			func(s *stage) { s.distinct(protoUDP) },
		}, {
			Row{"7857-07", Should, "4", "When the paired address is full the host is refused, and not split over two", 0},
			func(c *Config) { c.External, c.FirstPort, c.LastPort = scattered[:2], 4096, 4127 },
			func(s *stage) {
				used := map[netip.Addr]int{}
				for _, e := range s.fill(hostA, 100) {
					used[e.Addr()]++
				}
				s.require(len(used) == 1, "the host is on %d addresses", len(used))
			},
		}, {
			Row{"7857-08", Must, "5", "Mappings of two protocols have nothing to do with each other", TCP | Clock}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				s.open(protoUDP, a40000, s1p1)
				s.wait(time.Hour) // the datagram's mapping is over
				c.works()
				u := s.open(protoUDP, a40000, s1p1)
				c.works()
				s.in(s.udp(s1p1, u), a40000)
			},
		}, {
			Row{"7857-09", Must, "6", "A mapping of one protocol admits nothing of another", TCP}, filtering(EndpointIndependent),
			func(s *stage) {
				u, t := s.open(protoUDP, a40000, s1p1), s.open(protoTCP, at(hostB, 40001), s1p1)
				for i := 2; u == t; i++ { // by chance: each protocol may use all ports
					s.require(i < 10, "a datagram and a segment of different endpoints have one port, again and again")
					t = s.open(protoTCP, at(hostB, 40000+i), s1p1)
				}
				s.blocked(s.tcp(s1p1, u, syn))
				s.blocked(s.udp(s1p1, t))
			},
		}, {
			Row{"7857-10", Should, "7", "Packets that filtering refuses keep no mapping alive", Clock},
			func(c *Config) {
				c.Filtering, c.UDPTimeout, c.RefreshInbound = AddressAndPortDependent, 150*time.Second, true
			},
			func(s *stage) {
				e := s.open(protoUDP, a40000, s1p1)
				for range 4 {
					s.wait(100 * time.Second)
					s.blocked(s.udp(s2p1, e))
				}
				s.alive(protoUDP, s1p1, e, a40000, false)
			},
		}, {
			Row{"7857-11", Should, "7.1", "ICMP errors with which a host turns packets away keep its mapping alive no longer", Clock | Errors},
			func(c *Config) { c.Filtering, c.UDPTimeout = EndpointIndependent, 150*time.Second },
			func(s *stage) {
				e := s.open(protoUDP, a40000, s1p1)
				for i := range 4 {
					s.wait(100 * time.Second)
					r := s.inbound(s.udp(at(stranger, 999), e))
					s.require(i > 0 || r.forward != nil, "the packet does not arrive")
					if r.forward != nil {
						s.outbound(s.error(hostA, stranger, unreachable, 3, r.bytes, 576))
					}
				}
				s.blocked(s.udp(at(stranger, 999), e))
			},
		}, {
			Row{"7857-16", Should, "9", "Ports of TCP are hard to guess too", TCP}, nil,
			func(s *stage) { s.unpredictable(protoTCP) },
		}, {
			Row{"7857-17b", Must, "10", "Datagrams that may be fragmented never repeat an identification between two addresses, whoever sends them", Bytes}, nil,
			func(s *stage) {
				ids := map[uint16]netip.Addr{}
				for i := range 300 {
					p := s.udp(at(host(i%100), 5000), s1p1)
					p.id = uint16(1 + i/100)
					q := s.out(p)
					other, taken := ids[q.id]
					s.require(!taken, "datagrams of %v and %v have the identification %d", other, p.src.Addr(), q.id)
					ids[q.id] = p.src.Addr()
				}
			},
		}, {
			Row{"7857-18", May, "11", "A query's mapping goes with its last session", Queries | Clock}, both(EndpointIndependent, EndpointIndependent),
			func(s *stage) {
				e := s.open(protoICMP, a40000, s1p1)
				s.wait(time.Hour)
				s.blocked(s.reply(server1, e))
			},
		}, {
			Row{"7857-19", Must, "12", "An error about a hairpinned segment finds the host that sent it", TCP | Errors | Hairpin}, filtering(EndpointIndependent),
			func(s *stage) {
				a, b := s.open(protoTCP, a40000, s1p1), s.open(protoTCP, b40000, s1p1)
				p := s.tcp(a40000, b, syn)
				q := s.hairpin(p, b40000)
				quote := packet{proto: protoTCP, src: q.src, dst: q.dst, ttl: q.ttl, id: q.id, flags: q.flags, seq: q.seq, payload: q.payload}
				r := s.outbound(s.error(hostB, a.Addr(), unreachable, 3, quote.bytes(), 28))
				s.require(r.forward == nil && len(r.back) == 1, "the error does not come back inside")
				e := r.back[0]
				s.require(e.dst.Addr() == hostA && e.headerOK && e.sumOK, "the error goes to %v, or a checksum is wrong", e.dst.Addr())
				s.quotes(e, p)
			},
		},
	}
}
