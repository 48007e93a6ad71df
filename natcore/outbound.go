package natcore

import (
	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// spaceOf returns the port space of a packet with ports or an identifier.
func spaceOf(h *rewrite.Packet4) portblock.Space {
	switch h.Kind {
	case rewrite.KindTCP:
		return portblock.TCP
	case rewrite.KindUDP:
		return portblock.UDP
	case rewrite.KindUDPLite:
		return mapping.UDPLite
	}
	return portblock.ICMP
}

// remoteOf is a session's remote endpoint. A query has no remote port: its
// identifier belongs to the internal host, and one mapping serves all remotes
// (RFC 5508 REQ-1a).
func remoteOf(space portblock.Space, addr uint32, port uint16) mapping.Endpoint {
	if space == portblock.ICMP {
		port = 0
	}
	return mapping.Endpoint{Addr: addr, Port: port}
}

func segmentOf(h *rewrite.Packet4) mapping.Segment {
	return mapping.Segment{Seq: h.Seq, Ack: h.Ack, Length: uint32(h.PayloadLength), Flags: h.TCPFlags}
}

// outbound translates the source of a packet that leaves, and its destination
// too when that is an external endpoint of this NAT (hairpinning).
func (c *call) outbound(p *Packet, h *rewrite.Packet4) (Verdict, Reason) {
	space := spaceOf(h)
	internal := mapping.Endpoint{Addr: h.Src, Port: h.SrcPort}
	remote := remoteOf(space, h.Dst, h.DstPort)
	seg := segmentOf(h)
	s := c.lock(c.e.shardOf(uint16(p.Realm), h.Src))
	opened := false
	var external mapping.Endpoint
	known := false
	if !c.missed {
		s.table.LookOutbound(&c.look, uint16(p.Realm), space, internal, remote)
		external, known = s.table.PassOutbound(&c.look, &seg, s.tick)
	}
	if !known && c.static != nil {
		if verdict, why, done := c.leave(p, h); done {
			return verdict, why
		}
		c.lock(s) // the look at statics may have locked another
	}
	if !known {
		r := c.e.match(p.Realm, h.Src, h.Dst, h.Proto)
		if r == nil {
			return Drop, ReasonNoRule
		}
		switch r.action {
		case Exempt:
			return Bypass, ReasonNone
		case Refuse:
			return Drop, ReasonRuleDrop
		}
		var why Reason
		scope, class := c.e.pools[r.pool].scope(remote)
		o := opening{
			key:   subscriberKey{h.Src, uint16(p.Realm), uint16(r.pool), class},
			space: space, internal: internal, remote: remote, scope: scope, seg: seg, look: c.look,
		}
		if external, opened, why = c.open(s, h, &o); why != ReasonNone {
			c.e.refused(s, o.key, space, why)
			return Drop, why
		}
	}
	if c.own(h.Dst) {
		return c.hairpin(p, h, external, opened)
	}
	h.SetSource(p.Bytes, external.Addr, external.Port)
	return Forward, ReasonNone
}

// hairpin translates both ends of a packet whose destination is an external
// endpoint of this NAT (RFC 4787 section 6). When it arrives nowhere, its bytes are put back, and so is the session
// that was opened for it.
func (c *call) hairpin(p *Packet, h *rewrite.Packet4, external mapping.Endpoint, opened bool) (Verdict, Reason) {
	var saved headers
	saved.save(p.Bytes)
	internal, space := mapping.Endpoint{Addr: h.Src, Port: h.SrcPort}, spaceOf(h)
	remote := remoteOf(space, h.Dst, h.DstPort)
	realm := p.Realm
	h.SetSource(p.Bytes, external.Addr, external.Port)
	verdict, why := c.inbound(p, h)
	if verdict == Forward {
		return Hairpin, ReasonNone
	}
	saved.restore(p.Bytes)
	if opened {
		s := c.lock(c.e.shardOf(uint16(realm), internal.Addr))
		if old, ok := s.table.Close(uint16(realm), space, internal, remote, s.tick); ok {
			c.e.sessionEnded(s, &old)
		}
	}
	return verdict, why
}

// headers keeps what translation may change of a packet: the headers of an
// ICMP error and of the packet that it quotes, with all options.
type headers struct {
	bytes [60 + 8 + 60 + 20]byte
	n     int
}

func (h *headers) save(b []byte)    { h.n = copy(h.bytes[:], b) }
func (h *headers) restore(b []byte) { copy(b, h.bytes[:h.n]) }

// opening is what a new session needs to know.
type opening struct {
	key              subscriberKey
	space            portblock.Space
	internal, remote mapping.Endpoint
	scope            mapping.Scope // of the mapping
	seg              mapping.Segment
	look             mapping.Lookup // of the session
	sub              *subscriber    // of the key, or nil where there is none; good while the shard is locked
}

// open makes the session of an outbound packet, with its mapping and its port
// where they are missing, and reports whether the session is new. The caller has locked the shard; it is locked again on return.
func (c *call) open(s *shard, h *rewrite.Packet4, o *opening) (external mapping.Endpoint, opened bool, why Reason) {
	e := c.e
	if c.own(h.Src) {
		return external, false, ReasonSpoofed
	}
	vacant := s.table.Vacant(&o.look)
	if !vacant {
		// A session that is there and was not found is over: it goes first, and with it perhaps its mapping.
		if old, ok := s.table.Close(o.key.realm, o.space, o.internal, o.remote, s.tick); ok {
			e.sessionEnded(s, &old)
		}
	}
	if !e.begins(h) {
		return e.answer(s, h, o)
	}
	s.table.PrefetchFirst(&o.look, true) // it comes while the subscriber is searched
	o.sub = s.subOf(o.key, o.space)
	s.table.PrefetchNotes(&o.look)
	if why = e.mayOpen(s, o); why != ReasonNone {
		return external, false, why
	}
	locked := c.locked
	why = c.refusedThere(h, o.space)
	c.lock(s) // also to say why: the look there may have locked another
	if c.locked != locked {
		o.sub = s.sub(o.key)
	}
	if why != ReasonNone {
		return external, false, why
	}
	if vacant && o.scope.On == mapping.OnNothing {
		return c.first(s, o)
	}
	return c.further(s, o)
}

// further makes a session where its internal endpoint may have something already.
func (c *call) further(s *shard, o *opening) (external mapping.Endpoint, opened bool, why Reason) {
	if external, o.sub, why = c.mapped(s, o.sub, o.key, o.space, o.internal, o.scope, o.remote); why != ReasonNone {
		return external, false, why
	}
	opened, why = c.e.begin(s, o, external)
	return external, opened, why
}

// begins reports whether a packet of no session may be the first of one: an outbound one then makes a
// mapping, an inbound one passes by it.
func (e *Engine) begins(h *rewrite.Packet4) bool {
	switch h.Kind {
	case rewrite.KindQueryReply:
		return false
	case rewrite.KindTCP:
		return initial(h) || e.cfg.AdmitNonSYN && h.TCPFlags&(rewrite.TCPRst|rewrite.TCPFin) == 0
	}
	return true
}

// answer translates a packet that makes no mapping, when there is one: it
// answers what was let in without a session. The SYN-ACK of an internal server opens the session; a
// RST and an echo reply pass and leave nothing behind (RFC 7857 section 7.1). The caller has locked the shard.
func (e *Engine) answer(s *shard, h *rewrite.Packet4, o *opening) (external mapping.Endpoint, opened bool, why Reason) {
	external, ok := s.table.Mapped(o.key.realm, o.space, o.internal, o.scope)
	if !ok || !e.pools[o.key.pool].admits(s.table, o.space, external, o.remote, o.key.class) {
		return external, false, ReasonNoSession
	}
	const syn, rst, ack = rewrite.TCPSyn, rewrite.TCPRst, rewrite.TCPAck
	switch {
	case h.Kind == rewrite.KindQueryReply, h.TCPFlags&rst != 0:
		return external, false, ReasonNone
	case h.TCPFlags&(syn|ack) == syn|ack:
		o.sub = s.sub(o.key)
		opened, why = e.begin(s, o, external)
		return external, opened, why
	}
	return external, false, ReasonNoSession
}

// refusedThere looks ahead at where a hairpinning packet would arrive, so that
// who scans the pool from inside gets no state for packets that go nowhere. What depends on
// the sender's external endpoint is decided when that is known. It may lock another shard.
func (c *call) refusedThere(h *rewrite.Packet4, space portblock.Space) Reason {
	if c.static != nil {
		if why, done := c.staticRefuses(h); done {
			return why
		}
	}
	pool, _, hairpin := c.e.external.find(h.Dst)
	if !hairpin {
		return ReasonNone
	}
	switch {
	case c.e.pools[pool].selection.classes() > 1 && space != portblock.ICMP:
		return ReasonNone // the class depends on the sender's port
	case space == portblock.ICMP:
		// One identifier cannot serve both hosts; only Basic NAT hairpins queries (RFC 5508 REQ-7).
		return ReasonNoMapping
	case space == portblock.TCP && !c.e.begins(h):
		return ReasonNoSession // nobody lets such a segment in without a session
	}
	external := mapping.Endpoint{Addr: h.Dst, Port: h.DstPort}
	s, class, _, why := c.holder(external, mapping.Endpoint{})
	if why != ReasonNone {
		return why
	}
	if !s.table.Taken(space, external, class) {
		return ReasonNoMapping
	}
	return ReasonNone
}

// initial reports whether a TCP segment opens a connection.
func initial(h *rewrite.Packet4) bool { return opensTCP(h.TCPFlags) }

// opensTCP is initial by the flags of the segment.
func opensTCP(flags uint8) bool {
	return flags&(rewrite.TCPSyn|rewrite.TCPAck|rewrite.TCPRst) == rewrite.TCPSyn
}

// mapped returns the external endpoint of an internal one, from its mapping or a new one. sub is the subscriber of the key, or nil where there
// is none, and what it is then is returned.
// The caller has locked the shard; it is locked again on return, and may have been unlocked meanwhile.
func (c *call) mapped(s *shard, sub *subscriber, key subscriberKey, space portblock.Space, internal mapping.Endpoint, scope mapping.Scope, remote mapping.Endpoint) (mapping.Endpoint, *subscriber, Reason) {
	external, ok := s.table.Mapped(key.realm, space, internal, scope)
	if ok {
		return external, sub, ReasonNone
	}
	a := c.e.account(s, sub, key)
	t, why := c.port(s, sub, a, key, space, internal.Port, remote)
	sub = t.sub
	if why != ReasonNone {
		t, why = c.e.overload(s, sub, space, internal.Port, scope, why)
	}
	if why != ReasonNone {
		s.forget(a)
		return mapping.Endpoint{}, sub, why
	}
	m := mapping.Mapping{
		Realm: key.realm, Space: space, Internal: internal, Scope: scope,
		External: mapping.Endpoint{Addr: sub.external, Port: t.port}, Block: t.block,
	}
	if !s.table.AddMapping(&m, s.tick) {
		// Another caller mapped the endpoint while the shard was unlocked.
		c.e.untake(s, sub, space, &t)
		if external, ok = s.table.Mapped(key.realm, space, internal, scope); !ok {
			return external, sub, ReasonNoMapping // not reached: what was taken has its place
		}
		return external, sub, ReasonNone
	}
	if t.shared {
		s.counts.shared++
	} else {
		sub.took(space, t.port, scope)
	}
	s.counts.mappings++
	s.uses[key.pool].mappings++
	return m.External, sub, ReasonNone
}

// port takes a port for a mapping, of what its subscriber has at hand or of a further block, and counts the mapping in the account. The
// subscriber, nil where there is none, is in what is returned, with a refusal too. The caller has locked the shard; it is locked again on return, and may
// have been unlocked meanwhile.
func (c *call) port(s *shard, sub *subscriber, a *account, key subscriberKey, space portblock.Space, internal uint16, remote mapping.Endpoint) (taken, Reason) {
	if why := a.mapped(space, c.e.chosen(key, remote, space), s.now); why != ReasonNone {
		return taken{sub: sub}, why
	}
	t, more, why := c.e.takePort(s, sub, key, space, internal)
	if more {
		t, why = c.granted(s, a, key, space, internal)
		t.sub = s.sub(key)
		if why == ReasonNone && t.sub == nil { // the engine was closed while the shard was unlocked
			why = ReasonStopped
		}
	}
	if why != ReasonNone {
		a.unmade(space)
	}
	return t, why
}

// untake gives back a port that was taken for a mapping that came to nothing. The caller holds mu.
func (e *Engine) untake(s *shard, sub *subscriber, space portblock.Space, t *taken) {
	if t.shared {
		sub.account.unhurry()
		return
	}
	e.returnPort(s, sub, space, t.port)
	sub.account.unmade(space)
}

// granted is a grant for a mapping that the account counts already. The shard is unlocked meanwhile.
func (c *call) granted(s *shard, a *account, key subscriberKey, space portblock.Space, internal uint16) (t taken, why Reason) {
	c.unlock()
	answered := false
	defer func() {
		if !answered { // the log panics
			s.mu.Lock()
			a.unmade(space)
			s.forget(a)
			s.mu.Unlock()
		}
	}()
	t, why = c.e.grant(s, key, space, internal, c.now)
	answered = true
	c.lock(s)
	return t, why
}
