package main

import (
	"fmt"
	"time"

	"github.com/blocknat/blocknat/natcore"
)

// A flow is a conversation of a client with a service. It has two steps:
//
//	TCP   first: SYN, SYN+ACK, ACK     last: FIN+ACK from both, ACK
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

func (f *flow) seq(flags byte) uint32 {
	switch {
	case flags&flagSYN != 0:
		return isnOut
	case flags == flagACK|flagLast:
		return isnOut + 2
	}
	return isnOut + 1
}

// flagLast marks the ACK of a FIN. It is no flag of TCP's that is ever sent.
const flagLast = 0x80

func (f *flow) ack(flags byte) uint32 {
	switch {
	case flags&flagSYN != 0:
		return 0
	case flags == flagACK|flagLast:
		return isnBack + 2
	}
	return isnBack + 1
}

func (f *flow) seqBack(flags byte) uint32 {
	if flags&flagSYN != 0 {
		return isnBack
	}
	return isnBack + 1
}

func (f *flow) ackBack(flags byte) uint32 {
	if flags&flagFIN != 0 {
		return isnOut + 2
	}
	return isnOut + 1
}

// Means of the durations of flows, and the longest one; a port is held for the idle time longer.
const (
	meanTCP  = 40 * time.Second
	meanUDP  = 15 * time.Second
	longest  = 200 * time.Second
	tcpShare = 0.6
)

// rate is the number of flows a second that keeps a number of ports in use.
func rate(ports int) float64 {
	hold := tcpShare*(meanTCP+times.TCPClosing).Seconds() + (1-tcpShare)*(meanUDP+times.UDP).Seconds()
	return float64(ports) / hold
}

// expireBudget is how many steps the engine may take a second to end what is idle.
const expireBudget = 1 << 18

// play lets the simulated time pass, second by second.
func (p *player) play(o options, bar *progress) {
	seconds := int32(o.span / time.Second)
	p.wheel = make([][]uint32, seconds)
	perSecond := rate(o.ports) * float64(o.clients)
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
		bar.show("%s of %v simulated, %s flows, %s packets", time.Duration(p.second)*time.Second, o.span,
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
		p.out(f, flagACK|flagLast)
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
