package nattest

import (
	"net/netip"
	"time"
)

// mapping and filtering make a row ask for a behaviour.
func mapping(b Behaviour) func(*Config)   { return func(c *Config) { c.Mapping = b } }
func filtering(b Behaviour) func(*Config) { return func(c *Config) { c.Filtering = b } }

// both asks for a mapping and a filtering behaviour.
func both(m, f Behaviour) func(*Config) {
	return func(c *Config) { c.Mapping, c.Filtering = m, f }
}

// tests4787 are those of RFC 4787, for UDP.
func tests4787() []test {
	return []test{
		{
			Row{"4787-01", Must, "4.1 REQ-1", "By default one internal endpoint has one external endpoint, whatever it is used with", 0}, nil,
			func(s *stage) { s.mapsBy(protoUDP, EndpointIndependent, a40000) },
		}, {
			Row{"4787-01/many", Must, "4.1 REQ-1", "That holds for many endpoints and many remotes at once", 0}, nil,
			func(s *stage) {
				known := map[netip.AddrPort]netip.AddrPort{}
				for round := range 5 {
					for i := range 40 {
						src := at(host(i%8), 5000+i)
						e := s.open(protoUDP, src, at(server1, 1+round*i))
						s.require(round == 0 || known[src] == e, "%v was %v and is %v", src, known[src], e)
						known[src] = e
					}
				}
			},
		}, {
			Row{"4787-01/ad", May, "4.1", "Address-dependent mapping can be chosen", 0}, mapping(AddressDependent),
			func(s *stage) { s.mapsBy(protoUDP, AddressDependent, a40000) },
		}, {
			Row{"4787-01/apd", May, "4.1", "Address- and port-dependent mapping can be chosen", 0}, mapping(AddressAndPortDependent),
			func(s *stage) { s.mapsBy(protoUDP, AddressAndPortDependent, a40000) },
		}, {
			Row{"4787-01b", Must, "4.1 REQ-1", "Neither TTL, type of service, length nor payload change which mapping serves a packet", Bytes}, nil,
			func(s *stage) {
				e := s.open(protoUDP, a40000, s1p1)
				for i := range 20 {
					p := s.udp(a40000, s1p1)
					p.ttl, p.tos, p.df, p.payload = uint8(10+i), uint8(i*8), i%2 == 0, make([]byte, i*70)
					q := s.out(p)
					s.require(q.src == e, "%v became %v", e, q.src)
				}
			},
		}, {
			Row{"4787-02", Should, "4.1 REQ-2", "All mappings of a host are on the external address that it is paired with", 0},
			func(c *Config) { c.External = scattered },
			func(s *stage) {
				for i := range 10 {
					first := s.open(protoUDP, at(host(i), 5000), s1p1)
					for j := range 40 {
						e := s.open(protoUDP, at(host(i), 5001+j), s2p1)
						s.require(e.Addr() == first.Addr(), "host %v has mappings on %v and %v", host(i), first.Addr(), e.Addr())
					}
				}
			},
		}, {
			Row{"4787-03", Must, "4.2.1 REQ-3", "Two internal endpoints never hold one external endpoint at a time", 0}, nil,
			func(s *stage) { s.distinct(protoUDP) },
		}, {
			Row{"4787-03a", Should, "4.2.1 REQ-3a", "Ports of 1024 and more are mapped to such", 0}, nil,
			func(s *stage) {
				for i := range 200 {
					e := s.open(protoUDP, at(host(i%4), 1024+i*300), s1p1)
					s.require(e.Port() >= 1024, "port %d became %d", 1024+i*300, e.Port())
				}
			},
		}, {
			Row{"4787-03a/low", Should, "4.2.1 REQ-3a", "Ports below 1024 are mapped to such, where that is asked for", 0}, func(c *Config) { c.KeepClass = true },
			func(s *stage) {
				for i := range 40 {
					e := s.open(protoUDP, at(hostA, 1+i*25), s1p1)
					s.require(e.Port() < 1024 && e.Port() > 0, "port %d became %d", 1+i*25, e.Port())
					e = s.open(protoUDP, at(hostA, 1024+i*25), s1p1)
					s.require(e.Port() >= 1024, "port %d became %d", 1024+i*25, e.Port())
				}
			},
		}, {
			Row{"4787-04", Should, "4.2.2 REQ-4", "Even ports are mapped to even ones and odd to odd, where that is asked for", 0}, func(c *Config) { c.KeepParity = true },
			func(s *stage) {
				for i := range 100 {
					e := s.open(protoUDP, at(hostA, 5000+i), s1p1)
					s.require(e.Port()%2 == uint16(i%2), "port %d became %d", 5000+i, e.Port())
				}
			},
		}, {
			Row{"4787-05", Must, "4.3 REQ-5", "A mapping lives for 120 s or more without traffic", Clock}, nil,
			func(s *stage) {
				e := s.open(protoUDP, a40000, s1p1)
				s.wait(119 * time.Second)
				s.alive(protoUDP, s1p1, e, a40000, true)
			},
		}, {
			Row{"4787-05b", May, "4.3 REQ-5b", "The timer can be set", Clock}, func(c *Config) { c.UDPTimeout = 150 * time.Second },
			func(s *stage) {
				e := s.open(protoUDP, a40000, s1p1)
				s.wait(149 * time.Second)
				s.alive(protoUDP, s1p1, e, a40000, true)
				s.out(s.udp(a40000, s1p1))
				s.wait(151 * time.Second)
				s.alive(protoUDP, s1p1, e, a40000, false)
			},
		}, {
			Row{"4787-05c", Should, "4.3 REQ-5c", "Without configuration a mapping lives for 300 s or more", Clock}, nil,
			func(s *stage) {
				e := s.open(protoUDP, a40000, s1p1)
				s.wait(299 * time.Second)
				s.alive(protoUDP, s1p1, e, a40000, true)
			},
		}, {
			Row{"4787-06", Must, "4.3 REQ-6", "A packet that leaves restarts the timer", Clock}, nil,
			func(s *stage) {
				e := s.open(protoUDP, a40000, s1p1)
				for range 20 {
					s.wait(119 * time.Second)
					again := s.open(protoUDP, a40000, s1p1)
					s.require(again == e, "%v became %v", e, again)
				}
			},
		}, {
			Row{"4787-06/all", Must, "4.3 REQ-6", "It does so for the mapping with all its remote endpoints", Clock}, filtering(EndpointIndependent),
			func(s *stage) {
				e := s.open(protoUDP, a40000, s1p1)
				for range 20 {
					s.wait(119 * time.Second)
					s.open(protoUDP, a40000, s2p1)
				}
				s.alive(protoUDP, s1p1, e, a40000, true)
				again := s.open(protoUDP, a40000, s1p1)
				s.require(again == e, "%v became %v", e, again)
			},
		}, {
			Row{"4787-06a", May, "4.3 REQ-6a", "A packet that arrives restarts the timer, where that is asked for", Clock},
			func(c *Config) { c.RefreshInbound = true },
			func(s *stage) {
				e := s.open(protoUDP, a40000, s1p1)
				for range 20 {
					s.wait(119 * time.Second)
					s.alive(protoUDP, s1p1, e, a40000, true)
				}
			},
		}, {
			Row{"4787-07", Must, "4.4 REQ-7", "A remote host may have the address of an internal one", Bytes}, filtering(EndpointIndependent),
			func(s *stage) {
				e := s.open(protoUDP, a40000, s1p1)
				s.open(protoUDP, b40000, s1p1)
				s.in(s.udp(b40000, e), a40000)
				s.in(s.udp(a40000, e), a40000)
			},
		}, {
			Row{"4787-08", Should, "5 REQ-8", "By default a remote address that was written to is admitted from any port", 0}, nil,
			func(s *stage) {
				e := s.open(protoUDP, a40000, s1p1)
				s.in(s.udp(s1p2, e), a40000)
			},
		}, {
			Row{"4787-08a", Should, "5 REQ-8", "Endpoint-independent filtering: whoever knows a mapping reaches it", 0}, filtering(EndpointIndependent),
			func(s *stage) { s.filtersBy(protoUDP, EndpointIndependent, a40000) },
		}, {
			Row{"4787-08b", Should, "5 REQ-8", "Address-dependent filtering: remote addresses that were written to come in from any port", 0}, filtering(AddressDependent),
			func(s *stage) { s.filtersBy(protoUDP, AddressDependent, a40000) },
		}, {
			Row{"4787-08c", May, "5", "Address- and port-dependent filtering: only remote endpoints that were written to come in", 0}, filtering(AddressAndPortDependent),
			func(s *stage) { s.filtersBy(protoUDP, AddressAndPortDependent, a40000) },
		}, {
			Row{"4787-08d", May, "5 REQ-8a", "Filtering is chosen apart from mapping: independent mapping, dependent filtering", 0}, both(EndpointIndependent, AddressAndPortDependent),
			func(s *stage) {
				s.mapsBy(protoUDP, EndpointIndependent, a40000)
				s.filtersBy(protoUDP, AddressAndPortDependent, b40000)
			},
		}, {
			Row{"4787-08d/other", May, "5 REQ-8a", "The same the other way round", 0}, both(AddressAndPortDependent, EndpointIndependent),
			func(s *stage) {
				s.mapsBy(protoUDP, AddressAndPortDependent, a40000)
				s.filtersBy(protoUDP, EndpointIndependent, b40000)
			},
		}, {
			Row{"4787-09", Must, "6 REQ-9", "An internal host reaches another by its external endpoint", Hairpin}, filtering(EndpointIndependent),
			func(s *stage) {
				e := s.open(protoUDP, b40000, s1p1)
				s.hairpin(s.udp(a40000, e), b40000)
			},
		}, {
			Row{"4787-09a", Must, "6 REQ-9a", "What is hairpinned comes from the sender's external endpoint, and the answer finds back", Hairpin}, filtering(EndpointIndependent),
			func(s *stage) {
				a, b := s.open(protoUDP, a40000, s1p1), s.open(protoUDP, b40000, s1p1)
				q := s.hairpin(s.udp(a40000, b), b40000)
				s.require(q.src == a, "it comes from %v, the sender is %v outside", q.src, a)
				q = s.hairpin(s.udp(b40000, a), a40000)
				s.require(q.src == b, "the answer comes from %v instead of %v", q.src, b)
			},
		}, {
			Row{"4787-09a/new", Must, "6 REQ-9a", "That endpoint is made on the way, if need be", Hairpin}, filtering(EndpointIndependent),
			func(s *stage) {
				b := s.open(protoUDP, b40000, s1p1)
				q := s.hairpin(s.udp(a40000, b), b40000)
				a := s.open(protoUDP, a40000, s1p1)
				s.require(q.src == a, "it comes from %v, the sender is %v outside", q.src, a)
			},
		}, {
			Row{"4787-09b", Must, "6", "A host reaches itself by its external endpoint, once and without a loop", Hairpin}, filtering(EndpointIndependent),
			func(s *stage) {
				a := s.open(protoUDP, a40000, s1p1)
				q := s.hairpin(s.udp(a40000, a), a40000)
				s.require(q.src == a, "it comes from %v instead of %v", q.src, a)
			},
		}, {
			Row{"4787-10", Should, "7 REQ-10", "No application gateway changes payloads or makes mappings by default", 0}, nil,
			func(s *stage) {
				sip := "INVITE sip:b@198.51.100.10 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060\r\nContact: <sip:a@10.0.0.2:5060>\r\n\r\n" +
					"c=IN IP4 10.0.0.2\r\nm=audio 49170 RTP/AVP 0\r\n"
				p := s.udp(at(hostA, 5060), at(server1, 5060))
				p.payload = []byte(sip)
				e := s.out(p).src
				p = s.udp(at(server1, 5060), e)
				p.payload = []byte(sip)
				s.in(p, at(hostA, 5060))
			},
		}, {
			Row{"4787-11", Must, "8 REQ-11", "Mapping stays the same when internal ports clash", 0}, nil,
			func(s *stage) {
				for i := range 30 {
					s.mapsBy(protoUDP, EndpointIndependent, at(host(i), 40000))
				}
			},
		}, {
			Row{"4787-11/filter", Must, "8 REQ-11", "So does filtering", 0}, filtering(AddressDependent),
			func(s *stage) {
				for i := range 30 {
					s.filtersBy(protoUDP, AddressDependent, at(host(i), 40000))
				}
			},
		}, {
			Row{"4787-12", Must, "9 REQ-12", "No ICMP message ends a mapping", Errors}, nil,
			func(s *stage) {
				q := s.outbound(s.udp(a40000, s1p1))
				s.require(q.forward != nil, "the packet does not leave")
				for code := range byte(14) {
					s.inbound(s.error(router, external1, unreachable, code, q.bytes, 576))
				}
				s.inbound(s.error(router, external1, timeExceeded, 0, q.bytes, 576))
				s.in(s.udp(s1p1, q.forward.src), a40000)
				e := s.open(protoUDP, a40000, s1p1)
				s.require(e == q.forward.src, "%v became %v", q.forward.src, e)
			},
		}, {
			Row{"4787-12/time", Must, "9 REQ-12", "Nor does one shorten its life", Errors | Clock}, nil,
			func(s *stage) {
				q := s.outbound(s.udp(a40000, s1p1))
				s.require(q.forward != nil, "the packet does not leave")
				s.inbound(s.error(server1, external1, unreachable, 3, q.bytes, 576))
				s.wait(119 * time.Second)
				s.in(s.udp(s1p1, q.forward.src), a40000)
			},
		}, {
			Row{"4787-12a", Should, "9 REQ-12a", "ICMP errors are not filtered by their own source", Errors}, both(Unset, AddressAndPortDependent),
			func(s *stage) {
				q := s.outbound(s.udp(a40000, s1p1))
				s.require(q.forward != nil, "the packet does not leave")
				s.errorIn(s.error(router, external1, timeExceeded, 0, q.bytes, 28), hostA)
				s.errorIn(s.error(stranger, external1, unreachable, 1, q.bytes, 28), hostA)
			},
		}, {
			Row{"4787-12b", Should, "9 REQ-12b", "Destination Unreachable about a datagram is translated, outside and in its quote", Errors}, nil,
			func(s *stage) {
				p := s.udp(a40000, s1p1)
				q := s.outbound(p)
				s.require(q.forward != nil, "the packet does not leave")
				e := s.errorIn(s.error(server1, external1, unreachable, 3, q.bytes, 576), hostA)
				s.quotes(e, p)
			},
		}, {
			Row{"4787-14", Must, "11 REQ-14", "Fragments in order pass, both ways", Fragments}, nil,
			func(s *stage) { s.fragments(0, 1, 2) },
		}, {
			Row{"4787-14/reverse", Must, "11 REQ-14", "So do fragments whose last one comes first", Fragments}, nil,
			func(s *stage) { s.fragments(2, 1, 0) },
		}, {
			Row{"4787-14/mixed", Must, "11 REQ-14", "And those whose first one comes in the middle", Fragments}, nil,
			func(s *stage) { s.fragments(1, 0, 2) },
		}, {
			Row{"4787-14a", Must, "11 REQ-14a", "A flood of fragments that belong to nothing hinders no other traffic", Fragments}, nil,
			func(s *stage) {
				external := s.open(protoUDP, a40000, s1p1)
				for i := range 6000 {
					p := s.udp(s1p1, external)
					p.id, p.offset, p.more = uint16(i), 1480, true
					p.payload = make([]byte, 64)
					s.inbound(p)
				}
				s.in(s.udp(s1p1, external), a40000)
				s.open(protoUDP, b40000, s1p1)
			},
		}, {
			Row{"4787-15", Should, "13", "First fragments too short for their transport header are dropped (RFC 1858)", Fragments | TCP}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				p := c.fromRemote(psh|ack, "thirty-four bytes of data, say them")
				for _, f := range cut(p.bytes(), 8)[:1] {
					s.require(len(s.pass(f, true)) == 0, "a fragment with half a TCP header arrives")
				}
			},
		},
	}
}
