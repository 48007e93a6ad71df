package nattest

import (
	"net/netip"
	"time"
)

// small gives every external address 64 ports.
func small(c *Config) { c.FirstPort, c.LastPort = 4096, 4159 }

// tests6888 are those of RFC 6888, for carrier-grade NATs.
func tests6888() []test {
	limited := func(n int) func(s *stage) {
		return func(s *stage) {
			b := s.fill(hostB, 3)
			held := s.fill(hostA, 3*n)
			s.require(len(held) == n, "a host with a limit of %d gets %d ports", n, len(held))
			s.still(held)
			s.still(b)
			b = s.fill(hostB, n)
			s.require(len(b) == n, "another host gets %d ports instead of %d", len(b), n)
		}
	}
	return []test{
		{
			Row{"6888-02", Must, "3 REQ-2", "All mappings of a host, of all protocols, are on one external address by default", TCP | Queries},
			func(c *Config) { c.External = scattered },
			func(s *stage) {
				for i := range 20 {
					src := at(host(i), 5000)
					u, t, q := s.open(protoUDP, src, s1p1), s.open(protoTCP, src, s1p1), s.open(protoICMP, src, s2p1)
					s.require(u.Addr() == t.Addr() && u.Addr() == q.Addr(), "host %v has %v, %v and %v", src.Addr(), u.Addr(), t.Addr(), q.Addr())
				}
			},
		}, {
			Row{"6888-03", Must, "3 REQ-3", "A pool is any set of addresses: all of them serve", 0},
			func(c *Config) { c.External = scattered },
			func(s *stage) {
				used := map[netip.Addr]bool{}
				for i := range 400 {
					used[s.open(protoUDP, at(host(i), 5000), s1p1).Addr()] = true
				}
				s.require(len(used) == len(scattered), "400 hosts use %d of %d addresses", len(used), len(scattered))
			},
		}, {
			Row{"6888-04", Must, "3 REQ-4", "A host has a limit of ports; who reaches it disturbs nobody", 0}, func(c *Config) { c.PortsPerHost = 20 }, limited(20),
		}, {
			Row{"6888-04a", Must, "3 REQ-4a", "The limit can be set", 0}, func(c *Config) { c.PortsPerHost = 33 }, limited(33),
		}, {
			Row{"6888-04/again", Must, "3 REQ-4", "A host below its limit again gets ports again", Clock}, func(c *Config) { c.PortsPerHost = 16 },
			func(s *stage) {
				s.require(len(s.fill(hostA, 40)) == 16, "the limit does not hold")
				s.wait(time.Hour)
				s.require(len(s.fillFrom(hostA, 20000, 40)) == 16, "an hour later it gets another number of ports")
			},
		}, {
			Row{"6888-05", Should, "3 REQ-5", "The sessions of a host are bounded; those that it has go on", 0}, func(c *Config) { c.SessionsPerHost = 30 },
			func(s *stage) {
				opened := 0
				for i := range 100 {
					if s.outbound(s.udp(a40000, at(server1, 1+i))).forward != nil {
						opened++
					}
				}
				s.require(opened == 30, "a host with a limit of 30 sessions has %d", opened)
				s.open(protoUDP, a40000, at(server1, 1))
				s.open(protoUDP, b40000, s1p1)
			},
		}, {
			Row{"6888-06", Must, "3 REQ-6", "Packets to and from chosen destinations pass untouched", 0},
			func(c *Config) { c.Untranslated = netip.PrefixFrom(server2, 32) },
			func(s *stage) {
				p := s.udp(a40000, s2p1)
				r := s.outbound(p)
				s.require(r.forward != nil && r.forward.src == a40000 && r.forward.dst == s2p1, "the packet does not leave as it is")
				p = s.udp(s2p1, a40000)
				r = s.inbound(p)
				s.require(r.forward != nil && r.forward.src == s2p1 && r.forward.dst == a40000, "the answer does not arrive as it is")
				s.open(protoUDP, a40000, s1p1)
			},
		}, {
			Row{"6888-07", Should, "3 REQ-7", "Filtering is endpoint-independent by default", 0}, nil,
			func(s *stage) { s.filtersBy(protoUDP, EndpointIndependent, a40000) },
		}, {
			Row{"6888-08", Should, "3 REQ-8", "A freed port serves nobody else within 120 s", Clock}, func(c *Config) { small(c); c.UDPTimeout = 150 * time.Second },
			func(s *stage) {
				held := s.fill(hostA, 64)
				freed := map[netip.AddrPort]bool{}
				for _, e := range held {
					freed[e] = true
				}
				s.wait(151 * time.Second)
				for range 118 {
					s.wait(time.Second)
				}
				for _, e := range s.fill(hostB, 64) {
					s.require(!freed[e], "%v serves another host 119 s after it was freed", e)
				}
				for range 20 {
					s.wait(time.Minute)
				}
				s.require(len(s.fill(hostB, 64)) > 0, "it still serves nobody twenty minutes later")
			},
		}, {
			Row{"6888-11a", Must, "3 REQ-11a", "A packet that gets no mapping is dropped", 0}, small,
			func(s *stage) {
				s.drain()
				s.refused(s.udp(at(host(500), 5000), s1p1))
			},
		}, {
			Row{"6888-11b", Should, "3 REQ-11b", "Its sender gets an ICMP Destination Unreachable", Answers}, small,
			func(s *stage) {
				s.drain()
				p := s.udp(at(host(500), 5000), s1p1)
				s.answered(p, s.refused(p))
			},
		}, {
			Row{"6888-11d", Must, "3 REQ-11d", "No mapping has to give way to a new one", 0}, small,
			func(s *stage) {
				held := s.drain()
				for i := range 300 {
					s.outbound(s.udp(at(host(500+i), 5000), s1p1))
				}
				s.still(held)
			},
		}, {
			Row{"6888-13", Should, "5 REQ-13", "Every port of an address is found before a host is refused", 0},
			func(c *Config) { c.FirstPort, c.LastPort = 4096, 4159 },
			func(s *stage) {
				ports := map[netip.AddrPort]bool{}
				for _, e := range s.fill(hostA, 100) {
					s.require(e.Port() >= 4096 && e.Port() <= 4159, "port %d is not of the pool", e.Port())
					ports[e] = true
				}
				s.require(len(ports) == 64, "%d of 64 ports are found", len(ports))
			},
		}, {
			Row{"6888-15", Should, "5 REQ-15", "The next port is hard to guess", 0}, nil,
			func(s *stage) { s.unpredictable(protoUDP) },
		},
	}
}
