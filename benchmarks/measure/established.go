package measure

import (
	"fmt"
	"time"

	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// Began is the time at which all measurements begin, on the clock that the NATs are given.
var Began = time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)

// Established is a NAT with sessions, and the packets of both directions.
type Established struct {
	NAT   peer.NAT
	flows [2][]workload.Flow // each in a random order of its own
	next  [2]int
	ring  *workload.Ring
}

// Establish opens a session for each flow: by its packet, or by a handshake where the flow is TCP.
func Establish(k peer.Kind, flows []workload.Flow) (*Established, error) {
	n, err := k.New(Began)
	if err != nil {
		return nil, err
	}
	e, err := establishIn(n, flows)
	if err != nil {
		n.Close()
		return nil, fmt.Errorf("%s: %w", k.Name, err)
	}
	return e, nil
}

func establishIn(n peer.NAT, flows []workload.Flow) (*Established, error) {
	if err := prepare(n, flows); err != nil {
		return nil, err
	}
	e := &Established{NAT: n, ring: workload.NewRing(false)}
	answers, err := open(n, e.ring, flows, 1, nil)
	if err != nil {
		return nil, err
	}
	workload.Shuffle(2, answers)
	e.flows = [2][]workload.Flow{flows, answers}
	return e, nil
}

func prepare(n peer.NAT, flows []workload.Flow) error {
	p, ok := n.(peer.Preparer)
	if !ok {
		return nil
	}
	for _, f := range flows {
		if err := p.Prepare(peer.Endpoint{Addr: f.Src, Port: f.SrcPort}, peer.Endpoint{Addr: f.Dst, Port: f.DstPort}); err != nil {
			return err
		}
	}
	return nil
}

// open sends the first packet of each flow, batch of them a call, and returns the flows of the answers; TCP flows shake hands. spent is what the
// NAT took for the first packets, where it is wanted.
func open(n peer.NAT, ring *workload.Ring, flows []workload.Flow, batch int, spent *time.Duration) ([]workload.Flow, error) {
	answers := make([]workload.Flow, 0, len(flows))
	for len(flows) > 0 {
		part := flows[:min(len(flows), workload.RingSize)]
		tcp := part[0].Proto == workload.TCP
		packets := ring.Fill(flagged(part, tcp, workload.FlagSYN))
		start := time.Now()
		forwarded := 0
		for i := 0; i < len(packets); i += batch {
			forwarded += n.Translate(peer.Out, packets[i:min(i+batch, len(packets))], Began)
		}
		if spent != nil {
			*spent += time.Since(start)
		}
		if forwarded != len(packets) {
			return nil, fmt.Errorf("%d of %d packets of new flows were dropped, after %d flows", len(packets)-forwarded, len(packets), len(answers))
		}
		first := len(answers)
		for i, p := range packets {
			answers = append(answers, part[i].Answer(workload.Source(p)))
		}
		if tcp {
			if err := shake(n, ring, part, answers[first:]); err != nil {
				return nil, err
			}
		}
		flows = flows[len(packets):]
	}
	return answers, nil
}

// shake ends the handshakes of flows whose SYN has passed: the SYN-ACK of each answer, and the ACK.
func shake(n peer.NAT, ring *workload.Ring, flows, answers []workload.Flow) error {
	for _, step := range []struct {
		direction peer.Direction
		packets   []workload.Flow
	}{
		{peer.In, flagged(answers, true, workload.FlagSYN|workload.FlagACK)},
		{peer.Out, flagged(flows, true, workload.FlagACK)},
	} {
		packets := ring.Fill(step.packets)
		if n.Translate(step.direction, packets, Began) != len(packets) {
			return fmt.Errorf("packets of handshakes were dropped, dir=%s", step.direction)
		}
	}
	return nil
}

// flagged returns the flows with other TCP flags; they stay as they are when it does nothing.
func flagged(flows []workload.Flow, tcp bool, flags uint8) []workload.Flow {
	if !tcp {
		return flows
	}
	changed := make([]workload.Flow, len(flows))
	for i, f := range flows {
		f.Flags = flags
		changed[i] = f
	}
	return changed
}

// packets of a direction, written to the ring.
func (e *Established) packets(d peer.Direction) [][]byte {
	flows := e.flows[d]
	if e.next[d] >= len(flows) {
		e.next[d] = 0
	}
	if len(flows) < workload.RingSize {
		// Few flows: the ring holds them again and again.
		many := make([]workload.Flow, workload.RingSize)
		for i := range many {
			many[i] = flows[i%len(flows)]
		}
		e.flows[d], flows = many, many
	}
	packets := e.ring.Fill(flows[e.next[d]:])
	e.next[d] += len(packets)
	return packets
}

// Ring translates one ring of packets in batches and returns their number and what the NAT took.
// The sessions are refreshed at a moment a second after they began.
func (e *Established) Ring(d peer.Direction, batch int) (packets int, spent time.Duration, err error) {
	ring := e.packets(d)
	now := Began.Add(time.Second)
	forwarded := 0
	start := time.Now()
	for at := 0; at < len(ring); at += batch {
		forwarded += e.NAT.Translate(d, ring[at:min(at+batch, len(ring))], now)
	}
	spent = time.Since(start)
	if forwarded != len(ring) {
		err = fmt.Errorf("%d of %d packets of known flows were dropped", len(ring)-forwarded, len(ring))
	}
	return len(ring), spent, err
}

// For translates packets for about a time and returns nanoseconds a packet.
// A tenth of the time before that warms the caches up.
func (e *Established) For(d peer.Direction, batch int, during time.Duration) (nanos float64, err error) {
	var packets int
	var spent time.Duration
	begin := time.Now()
	warm := true
	for {
		n, t, err := e.Ring(d, batch)
		if err != nil {
			return 0, err
		}
		packets, spent = packets+n, spent+t
		elapsed := time.Since(begin)
		if warm && elapsed > during/10 {
			warm, packets, spent = false, 0, 0
		} else if elapsed > during {
			return float64(spent.Nanoseconds()) / float64(max(packets, 1)), nil
		}
	}
}
