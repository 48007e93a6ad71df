package main

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/blocknat/blocknat/examples/quickstart/internal/capture"
	"github.com/blocknat/blocknat/examples/quickstart/internal/proof"
	"github.com/blocknat/blocknat/natcore"
)

// A player gives the packets of a capture to the engine, in the order and at
// the times of the capture, and plays the hosts on both sides.
type player struct {
	engine       *natcore.Engine
	internal     []netip.Prefix
	someExternal netip.Addr
	known        *directory
	proof        *proof.Proof
	emit         func(t time.Time, b []byte, length int) error

	now   time.Time // the engine's time: capture time that never runs backwards
	tick  time.Time // when the engine is asked next to expire what is idle
	ticks int
	held  []heldPacket

	tally    tally
	sessions sessionLog
	peaks    map[netip.Addr]int // most ports that a subscriber was seen to hold
	clock    stopwatch
}

// heldPacket is a fragment that the engine holds until its first one comes.
type heldPacket struct {
	c      proof.Case
	length int
}

// tally counts what became of each packet.
type tally struct {
	packets, cut    int
	bytes, captured int64
	first, last     time.Time
	played          [3]int // translated, by way
	bypassed        int
	held, heldSent  int
	answers         int // ICMP errors that the engine built
	drops           map[natcore.Reason]int
	unplayed        map[string]int
	refusals        map[string]int // explicit mappings that the engine refused
	mappings        int            // explicit mappings that were made or renewed
	subscribers     map[netip.Addr]bool
	firstSource     netip.Addr
	errors          int // ICMP errors among the translated packets
	fragments       int // and fragments
}

func newPlayer(engine *natcore.Engine, o options, pr *proof.Proof) *player {
	return &player{
		engine: engine, internal: o.internal, someExternal: o.pool[0].First(), proof: pr,
		known: newDirectory(map[uint8]time.Duration{tcp: idleTCP, udp: idleUDP, icmp: idleICMP}),
		tally: tally{drops: map[natcore.Reason]int{}, unplayed: map[string]int{}, refusals: map[string]int{},
			subscribers: map[netip.Addr]bool{}},
		peaks: map[netip.Addr]int{}, clock: newStopwatch(),
	}
}

func (p *player) isSubscriber(a netip.Addr) bool {
	return slices.ContainsFunc(p.internal, func(n netip.Prefix) bool { return n.Contains(a) })
}

// play plays one packet of the capture.
func (p *player) play(pkt capture.Packet) error {
	p.count(pkt)
	p.advance(pkt.Time)
	plan := p.plan(pkt.Bytes)
	if plan.why != "" {
		p.tally.unplayed[plan.why]++
		return nil
	}
	result := bytes.Clone(plan.given)
	verdict, reason := p.run(plan.way, result)
	c := proof.Case{Number: pkt.Number, Time: p.now, Way: plan.way, Original: pkt.Bytes, Given: plan.given, Result: result}
	switch verdict {
	case natcore.Forward, natcore.Hairpin:
		if err := p.translated(c, pkt.Length); err != nil {
			return err
		}
	case natcore.Held:
		p.tally.held++
		p.held = append(p.held, heldPacket{c, pkt.Length})
	case natcore.Bypass:
		p.tally.bypassed++
		p.proof.Dropped(pkt.Number, plan.given, result)
	default:
		p.tally.drops[reason]++
		p.proof.Dropped(pkt.Number, plan.given, result)
	}
	return p.drain(plan.given)
}

// run gives the packet to the engine and measures that call.
func (p *player) run(way proof.Way, b []byte) (natcore.Verdict, natcore.Reason) {
	call := p.engine.Outbound
	if way == proof.Inbound {
		call = p.engine.Inbound
	}
	p.clock.start()
	verdict, reason := call(b, p.now)
	p.clock.stop()
	return verdict, reason
}

// translated takes a packet that came out of the engine.
func (p *player) translated(c proof.Case, length int) error {
	p.tally.played[c.Way]++
	p.proof.Packet(c)
	before, ok := parseIPv4(c.Given)
	after, ok2 := parseIPv4(c.Result)
	if ok && ok2 {
		if before.isError() {
			p.tally.errors++
		}
		if before.isFragment() {
			p.tally.fragments++
		}
		if c.Way != proof.Inbound {
			p.known.learn(before, after, p.now)
		}
		p.sessions.see(c.Way, before, after, p.now)
	}
	return p.emit(p.now, c.Result, length)
}

// drain takes the fragments whose first one was given a moment ago. They are known by their
// datagram, and by all that translation leaves alone.
func (p *player) drain(first []byte) error {
	for _, d := range p.engine.Drain(nil) {
		if d.Flags&natcore.Generated != 0 {
			p.tally.answers++ // nobody here waits for it
			continue
		}
		i := slices.IndexFunc(p.held, func(h heldPacket) bool {
			return sameDatagram(h.c.Given, first) && sameFragment(h.c.Given, d.Bytes)
		})
		c, length := proof.Case{Time: p.now, Result: d.Bytes}, len(d.Bytes) // from nowhere: the proof says so
		if i >= 0 {
			c, length = p.held[i].c, p.held[i].length
			c.Result, c.Time = d.Bytes, p.now
			p.held = slices.Delete(p.held, i, i+1)
			p.tally.heldSent++
		}
		if err := p.translated(c, length); err != nil {
			return err
		}
	}
	return nil
}

// sameDatagram reports whether two packets are fragments of one datagram (RFC 791 section 3.2).
func sameDatagram(a, b []byte) bool {
	return len(a) >= 20 && len(b) >= 20 && bytes.Equal(a[4:6], b[4:6]) && a[9] == b[9] && bytes.Equal(a[12:20], b[12:20])
}

// sameFragment compares two later fragments without addresses, identification and header checksum.
func sameFragment(a, b []byte) bool {
	return len(a) == len(b) && len(a) >= 20 && bytes.Equal(a[:4], b[:4]) && bytes.Equal(a[6:10], b[6:10]) && bytes.Equal(a[20:], b[20:])
}

// askForMapping asks the engine for an explicit mapping, as a subscriber does
// with PCP (RFC 6887) who runs a server.
func (p *player) askForMapping(e endpoint) (netip.AddrPort, bool) {
	external, err := p.engine.Map(natcore.MapRequest{Internal: e.at, Protocol: e.protocol, Lifetime: lifetime}, p.now)
	if err != nil {
		why := err.Error()
		if refusal := (*natcore.RefusalError)(nil); errors.As(err, &refusal) {
			why = refusal.Reason.String()
		}
		p.tally.refusals[why]++
		return netip.AddrPort{}, false
	}
	p.tally.mappings++
	p.known.told(e, external, p.now, lifetime)
	return external, true
}

func (p *player) count(pkt capture.Packet) {
	t := &p.tally
	t.packets++
	t.bytes += int64(pkt.Length)
	t.captured += int64(len(pkt.Bytes))
	if pkt.Length > len(pkt.Bytes) {
		t.cut++
	}
	if t.packets == 1 {
		t.first = pkt.Time
	}
	t.last = pkt.Time
	if ip, ok := parseIPv4(pkt.Bytes); ok {
		if !t.firstSource.IsValid() {
			t.firstSource = ip.src
		}
		for _, a := range []netip.Addr{ip.src, ip.dst} {
			if p.isSubscriber(a) {
				t.subscribers[a] = true
			}
		}
	}
}
