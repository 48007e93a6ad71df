package measure

import (
	"fmt"
	"slices"
	"time"

	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// Growth is how long single calls take while a table grows under traffic.
type Growth struct {
	// calls are nanoseconds, in the order of the calls.
	calls []int32
}

// Calls is the number of calls.
func (g Growth) Calls() int { return len(g.calls) }

// Longest is the longest call, in microseconds.
func (g Growth) Longest() float64 { return float64(slices.Max(g.calls)) / 1000 }

// Rare is what one call in 10,000 exceeds, in microseconds.
func (g Growth) Rare() float64 {
	sorted := slices.Sorted(slices.Values(g.calls))
	return float64(sorted[len(sorted)-1-len(sorted)/10_000]) / 1000
}

// Over is the number of calls of more than 100 microseconds.
func (g Growth) Over() int {
	n := 0
	for _, c := range g.calls {
		if c > 100_000 {
			n++
		}
	}
	return n
}

// Least returns the growth in which each call took the less of two runs. In a NAT that does the same steps in each run, what
// is left is what the calls themselves take, without what the machine took away at times.
func (g Growth) Least(o Growth) Growth {
	if len(g.calls) == 0 {
		return o
	}
	least := slices.Clone(g.calls)
	for i := range least {
		least[i] = min(least[i], o.calls[i])
	}
	return Growth{least}
}

// growthBegin is the number of sessions from which calls are timed.
const growthBegin = 1 << 10

// Grow opens a session for each flow, one packet a call, and between any two of them translates a packet of a session that
// is there. Each call is timed by itself; what the machine takes away meanwhile is part of it, which the peer None shows.
func Grow(k peer.Kind, flows []workload.Flow) (Growth, error) {
	var g Growth
	n, err := k.New(Began)
	if err != nil {
		return g, err
	}
	defer n.Close()
	if err := prepare(n, flows); err != nil {
		return g, err
	}
	fresh, known := workload.NewRing(false), workload.NewRing(false)
	begin := min(growthBegin, len(flows)/2)
	if _, err := open(n, fresh, flows[:begin], 1, nil); err != nil {
		return g, fmt.Errorf("%s: %w", k.Name, err)
	}
	calls := make([]int32, 0, 2*len(flows))
	old := 0 // a flow that is there, by a stride through all of them
	mixed := make([]workload.Flow, workload.RingSize)
	for at := begin; at < len(flows); {
		packets := fresh.Fill(flows[at:])
		for i := range packets {
			old = (old + 7919) % at
			mixed[i] = flows[old]
		}
		others := known.Fill(mixed[:len(packets)])
		for i := range packets {
			start := time.Now()
			ok := n.Translate(peer.Out, packets[i:i+1], Began)
			middle := time.Now()
			ok += n.Translate(peer.Out, others[i:i+1], Began)
			end := time.Now()
			if ok != 2 {
				return g, fmt.Errorf("%s: a packet was dropped after %d flows", k.Name, at+i)
			}
			calls = append(calls, int32(min(middle.Sub(start), time.Second)), int32(min(end.Sub(middle), time.Second)))
		}
		at += len(packets)
	}
	return Growth{calls}, nil
}
