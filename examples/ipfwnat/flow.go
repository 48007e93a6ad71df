package main

import (
	"fmt"
	"math"
	"time"

	"github.com/blocknat/blocknat/examples/internal/cli"
	"github.com/blocknat/blocknat/natcore"
)

// A flow is a conversation of a client with a service. It has two steps:
//
//	TCP   first: SYN, SYN+ACK, ACK     last: FIN+ACK from both
//	UDP   first: request, answer       last: the same again
//
// Its packets carry no payload, so sequence numbers move by SYN and FIN only.
type flow struct {
	client   uint32 // its address when the flow began
	service  uint16
	port     uint16
	external end // where the service sees it; zero before the first packet
}

const (
	isnOut  = 1000
	isnBack = 5000
)

// numbers are the sequence and the acknowledgment number of a segment.
func numbers(flags byte, mine, theirs uint32) (seq, ack uint32) {
	if flags&flagSYN == 0 {
		mine++
	}
	if flags&flagACK != 0 {
		ack = theirs + 1
	}
	return mine, ack
}

// Means of the durations of flows, and the longest one; a port is held for the idle time longer.
const (
	meanTCP  = 40 * time.Second
	meanUDP  = 15 * time.Second
	longest  = 200 * time.Second
	tcpShare = 0.6
)

// rate is the number of flows a second of a client that has so many ports in use at the end of
// a span: those of the last seconds, as many as a port is held in the mean.
func rate(ports int, span time.Duration) float64 {
	held := func(idle, mean time.Duration) float64 {
		if span <= idle {
			return span.Seconds()
		}
		return idle.Seconds() + mean.Seconds()*(1-math.Exp(-float64(span-idle)/float64(mean)))
	}
	return float64(ports) / (tcpShare*held(times.TCPClosing, meanTCP) + (1-tcpShare)*held(times.UDP, meanUDP))
}

// strangerEvery is how many flows share a stranger, who comes if the flow is one of UDP.
const strangerEvery = 16

// expireBudget is how many steps the engine may take a second to end what is idle.
const expireBudget = 1 << 18

// play lets the simulated time pass, second by second.
func (p *player) play(o options, bar *cli.Progress) {
	seconds := int32(o.span / time.Second)
	p.wheel = make([][]uint32, seconds)
	perSecond := rate(o.ports, o.span) * float64(o.clients)
	begun := 0
	for p.second = range seconds {
		if p.second == seconds/2 {
			p.move(o.clients / 100)
		}
		due := p.wheel[p.second]
		p.wheel[p.second] = nil
		fresh := int(perSecond*float64(p.second+1)) - begun
		begun += fresh
		// The steps of a second are spread over it, old flows and new ones in turn.
		for i := range max(len(due), fresh) {
			p.ms = p.second*1000 + int32(1000*i/max(len(due), fresh))
			if i < len(due) {
				p.last(&p.flows[due[i]])
			}
			if i < fresh {
				p.first()
			}
		}
		p.ms = p.second*1000 + 999
		p.engine.Expire(begin.Add(time.Duration(p.ms)*time.Millisecond), expireBudget)
		bar.Show("%s of %v simulated, %s flows, %s packets", time.Duration(p.second)*time.Second, o.span,
			count(len(p.flows)), count(p.packets[0]+p.packets[1]))
	}
}

// move gives some clients new addresses, as after a new start of their lines. What they
// had under the old ones falls silent.
func (p *player) move(n int) {
	for i := range n {
		c := &p.world.clients[i*len(p.world.clients)/n]
		p.retired[c.addr] = true
		c.addr = p.world.freshAddress()
	}
}

// first begins a flow.
func (p *player) first() {
	w := p.world
	c := w.pick()
	f := flow{client: c.addr, service: uint16(w.popular.Uint64()), port: c.sourcePort()}
	proto, mean := w.services[f.service].proto, meanUDP
	open := byte(0)
	if proto == tcp {
		mean, open = meanTCP, flagSYN
	}
	after := min(time.Duration(w.rnd.ExpFloat64()*float64(mean)), longest)
	external, why := p.out(&f, open)
	if why != natcore.ReasonNone {
		p.refused[why]++
		return
	}
	f.external = external
	p.consult(&f)
	p.sessions.add(&f, &w.services[f.service], p.ms)
	if proto == tcp {
		p.answer(&f, flagSYN|flagACK)
		p.out(&f, flagACK)
	} else {
		p.answer(&f, 0)
		if len(p.flows)%strangerEvery == 0 {
			p.stranger(&f)
		}
	}
	p.flows = append(p.flows, f)
	if at := int(p.second) + 1 + int(after/time.Second); at < len(p.wheel) {
		p.wheel[at] = append(p.wheel[at], uint32(len(p.flows)-1))
	}
}

// last ends a flow.
func (p *player) last(f *flow) {
	if p.retired[f.client] {
		return
	}
	if p.world.services[f.service].proto == tcp {
		p.out(f, flagFIN|flagACK)
		p.answer(f, flagFIN|flagACK)
		return
	}
	p.out(f, 0)
	p.answer(f, 0)
}

// count writes a number with commas between thousands.
func count[N ~int | ~int64 | ~uint32 | ~uint64](n N) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
