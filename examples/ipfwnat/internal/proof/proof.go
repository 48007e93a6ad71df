// Package proof watches both sides of a NAT as an observer would, and checks what the NAT
// did. It reads packets, block records and the ipfw script by itself and imports nothing of
// the library, so that a mistake of the engine cannot hide in it.
//
// It holds, in maps that are right by reading: who uses which external endpoint towards which
// remote one and until when at least; the owner of each external port in each class of
// remotes; the external address of each client; the intervals of the block records.
package proof

import (
	"fmt"
	"time"
)

// Times are the promises about time that are checked, as the engine is configured.
type Times struct {
	// UDP, TCPOpening, TCPEstablished and TCPClosing are the idle times.
	UDP, TCPOpening, TCPEstablished, TCPClosing time.Duration
	// HoldDown is the rest of a freed port.
	HoldDown time.Duration
}

// Proof collects what is seen. Times are milliseconds since the run's start and do not go
// backwards. It is not safe for concurrent use.
type Proof struct {
	rules *Rules
	times Times
	start time.Time

	checks   [numChecks]Check
	flows    []flow
	latest   [2]map[portKey]int32 // the latest flow of an external port in a class, by protocol
	external map[uint32]uint32    // of each client address
	used     map[uint32]bool      // instances
	records  records
}

// flow is one internal endpoint that meets one remote endpoint.
type flow struct {
	client, external, remote          uint32
	clientPort, externalPort, port    uint16
	class                             uint16
	first, last, until                int32 // ms; until is when its idle time is over at the earliest
	before                            int32 // the flow that had the external port in this class before, or -1
	proto                             uint8
	opened, answered, finOut, finBack bool
}

// portKey is an external port in one class of remotes: address, class and port.
type portKey uint64

func keyOf(external uint32, class, port uint16) portKey {
	return portKey(external)<<32 | portKey(class)<<16 | portKey(port)
}

// of returns the latest flow of an external port in a class, or -1.
func (p *Proof) of(proto uint8, key portKey) int32 {
	if i, ok := p.latest[proto&1][key]; ok { // TCP is 6, UDP 17
		return i
	}
	return -1
}

// find returns the latest flow between an external and a remote endpoint, or -1. Flows of one
// external port in one class are a chain; it is short, because a port is given again only after a rest.
func (p *Proof) find(latest int32, remote uint32, port uint16) int32 {
	for i := latest; i >= 0; i = p.flows[i].before {
		if f := &p.flows[i]; f.remote == remote && f.port == port {
			return i
		}
	}
	return -1
}

// New returns a proof for a run that begins at start.
func New(rules *Rules, times Times, start time.Time) *Proof {
	p := &Proof{
		rules: rules, times: times, start: start,
		latest:   [2]map[portKey]int32{{}, {}},
		external: map[uint32]uint32{}, used: map[uint32]bool{},
		records: records{heads: map[blockKey]int32{}, open: map[blockKey]int32{}},
	}
	for i := range p.checks {
		p.checks[i].Name = checkNames[i]
	}
	return p
}

// Outbound takes a packet before and after it was translated on its way out.
func (p *Proof) Outbound(ms int32, before, after []byte) {
	b, ok := parse(before)
	a, ok2 := parse(after)
	p.packet(ok && ok2, before, after, 12, 20, b, a)
	if !ok || !ok2 {
		return
	}
	class := p.rules.class(b.dst, b.dstPort)
	key := keyOf(a.src, class, a.srcPort)
	latest := p.of(a.proto, key)
	i := p.find(latest, b.dst, b.dstPort)
	if i >= 0 {
		f := &p.flows[i]
		if f.client == b.src && f.clientPort == b.srcPort && !(b.proto == TCP && b.flags&syn != 0 && ms > f.first) {
			f.refresh(b, ms, &p.times)
			return
		}
	}
	p.begin(flow{
		client: b.src, clientPort: b.srcPort, external: a.src, externalPort: a.srcPort,
		remote: b.dst, port: b.dstPort, proto: b.proto, class: class, first: ms, before: latest,
	}, b, i)
}

// begin enters a flow with its first packet, and checks all that a new flow must keep; same is
// the latest flow between the same endpoints, or -1.
func (p *Proof) begin(f flow, b packet, same int32) {
	f.refresh(b, f.first, &p.times)

	e, seen := p.external[f.client]
	p.expect(checkAddress, !seen || e == f.external, func() string {
		return fmt.Sprintf("%v leaves from %v and from %v", ip(f.client), ip(e), ip(f.external))
	})
	if !seen {
		p.external[f.client] = f.external
	}
	p.checkRules(&f)

	free := func(old int32) bool { return old < 0 || p.free(&p.flows[old], &f) }
	p.expect(checkFlows, free(same), func() string { return collision(&p.flows[same], &f) })
	p.expect(checkPorts, free(f.before), func() string { return collision(&p.flows[f.before], &f) })
	p.logged(&f, f.first)
	p.flows = append(p.flows, f)
	p.latest[f.proto&1][keyOf(f.external, f.class, f.externalPort)] = int32(len(p.flows) - 1)
}

// checkRules holds a flow against the ipfw script: the instance of the request has the
// external address, and the answer finds the same instance.
func (p *Proof) checkRules(f *flow) {
	request := tuple{srcIP: f.client, proto: uint32(f.proto), srcPort: uint32(f.clientPort), dstIP: f.remote, dstPort: uint32(f.port)}
	answer := tuple{srcIP: f.remote, proto: uint32(f.proto), srcPort: uint32(f.port), dstIP: f.external, dstPort: uint32(f.externalPort)}
	out, ok := p.rules.out.instance(request)
	address, has := p.rules.nats[out]
	p.expect(checkOut, ok && has && address == f.external, func() string {
		return fmt.Sprintf("%s leaves from %v, but its instance is nat %d with %v", f, ip(f.external), out, ip(address))
	})
	in, ok2 := p.rules.in.instance(answer)
	p.expect(checkIn, ok && ok2 && in == out, func() string {
		return fmt.Sprintf("%s goes through nat %d, its answers through nat %d", f, out, in)
	})
	if ok {
		p.used[out] = true
	}
}

// free reports whether an external port that served a flow may serve another one: it is of
// the same internal endpoint, or the idle time and the hold-down are over.
func (p *Proof) free(old, f *flow) bool {
	if old.client == f.client && old.clientPort == f.clientPort {
		return true
	}
	return f.first >= old.until+int32(p.times.HoldDown.Milliseconds())
}

func collision(old, f *flow) string {
	return fmt.Sprintf("%s %s has the external endpoint of %s, which was certain to hold it until %.3f s",
		protoName(f.proto), f, old, float64(old.until)/1000)
}

// Inbound takes an answer before and after it was translated on its way in. The NAT owes it
// to a client, so a dropped one is reported by Lost.
func (p *Proof) Inbound(ms int32, before, after []byte) {
	b, ok := parse(before)
	a, ok2 := parse(after)
	p.packet(ok && ok2, before, after, 16, 22, b, a)
	if !ok || !ok2 {
		return
	}
	i := p.find(p.of(b.proto, keyOf(b.dst, p.rules.class(b.src, b.srcPort), b.dstPort)), b.src, b.srcPort)
	if i < 0 {
		p.expect(checkReplies, false, func() string {
			return fmt.Sprintf("an answer from %s to %s, where no flow is, is sent on to %s", endpoint(b.src, b.srcPort), endpoint(b.dst, b.dstPort), endpoint(a.dst, a.dstPort))
		})
		return
	}
	f := &p.flows[i]
	p.expect(checkReplies, a.dst == f.client && a.dstPort == f.clientPort, func() string {
		return fmt.Sprintf("the answer to %s goes to %s", f, endpoint(a.dst, a.dstPort))
	})
	f.reply(b, ms, &p.times)
}

// Stranger takes a UDP packet that nobody asked for, before and after; after is nil if it was
// dropped. Filtering is endpoint-independent, so who holds the port in the class of its sender gets it.
func (p *Proof) Stranger(ms int32, before, after []byte) {
	b, _ := parse(before)
	class := p.rules.class(b.src, b.srcPort)
	i := p.of(b.proto, keyOf(b.dst, class, b.dstPort))
	if len(after) == 0 {
		p.expect(checkStrangers, i < 0 || p.flows[i].until <= ms, func() string {
			return fmt.Sprintf("%s to %s is dropped, though %s holds the port", endpoint(b.src, b.srcPort), endpoint(b.dst, b.dstPort), &p.flows[i])
		})
		return
	}
	a, ok := parse(after)
	p.packet(ok, before, after, 16, 22, b, a)
	p.expect(checkStrangers, i >= 0 && a.dst == p.flows[i].client && a.dstPort == p.flows[i].clientPort, func() string {
		return fmt.Sprintf("%s to %s comes to %s, who does not hold the port in class %d", endpoint(b.src, b.srcPort), endpoint(b.dst, b.dstPort), endpoint(a.dst, a.dstPort), class)
	})
}

// Lost takes a packet of a live flow that was dropped: outbound ones as the client sent them,
// inbound ones as the remote host did.
func (p *Proof) Lost(outbound bool, before []byte, why string) {
	b, _ := parse(before)
	which := checkReplies
	if outbound {
		which = checkLater
	}
	p.expect(which, false, func() string {
		return fmt.Sprintf("%s from %s to %s is dropped: %s", protoName(b.proto), endpoint(b.src, b.srcPort), endpoint(b.dst, b.dstPort), why)
	})
}

// packet checks what holds for every translated packet.
func (p *Proof) packet(ok bool, before, after []byte, at, portAt int, b, a packet) {
	if portAt == 20 {
		ok = ok && a.dst == b.dst && a.dstPort == b.dstPort
		p.expect(checkLater, ok, func() string { return "an outbound packet is no longer the one that was sent" })
	}
	p.expect(checkBytes, ok && !changedElsewhere(before, after, at, portAt), func() string {
		return fmt.Sprintf("a packet from %s to %s has changed elsewhere", endpoint(b.src, b.srcPort), endpoint(b.dst, b.dstPort))
	})
	p.expect(checkSums, ok && sumsRight(after), func() string {
		return fmt.Sprintf("a packet from %s to %s", endpoint(a.src, a.srcPort), endpoint(a.dst, a.dstPort))
	})
}

// refresh notes an outbound packet: until when the flow holds its endpoint at least.
func (f *flow) refresh(b packet, ms int32, t *Times) {
	f.last = ms
	idle := t.UDP
	if f.proto == TCP {
		f.opened = f.opened || f.answered && b.flags&ack != 0
		f.finOut = f.finOut || b.flags&fin != 0
		switch {
		case f.finOut || f.finBack: // half closed lasts longer; the shorter time is the sure one
			idle = t.TCPClosing
		case f.opened:
			idle = t.TCPEstablished
		default:
			idle = t.TCPOpening
		}
	}
	f.until = ms + int32(idle.Milliseconds())
}

// reply notes an inbound packet, which keeps no flow alive but moves a TCP connection on.
func (f *flow) reply(b packet, ms int32, t *Times) {
	if f.proto != TCP {
		return
	}
	f.answered = f.answered || b.flags&(syn|ack) == syn|ack
	if b.flags&fin != 0 && !f.finBack {
		f.finBack = true
		f.until = min(f.until, ms+int32(t.TCPClosing.Milliseconds()))
	}
}

func (f *flow) String() string {
	return fmt.Sprintf("%s to %s at %.3f s", endpoint(f.client, f.clientPort), endpoint(f.remote, f.port), float64(f.first)/1000)
}
