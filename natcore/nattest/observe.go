package nattest

import (
	"fmt"
	"net/netip"
)

// What rows of several protocols find out about a NAT.

// mapsBy requires that a host's endpoint is mapped as the behaviour says.
func (s *stage) mapsBy(proto byte, b Behaviour, src netip.AddrPort) {
	one, otherPort, otherHost := s.open(proto, src, s1p1), s.open(proto, src, s1p2), s.open(proto, src, s2p1)
	s.require(s.open(proto, src, s1p1) == one, "one remote endpoint sees two external endpoints")
	s.require((one == otherHost) == (b == EndpointIndependent), "%v: %v towards %v, %v towards %v", b, one, s1p1, otherHost, s2p1)
	if proto != protoICMP {
		s.require((one == otherPort) == (b != AddressAndPortDependent), "%v: %v towards %v, %v towards %v", b, one, s1p1, otherPort, s1p2)
	}
}

// filtersBy requires that a mapping, made by a packet to s1p1, admits whom the behaviour says.
func (s *stage) filtersBy(proto byte, b Behaviour, src netip.AddrPort) {
	external := s.open(proto, src, s1p1)
	knock := func(from netip.AddrPort, admitted bool) {
		p := s.udp(from, external)
		if proto == protoTCP {
			p = s.tcp(from, external, syn)
		}
		if r := s.inbound(p); (r.forward != nil) != admitted {
			s.fail("%v: after a packet to %v one from %v is admitted: %v", b, s1p1, from, r.forward != nil)
		} else if admitted {
			s.intact(p, r.forward, true)
			s.require(r.forward.dst == src, "it arrives at %v", r.forward.dst)
		}
	}
	knock(at(stranger, 999), b == EndpointIndependent)
	knock(s2p1, b == EndpointIndependent)
	knock(s1p2, b != AddressAndPortDependent)
	if proto != protoTCP { // a SYN from there is part of the connection that is being opened
		knock(s1p1, true)
	}
}

// alive requires that a mapping is there, or not, as a packet from a remote end that was written to finds it.
func (s *stage) alive(proto byte, remote, external, src netip.AddrPort, there bool) {
	p := s.answer(proto, remote, external)
	if there {
		s.in(p, src)
	} else {
		s.blocked(p)
	}
}

// distinct opens sessions of many hosts from the same port and requires that all external endpoints differ.
func (s *stage) distinct(proto byte) {
	holder := map[netip.AddrPort]netip.AddrPort{}
	for i := range 200 {
		src := at(host(i), 5000)
		e := s.open(proto, src, s1p1)
		other, taken := holder[e]
		s.require(!taken, "%v and %v are both %v", other, src, e)
		holder[e] = src
	}
	for e, src := range holder {
		s.in(s.answer(proto, s1p1, e), src)
	}
}

// fragments sends a datagram of three fragments both ways, in the order given, and requires that the whole arrives and is right.
func (s *stage) fragments(order ...int) {
	external := s.open(protoUDP, a40000, s1p1)
	for _, inbound := range []bool{false, true, false, true} {
		p := s.udp(a40000, s1p1)
		if inbound {
			p = s.udp(s1p1, external)
		}
		p.payload = make([]byte, 2500)
		for i := range p.payload {
			p.payload[i] = byte(i * 7)
		}
		parts := cut(p.bytes(), 1000)
		var got [][]byte
		for _, i := range order {
			for _, q := range s.pass(parts[i], inbound) {
				s.require(q.Inside == inbound, "a fragment goes back")
				got = append(got, q.Bytes)
			}
		}
		whole := join(got)
		s.require(whole != nil, "%d of %d fragments make no whole (inbound: %v)", len(got), len(parts), inbound)
		q, err := parse(whole)
		s.require(err == nil, "the whole is no packet")
		s.intact(p, q, inbound)
		if inbound {
			s.require(q.dst == a40000, "the whole arrives at %v", q.dst)
		} else {
			s.require(q.src == external, "the whole leaves from %v instead of %v", q.src, external)
		}
	}
}

// drain makes hosts take all ports and returns their mappings.
func (s *stage) drain() map[netip.AddrPort]netip.AddrPort {
	all := map[netip.AddrPort]netip.AddrPort{}
	holder := map[netip.AddrPort]netip.AddrPort{}
	for i := range 200 {
		src := at(host(i), 5000)
		for j := range 64 {
			src = at(src.Addr(), 5000+j)
			r := s.outbound(s.udp(src, s1p1))
			if r.forward == nil {
				break
			}
			e := r.forward.src
			s.require(!holder[e].IsValid(), "%v and %v are both %v", holder[e], src, e)
			all[src], holder[e] = e, src
		}
	}
	return all
}

// unpredictable opens sessions and requires that external ports do not follow each other by a rule that their differences
// show, nor are the internal ones.
func (s *stage) unpredictable(proto byte) {
	const n = 200
	var ports []uint16
	kept := 0
	for i := range n {
		e := s.open(proto, at(hostA, 5000+i*3), s1p1)
		if int(e.Port()) == 5000+i*3 {
			kept++
		}
		ports = append(ports, e.Port())
	}
	steps := map[string]int{}
	for i := 1; i < n; i++ {
		step := fmt.Sprint("a step of ", int(ports[i])-int(ports[i-1]))
		if steps[step]++; steps[step] > n/4 {
			s.fail("%s comes %d times in %d ports", step, steps[step], i)
		}
	}
	s.require(kept <= n/4, "%d of %d ports are the internal ones", kept, n)
}

// fill makes one host open sessions until it is refused, at most n, and returns the external endpoints by internal ones.
func (s *stage) fill(h netip.Addr, n int) map[netip.AddrPort]netip.AddrPort {
	return s.fillFrom(h, 10000, n)
}

// fillFrom is fill with internal ports from first.
func (s *stage) fillFrom(h netip.Addr, first, n int) map[netip.AddrPort]netip.AddrPort {
	held := map[netip.AddrPort]netip.AddrPort{}
	for i := range n {
		src := at(h, first+i)
		p := s.udp(src, s1p1)
		r := s.outbound(p)
		if r.forward == nil {
			break
		}
		s.intact(p, r.forward, false)
		held[src] = r.forward.src
	}
	return held
}

// still requires that mappings are as they were.
func (s *stage) still(held map[netip.AddrPort]netip.AddrPort) {
	for src, e := range held {
		s.in(s.udp(s1p1, e), src)
		now := s.open(protoUDP, src, s1p1)
		s.require(now == e, "%v was %v and is %v", src, e, now)
	}
}
