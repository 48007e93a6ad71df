package nattest

import (
	"bytes"
	"time"
)

const (
	established = 7440 * time.Second // RFC 5382 REQ-5
	transitory  = 240 * time.Second  // RFC 5382 REQ-5, RFC 7857 section 2.1
)

// course is a row about a course of a connection.
func course(id, title string, run func(c *conn)) test {
	return test{
		Row{id, Must, "4.2 REQ-2", title, TCP}, nil,
		func(s *stage) { run(s.dial(a40000, s1p1)) },
	}
}

// tests5382 are those of RFC 5382, for TCP.
func tests5382() []test {
	return []test{
		{
			Row{"5382-01", Must, "4.1 REQ-1", "By default one internal endpoint has one external endpoint, whatever it connects to", TCP}, nil,
			func(s *stage) { s.mapsBy(protoTCP, EndpointIndependent, a40000) },
		},
		course("5382-02", "A connection opened and closed from inside passes, to its last segment", func(c *conn) {
			c.out(syn)
			c.in(syn | ack)
			c.out(ack)
			c.works()
			c.close(true)
		}),
		course("5382-02/remote", "So does one that the remote end closes", func(c *conn) {
			c.out(syn)
			c.in(syn | ack)
			c.out(ack)
			c.works()
			c.close(false)
		}),
		course("5382-02/both", "And one that both ends close at once", func(c *conn) {
			c.out(syn)
			c.in(syn | ack)
			c.out(ack)
			c.works()
			c.out(fin | ack)
			c.in(fin | ack)
			c.out(ack)
			c.in(ack)
		}),
		course("5382-02/half", "Data follows the FIN of the other end, either way, as long as there is some", func(c *conn) {
			c.out(syn)
			c.in(syn | ack)
			c.out(ack)
			c.out(fin | ack)
			c.in(ack)
			for range 20 {
				c.inData(psh|ack, "still there")
				c.out(ack)
			}
			c.in(fin | ack)
			c.out(ack)
		}),
		course("5382-02/again", "Segments that are sent twice pass twice", func(c *conn) {
			twice := func(flags byte, out bool) {
				for range 2 {
					if out {
						c.s.out(c.fromHost(flags, ""))
					} else {
						c.s.in(c.fromRemote(flags, ""), c.host)
					}
				}
				if out {
					c.out(flags)
				} else {
					c.in(flags)
				}
			}
			c.external = c.s.out(c.fromHost(syn, "")).src
			twice(syn, true)
			twice(syn|ack, false)
			twice(ack, true)
			c.works()
			twice(fin|ack, true)
			twice(fin|ack, false)
			twice(ack, true)
		}),
		{
			Row{"5382-02/inbound", Must, "4.2 REQ-2", "A remote end opens a connection to an endpoint that has a mapping, where filtering admits it", TCP}, filtering(EndpointIndependent),
			func(s *stage) {
				c := s.dial(a40000, s2p1)
				c.external = s.open(protoTCP, a40000, s1p1)
				c.in(syn)
				c.out(syn | ack)
				c.in(ack)
				c.works()
				c.close(false)
			},
		}, {
			Row{"5382-02a", Must, "4.2 REQ-2a", "Connections that both ends open at once pass", TCP}, nil,
			func(s *stage) {
				c := s.dial(a40000, s1p1)
				c.out(syn)
				c.in(syn)
				p := c.fromHost(syn|ack, "")
				p.seq-- // the same SYN again, with an acknowledgment
				s.out(p)
				p = c.fromRemote(syn|ack, "")
				p.seq--
				s.in(p, a40000)
				c.out(ack)
				c.in(ack)
				c.works()
				c.close(true)
			},
		}, {
			Row{"5382-02a/lives", Must, "4.2 REQ-2a", "They are established then", TCP | Clock}, nil,
			func(s *stage) {
				c := s.dial(a40000, s1p1)
				c.out(syn)
				c.in(syn)
				c.out(ack)
				c.in(ack)
				s.wait(established - time.Minute)
				c.works()
			},
		}, {
			Row{"5382-03", Should, "4.3 REQ-3", "Endpoint-independent filtering of TCP: whoever knows a mapping reaches it", TCP}, filtering(EndpointIndependent),
			func(s *stage) { s.filtersBy(protoTCP, EndpointIndependent, a40000) },
		}, {
			Row{"5382-03/ad", May, "4.3 REQ-3", "Address-dependent filtering of TCP can be chosen", TCP}, filtering(AddressDependent),
			func(s *stage) { s.filtersBy(protoTCP, AddressDependent, a40000) },
		}, {
			Row{"5382-03/apd", May, "4.3 REQ-3a", "Address- and port-dependent filtering of TCP can be chosen", TCP}, filtering(AddressAndPortDependent),
			func(s *stage) { s.filtersBy(protoTCP, AddressAndPortDependent, a40000) },
		}, {
			Row{"5382-04", Must, "4.3 REQ-4", "A SYN that is not admitted gets no answer within 6 s", TCP}, filtering(AddressAndPortDependent),
			func(s *stage) {
				e := s.open(protoTCP, a40000, s1p1)
				free := at(external1, int(e.Port()^1))
				for _, p := range []*packet{s.tcp(s2p1, e, syn), s.tcp(s2p1, free, syn)} {
					r := s.inbound(p)
					s.require(r.forward == nil && len(r.back) == 0, "the SYN %s is forwarded or answered", name(p))
				}
				if s.subject.Lacks&Clock == 0 {
					s.require(len(s.wait(5900*time.Millisecond)) == 0, "the SYN is answered before 6 s are over")
				}
			},
		}, {
			Row{"5382-04a", Must, "4.3 REQ-4", "When the internal end opens the same connection meanwhile, nobody is told of the SYN, and its repetition passes", TCP | Clock}, filtering(AddressAndPortDependent),
			func(s *stage) {
				c := s.dial(a40000, s2p1)
				c.external = s.open(protoTCP, a40000, s1p1)
				c.s.blocked(c.fromRemote(syn, ""))
				s.wait(time.Second)
				c.out(syn)
				c.in(syn)
				c.out(ack)
				c.in(ack)
				s.require(len(s.wait(10*time.Second)) == 0, "somebody is told of the first SYN")
				c.works()
			},
		}, {
			Row{"5382-04b", Should, "4.3 REQ-4", "Otherwise its sender gets one ICMP port unreachable after 6 s", TCP | Clock | Answers}, filtering(AddressAndPortDependent),
			func(s *stage) {
				e := s.open(protoTCP, a40000, s1p1)
				p := s.tcp(s2p1, e, syn)
				s.blocked(p)
				r := s.sort(s.wait(7*time.Second), true)
				s.require(len(r.back) == 1, "%d packets come", len(r.back))
				q := r.back[0]
				s.require(q.proto == protoICMP && q.icmp == unreachable && q.code == 3 && q.dst.Addr() == server2, "%s comes", name(q))
				s.require(bytes.Equal(q.payload[:28], p.bytes()[:28]), "it does not quote the SYN")
			},
		}, {
			Row{"5382-05", Must, "5 REQ-5", "An established connection lives for 7440 s without traffic", TCP | Clock}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				c.works()
				s.wait(established - time.Second)
				c.inData(psh|ack, "from the remote end")
				c.outData(psh|ack, "from the internal end")
				s.wait(established - time.Second)
				c.works()
			},
		}, {
			Row{"5382-05b", Must, "5 REQ-5", "A connection that closes lives for 240 s", TCP | Clock}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				c.works()
				c.close(true)
				s.wait(transitory - time.Second)
				p := c.fromRemote(fin|ack, "") // the last ACK was lost
				p.seq--
				s.in(p, a40000)
				c.out(ack)
			},
		}, {
			Row{"5382-05c", Must, "5 REQ-5", "One FIN leaves a connection established", TCP | Clock}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				c.out(fin | ack)
				c.in(ack)
				s.wait(established - time.Second)
				c.inData(psh|ack, "late answer")
				c.out(ack)
			},
		}, {
			Row{"5382-05d", May, "5 REQ-5a", "The timer of established connections can be set", TCP | Clock}, func(c *Config) { c.TCPTimeout = 8000 * time.Second },
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				c.works()
				s.wait(7999 * time.Second)
				c.outData(psh|ack, "still there")
				s.wait(8001 * time.Second)
				s.blocked(c.fromRemote(psh|ack, "too late"))
			},
		}, {
			Row{"5382-05f", May, "5", "A segment without SYN that belongs to no connection makes none", TCP}, nil,
			func(s *stage) {
				for _, flags := range []byte{ack, psh | ack, fin | ack, rst, rst | ack, syn | ack, 0} {
					s.refused(s.tcp(a40000, s1p1, flags))
				}
			},
		}, {
			Row{"5382-06", Should, "6 REQ-6", "No application gateway changes payloads by default", TCP}, nil,
			func(s *stage) {
				c := s.connect(a40000, at(server1, 5060))
				c.outData(psh|ack, "INVITE sip:b@198.51.100.10 SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.2:5060\r\n\r\n")
				c.inData(psh|ack, "SIP/2.0 200 OK\r\nContact: <sip:b@203.0.113.5:5060>\r\n\r\n")
			},
		}, {
			Row{"5382-07", Must, "7.1 REQ-7", "Two internal endpoints never hold one external endpoint at a time", TCP}, nil,
			func(s *stage) { s.distinct(protoTCP) },
		}, {
			Row{"5382-08", Must, "7.2 REQ-8", "Internal hosts connect to each other by external endpoints", TCP | Hairpin}, filtering(EndpointIndependent),
			func(s *stage) {
				b := s.open(protoTCP, b40000, s1p1)
				p := s.tcp(a40000, b, syn)
				q := s.hairpin(p, b40000)
				p = s.tcp(b40000, q.src, syn|ack)
				p.seq, p.ack = 9000, 1001
				s.hairpin(p, a40000)
				p = s.tcp(a40000, b, ack)
				p.seq, p.ack, p.payload = 1001, 9001, []byte("data")
				s.hairpin(p, b40000)
			},
		}, {
			Row{"5382-08a", Must, "7.2 REQ-8a", "Such a connection comes from the external endpoint of its opener", TCP | Hairpin}, filtering(EndpointIndependent),
			func(s *stage) {
				a, b := s.open(protoTCP, a40000, s1p1), s.open(protoTCP, b40000, s1p1)
				q := s.hairpin(s.tcp(a40000, b, syn), b40000)
				s.require(q.src == a, "it comes from %v, the opener is %v outside", q.src, a)
			},
		}, {
			Row{"5382-09", Should, "7.3 REQ-9", "ICMP type 3 about a segment is translated inbound, with any code", TCP | Errors}, nil,
			func(s *stage) {
				p := s.tcp(a40000, s1p1, syn)
				q := s.outbound(p)
				s.require(q.forward != nil, "the SYN does not leave")
				for code := range byte(14) {
					s.quotes(s.errorIn(s.error(router, external1, unreachable, code, q.bytes, 576), hostA), p)
				}
			},
		}, {
			Row{"5382-09/out", Should, "7.3 REQ-9", "And outbound", TCP | Errors}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				p := c.fromRemote(psh|ack, "data")
				q := s.inbound(p)
				s.require(q.forward != nil, "the segment does not arrive")
				s.quotes(s.errorOut(s.error(hostA, server1, unreachable, 2, q.bytes, 576), external1), p)
			},
		}, {
			Row{"5382-10", Must, "7.3 REQ-10", "No ICMP message ends a connection, while it opens or later", TCP | Errors | Clock}, nil,
			func(s *stage) {
				p := s.tcp(a40000, s1p1, syn)
				q := s.outbound(p)
				s.require(q.forward != nil, "the SYN does not leave")
				s.inbound(s.error(router, external1, unreachable, 1, q.bytes, 576))
				s.in(s.answer(protoTCP, s1p1, q.forward.src), a40000)
				c := s.connect(b40000, s1p1)
				c.works()
				r := s.outbound(c.fromHost(psh|ack, ""))
				for code := range byte(14) {
					s.inbound(s.error(server1, external1, unreachable, code, r.bytes, 576))
				}
				s.wait(established - time.Minute)
				c.works()
			},
		}, {
			Row{"5382-11", Must, "9", "Sequence numbers and TCP options, SACK blocks too, stay as they are", TCP | Bytes}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				sack := []byte{1, 1, 5, 10, 0, 0, 0x03, 0xe9, 0, 0, 0x05, 0}
				p := c.fromRemote(psh|ack, "data")
				p.tcpOptions = sack
				q := s.in(p, a40000)
				s.require(bytes.Equal(q.tcpOptions, sack) && q.seq == p.seq && q.ack == p.ack, "they change inbound")
				p = c.fromHost(psh|ack, "data")
				p.tcpOptions = sack
				q = s.out(p)
				s.require(bytes.Equal(q.tcpOptions, sack) && q.seq == p.seq && q.ack == p.ack, "they change outbound")
			},
		}, {
			Row{"5382-12", Must, "9", "Resets with a guessed sequence number end nothing", TCP | Clock}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				c.works()
				s.resets(c)
				s.wait(established - time.Minute)
				c.works()
			},
		}, {
			Row{"5382-12/fin", Must, "9", "Nor do such FINs", TCP | Clock}, nil,
			func(s *stage) {
				c := s.connect(a40000, s1p1)
				c.works()
				for i := range uint32(16) {
					p := c.fromRemote(fin|ack, "")
					p.seq += 0x08000000 + i<<28
					s.inbound(p)
					p = c.fromHost(fin|ack, "")
					p.seq += 0x08000000 + i<<28
					s.outbound(p)
				}
				s.wait(established - time.Minute)
				c.works()
			},
		},
	}
}

// resets sends resets of the remote end whose sequence numbers are wrong.
func (s *stage) resets(c *conn) {
	for i := range uint32(32) {
		p := c.fromRemote(rst, "")
		p.seq += 0x04000000 + i<<27
		s.inbound(p)
	}
}
