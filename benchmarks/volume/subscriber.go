package main

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// sweepEvery is how often idle blocks are looked for, as a gateway calls Expire.
const sweepEvery = 10_000 // ms

// A run is the part of the simulation that is played connection by connection.
type run struct {
	Model
	Seed   uint64
	Sizes  []int // block sizes, at most maxSizes
	Days   int   // whole days that count
	Begin  int64 // when subscribers begin, in ms
	From   int64 // when counting begins
	To     int64 // when everything ends
	Sample float64
	// DenseFrom and DenseTo bound the while whose connections are all kept.
	DenseFrom, DenseTo int64
	layouts            []*portblock.Layout
}

// maxSizes bounds the block sizes of a run.
const maxSizes = 8

// newRun plans a run of whole days that begins in the quietest hour, with an hour ahead that does not count.
func newRun(m Model, seed uint64, sizes []int, days int) (*run, error) {
	quietest := 0
	for h, share := range m.Hours {
		if share < m.Hours[quietest] {
			quietest = h
		}
	}
	r := &run{Model: m, Seed: seed, Sizes: sizes, Days: days}
	r.From = day + int64(quietest)*hour
	r.Begin, r.To = r.From-hour, r.From+int64(days)*day
	r.Sample = min(1, sampled/(m.Connections*float64(m.Subscribers*days)))
	perMilli := m.Connections * float64(m.Subscribers) / float64(day) * m.Hours[r.busiest()/hour%24]
	r.DenseFrom = r.busiest()
	r.DenseTo = r.DenseFrom + min(hour, 1+int64(denseSessions/perMilli))
	for _, size := range sizes {
		l, err := portblock.NewLayout(portblock.Config{
			BlockSize: size, MaxBlocks: m.maxBlocks(size), HoldDown: m.HoldDown, GuardTime: m.Guard, IdleTimeout: m.Idle,
			OrderKey: [16]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)},
		})
		if err != nil {
			return nil, err
		}
		r.layouts = append(r.layouts, l)
	}
	return r, nil
}

// busiest is when the busiest hour that counts begins.
func (r *run) busiest() int64 {
	busiest := r.From
	for at := r.From; at < r.To; at += hour {
		if r.Hours[at/hour%24] > r.Hours[busiest/hour%24] {
			busiest = at
		}
	}
	return busiest
}

// connection is one that lives. ports are its external ports in the NAT of each block size, 0 where it was refused.
type connection struct {
	space portblock.Space
	hold  int64
	ports [maxSizes]uint16
}

// nat is one subscriber in the NAT of one block size: the real Holding, on an address of its own with room
// for all blocks, so that a refusal is the subscriber's limit. Which address a block really comes from is settled by the fleet.
type nat struct {
	layout  *portblock.Layout
	holding *portblock.Holding
	address *portblock.Address
	slots   [maxSlots]portblock.Block // the blocks held
	used    uint64                    // bits of slots
}

// maxSlots bounds the blocks that a subscriber holds.
const maxSlots = 64

// worker plays subscribers one after the other.
type worker struct {
	*run
	totals      *totals
	source      *rand.PCG
	rnd         *rand.Rand
	queue       queue
	connections []connection
	unused      []uint32
	nats        []nat
	idle        []portblock.Block
	subscriber  int
	drawn       uint64 // connections so far, for the sample
}

func newWorker(r *run) *worker {
	w := &worker{run: r, totals: newTotals(r), source: rand.NewPCG(0, 0), nats: make([]nat, len(r.Sizes))}
	w.rnd = rand.New(w.source)
	return w
}

// play plays one subscriber from Begin to To. What it does depends on the seed and the subscriber's number alone.
func (w *worker) play(subscriber int) error {
	w.subscriber, w.drawn = subscriber, 0
	w.source.Seed(w.Seed, uint64(subscriber)*0x9e3779b97f4a7c15+1)
	w.queue, w.connections, w.unused = w.queue[:0], w.connections[:0], w.unused[:0]
	for i := range w.nats {
		l := w.layouts[i]
		w.nats[i] = nat{layout: l, holding: l.NewHolding(), address: l.NewAddress(uint32(subscriber))}
	}
	activity := w.activity(w.rnd)
	w.queue.push(event{w.nextCluster(w.rnd, activity, w.Begin, w.To), eventCluster})
	sweep := w.Begin
	for len(w.queue) > 0 {
		e := w.queue.pop()
		for ; sweep <= min(e.at, w.To-1); sweep += sweepEvery {
			if err := w.releaseIdle(sweep); err != nil {
				return err
			}
		}
		if e.at >= w.To {
			return nil
		}
		var err error
		switch e.what & 3 {
		case eventCluster:
			w.cluster(e.at)
			w.queue.push(event{w.nextCluster(w.rnd, activity, e.at, w.To), eventCluster})
		case eventStart:
			err = w.start(e.what>>2, e.at)
		case eventEnd:
			err = w.end(e.what>>2, e.at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cluster draws the connections of a cluster.
func (w *worker) cluster(at int64) {
	for range w.size(w.rnd) {
		var id uint32
		if n := len(w.unused); n > 0 {
			id, w.unused = w.unused[n-1], w.unused[:n-1]
		} else {
			id = uint32(len(w.connections))
			w.connections = append(w.connections, connection{})
		}
		c := &w.connections[id]
		var udp bool
		if udp, c.hold = w.hold(w.rnd); udp {
			c.space = portblock.UDP
		} else {
			c.space = portblock.TCP
		}
		w.queue.push(event{at, id<<2 | eventStart})
		at += int64(w.rnd.ExpFloat64() * float64(w.Gap.Milliseconds()))
	}
}

// start takes a port for a connection in each NAT.
func (w *worker) start(id uint32, at int64) error {
	c := &w.connections[id]
	now := time.UnixMilli(at)
	w.totals.started(c.space, at, c.hold)
	for i := range w.nats {
		port, err := w.take(i, c.space, now)
		if err != nil {
			return err
		}
		c.ports[i] = port
	}
	w.sampleSession(c, at)
	w.queue.push(event{at + c.hold, id<<2 | eventEnd})
	return nil
}

// take takes a port, with a further block where one is needed and allowed; 0 is a refusal.
func (w *worker) take(i int, space portblock.Space, now time.Time) (uint16, error) {
	n := &w.nats[i]
	p, err := n.holding.TakePort(space, 0, w.source, now)
	if errors.Is(err, portblock.ErrNeedBlock) {
		block, err := n.address.TakeBlockOf(uint64(w.subscriber), n.holding.Want(space), now)
		if err != nil {
			return 0, err // the address is the subscriber's own: it has room
		}
		if err := n.holding.AddBlock(block, now); err != nil {
			return 0, err
		}
		slot := bits.TrailingZeros64(^n.used)
		n.slots[slot], n.used = block, n.used|1<<slot
		w.totals.block(w.run, i, move{now.UnixMilli(), uint32(w.subscriber), uint8(slot), true})
		w.sampleBlock(i, block, now.UnixMilli(), true, bits.OnesCount64(n.used))
		p, err = n.holding.TakePort(space, 0, w.source, now)
		return p.Number, err
	}
	if err != nil {
		w.totals.refused(i, now.UnixMilli())
		return 0, nil
	}
	return p.Number, nil
}

// end returns a connection's ports.
func (w *worker) end(id uint32, at int64) error {
	c := &w.connections[id]
	now := time.UnixMilli(at)
	for i := range w.nats {
		if c.ports[i] != 0 {
			if err := w.nats[i].holding.ReturnPort(c.space, uint32(w.subscriber), c.ports[i], now); err != nil {
				return err
			}
		}
	}
	w.totals.ended(at)
	w.unused = append(w.unused, id)
	return nil
}

// releaseIdle gives blocks back that are idle.
func (w *worker) releaseIdle(at int64) error {
	now := time.UnixMilli(at)
	for i := range w.nats {
		n := &w.nats[i]
		if n.used == 0 {
			continue
		}
		w.idle = n.holding.AppendIdle(w.idle[:0], now)
		for _, b := range w.idle {
			if err := n.holding.RemoveBlock(b, now); err != nil {
				return err
			}
			if err := n.address.CoolBlock(b, now); err != nil {
				return err
			}
			for rest := n.used; rest != 0; rest &= rest - 1 {
				slot := bits.TrailingZeros64(rest)
				if n.slots[slot] == b {
					n.used &^= 1 << slot
					w.totals.block(w.run, i, move{at, uint32(w.subscriber), uint8(slot), false})
				}
			}
			w.sampleBlock(i, b, at, false, bits.OnesCount64(n.used))
		}
	}
	return nil
}
