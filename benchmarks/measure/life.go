package measure

import (
	"fmt"
	"runtime"
	"time"

	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// Life is what sessions cost from their first packet to their end.
type Life struct {
	// New is nanoseconds a new session: translating the first packet of a flow, with the growth of all tables.
	New float64
	// Bytes is heap bytes a session, tables and garbage-free, by runtime.MemStats.
	Bytes float64
	// Collect is how long a forced collection takes with the sessions there, less what it takes without them, in microseconds;
	// Pause is the longest stop of the world in it.
	Collect, Pause float64
	// Expire is nanoseconds a session that ends; 0 where the peer has no clock.
	Expire float64
}

// Live opens a session for each flow in a new NAT, one packet at a time, measures, and ends them all.
func Live(k peer.Kind, flows []workload.Flow) (Life, error) {
	var l Life
	n, err := k.New(Began)
	if err != nil {
		return l, err
	}
	defer n.Close()
	if err := prepare(n, flows); err != nil {
		return l, err
	}
	ring := workload.NewRing(false)
	before, collectBefore, _ := collected()
	var spent time.Duration
	answers, err := open(n, ring, flows, &spent)
	if err != nil {
		return l, fmt.Errorf("%s: %w", k.Name, err)
	}
	count := float64(len(answers))
	answers = nil
	after, collect, pause := collected()
	l.New = float64(spent.Nanoseconds()) / count
	l.Bytes = (float64(after) - float64(before)) / count
	l.Collect = max(0, float64((collect-collectBefore).Nanoseconds())/1000)
	l.Pause = float64(pause.Nanoseconds()) / 1000
	if !k.Clock {
		runtime.KeepAlive(flows)
		return l, nil
	}
	start := time.Now()
	n.Expire(Began.Add(peer.IdleTime))
	l.Expire = float64(time.Since(start).Nanoseconds()) / count
	if left := n.Sessions(); left > 0 {
		return l, fmt.Errorf("%s: %d sessions were left after their time", k.Name, left)
	}
	runtime.KeepAlive(flows)
	return l, nil
}

// collected collects garbage and returns the live bytes, how long a collection takes (the shorter
// of two), and its longest pause.
func collected() (live uint64, took, pause time.Duration) {
	runtime.GC() // what is garbage now is swept
	for i := range 2 {
		start := time.Now()
		runtime.GC()
		if t := time.Since(start); i == 0 || t < took {
			took = t
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for i := range uint32(2) {
		pause = max(pause, time.Duration(m.PauseNs[(m.NumGC+255-i)%256]))
	}
	return m.HeapAlloc, took, pause
}
