package nattest

import "net/netip"

// conn is a TCP connection between an internal and a remote end. It numbers the segments of both as two real ends
// would, so that a NAT that looks at sequence numbers finds nothing wrong.
type conn struct {
	s               *stage
	host, remote    netip.AddrPort
	external        netip.AddrPort // the host's, once a segment of it has left
	hostSeq, rmtSeq uint32         // the next number of each end
}

// dial is a connection of which nothing has been sent.
func (s *stage) dial(host, remote netip.AddrPort) *conn {
	return &conn{s: s, host: host, remote: remote, hostSeq: 1000, rmtSeq: 5000}
}

// connect is an established connection that the internal end has opened.
func (s *stage) connect(host, remote netip.AddrPort) *conn {
	c := s.dial(host, remote)
	c.out(syn)
	c.in(syn | ack)
	c.out(ack)
	return c
}

// fromHost builds the next segment of the internal end.
func (c *conn) fromHost(flags byte, payload string) *packet {
	p := c.s.tcp(c.host, c.remote, flags)
	p.seq, p.payload = c.hostSeq, []byte(payload)
	if flags&ack != 0 {
		p.ack = c.rmtSeq
	}
	return p
}

// fromRemote builds the next segment of the remote end.
func (c *conn) fromRemote(flags byte, payload string) *packet {
	p := c.s.tcp(c.remote, c.external, flags)
	p.seq, p.payload = c.rmtSeq, []byte(payload)
	if flags&ack != 0 {
		p.ack = c.hostSeq
	}
	return p
}

// length is how many sequence numbers a segment takes.
func length(p *packet) uint32 {
	n := uint32(len(p.payload))
	if p.flags&syn != 0 {
		n++
	}
	if p.flags&fin != 0 {
		n++
	}
	return n
}

// out sends a segment of the internal end and requires that it leaves from the same endpoint as those before.
func (c *conn) out(flags byte) *packet { return c.outData(flags, "") }

func (c *conn) outData(flags byte, payload string) *packet {
	p := c.fromHost(flags, payload)
	q := c.s.out(p)
	c.s.require(!c.external.IsValid() || q.src == c.external, "a segment leaves from %v, those before from %v", q.src, c.external)
	c.s.require(q.seq == p.seq && q.ack == p.ack, "a sequence number changed")
	c.external = q.src
	c.hostSeq += length(p)
	return q
}

// in sends a segment of the remote end and requires that it arrives.
func (c *conn) in(flags byte) *packet { return c.inData(flags, "") }

func (c *conn) inData(flags byte, payload string) *packet {
	p := c.fromRemote(flags, payload)
	q := c.s.in(p, c.host)
	c.s.require(q.seq == p.seq && q.ack == p.ack, "a sequence number changed")
	c.rmtSeq += length(p)
	return q
}

// works requires that data passes both ways.
func (c *conn) works() {
	c.outData(psh|ack, "from the internal end")
	c.inData(psh|ack, "from the remote end")
}

// close closes the connection from the internal end first, or from the remote one.
func (c *conn) close(hostFirst bool) {
	if hostFirst {
		c.out(fin | ack)
		c.in(ack)
		c.in(fin | ack)
		c.out(ack)
		return
	}
	c.in(fin | ack)
	c.out(ack)
	c.out(fin | ack)
	c.in(ack)
}
