package main

import (
	"math"
	"math/rand/v2"
	"net/netip"

	"github.com/blocknat/blocknat/logging"
)

const (
	blocksPerAddress = 252
	blockSize        = 256
	firstPort        = 1024
	guardTime        = 120_000 // ms
	begin            = logging.Millis(1767225600000)
)

// A generator makes the records of blocks that change hands, in the order of
// time. A block is held for an exponentially distributed time, two fifths of its cycle
// on average, then rests for the guard time and lies idle for another such time. Each holder is
// drawn from a quarter as many subscribers as there are blocks: without the
// pairing of a real NAT, so that a holder has its full entropy.
//
// The next event of each block waits in the list of its second, so that a step
// costs the same for any number of blocks.
type generator struct {
	r          *rand.Rand
	seconds    []int32 // the first block of the list, or -1
	next       []int32
	at         []int64 // ms since the beginning
	since      []int64 // of a held block; -1: free
	who        []uint32
	subs       uint32
	hold, idle float64

	second int
	due    []int32
	left   int // allocations that may still come
	rec    logging.Record
}

func newGenerator(s *setting) *generator {
	n := s.addresses * blocksPerAddress
	span := float64(s.days) * 86400e3
	cycle := span / (float64(s.records) / float64(n))
	g := &generator{
		r: rand.New(rand.NewPCG(s.seed, 2)), seconds: make([]int32, s.days*86400*5/4), next: make([]int32, n), at: make([]int64, n),
		since: make([]int64, n), who: make([]uint32, n), subs: uint32(max(1, n/4)), hold: cycle * 0.4, idle: max(cycle*0.6-guardTime, 1), left: s.records,
	}
	for i := range g.seconds {
		g.seconds[i] = -1
	}
	g.rec = logging.Record{
		Spaces: logging.AllSpaces, Host: "cgn1.example.net", Instance: 1, PoolID: 1, Pool: "cgn", Epoch: 1, Used: 1, Max: 8, Step: 1,
	}
	for b := range n {
		g.since[b] = -1
		g.wait(int32(b), int64(g.r.Float64()*cycle))
	}
	return g
}

func (g *generator) wait(b int32, at int64) {
	g.at[b] = at
	s := int(at / 1000)
	if s >= len(g.seconds) {
		return // after the end
	}
	g.next[b] = g.seconds[s]
	g.seconds[s] = b
}

func (g *generator) exp(mean float64) int64 {
	return int64(-math.Log(1-g.r.Float64())*mean) + 1
}

// step returns the next record, or nil at the end: when all allocations were
// made and released, or the time is over.
func (g *generator) step() *logging.Record {
	for len(g.due) == 0 {
		if g.second == len(g.seconds) {
			return nil
		}
		for b := g.seconds[g.second]; b >= 0; b = g.next[b] {
			g.due = append(g.due, b)
		}
		// Latest first: the end of the list is taken. Few are due in a second.
		for i := 1; i < len(g.due); i++ {
			for k := i; k > 0 && g.at[g.due[k]] > g.at[g.due[k-1]]; k-- {
				g.due[k], g.due[k-1] = g.due[k-1], g.due[k]
			}
		}
		g.second++
	}
	b := g.due[len(g.due)-1]
	g.due = g.due[:len(g.due)-1]
	at, r := g.at[b], &g.rec
	r.Time = begin + logging.Millis(at)
	r.External = external(int(b) / blocksPerAddress)
	r.First = uint16(firstPort + int(b)%blocksPerAddress*blockSize)
	r.Last = r.First + blockSize - 1
	if g.since[b] < 0 {
		if g.left == 0 {
			return g.step()
		}
		g.left--
		g.who[b], g.since[b] = g.r.Uint32N(g.subs), at
		r.Kind, r.Reason, r.Allocated = logging.BlockAllocated, logging.ReasonOutbound, 0
		g.wake(b, at+g.exp(g.hold))
	} else {
		r.Kind, r.Reason, r.Allocated = logging.BlockReleased, logging.ReasonIdle, begin+logging.Millis(g.since[b])
		g.since[b] = -1
		g.wake(b, at+guardTime+g.exp(g.idle))
	}
	r.Subscriber = subscriber(g.who[b])
	return r
}

func subscriber(n uint32) netip.Addr {
	n += 100<<24 + 64<<16
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// wake is wait, but not before the next second: events of a second are taken together.
func (g *generator) wake(b int32, at int64) { g.wait(b, max(at, int64(g.second)*1000)) }

func external(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)})
}
