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
	// Collect is what a forced collection takes with the sessions there, less what it takes without them.
	Collect Collection
	// Look is nanoseconds a session of a round of Expire that ends none; Expire is nanoseconds a session that ends. Both
	// are 0 where the peer has no clock.
	Look, Expire float64
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
	before := collect()
	var spent time.Duration
	answers, err := open(n, ring, flows, 1, &spent)
	if err != nil {
		return l, fmt.Errorf("%s: %w", k.Name, err)
	}
	count := float64(len(answers))
	answers = nil
	after := collect()
	l.New = float64(spent.Nanoseconds()) / count
	l.Bytes = (float64(after.Live) - float64(before.Live)) / count
	l.Collect = Collection{CPU: max(0, after.CPU-before.CPU), Wall: max(0, after.Wall-before.Wall), Pause: after.Pause, Live: after.Live}
	if !k.Clock {
		runtime.KeepAlive(flows)
		return l, nil
	}
	start := time.Now()
	n.Expire(Began.Add(time.Second))
	l.Look = float64(time.Since(start).Nanoseconds()) / count
	if left := n.Sessions(); left >= 0 && left != len(flows) {
		return l, fmt.Errorf("%s: %d of %d sessions were left after a second", k.Name, left, len(flows))
	}
	start = time.Now()
	n.Expire(Began.Add(peer.IdleTime))
	l.Expire = float64(time.Since(start).Nanoseconds()) / count
	if left := n.Sessions(); left > 0 {
		return l, fmt.Errorf("%s: %d sessions were left after their time", k.Name, left)
	}
	runtime.KeepAlive(flows)
	return l, nil
}

// Begin opens a session for each flow in a new NAT, batch packets a call, and returns nanoseconds a session.
func Begin(k peer.Kind, flows []workload.Flow, batch int) (float64, error) {
	n, err := k.New(Began)
	if err != nil {
		return 0, err
	}
	defer n.Close()
	if err := prepare(n, flows); err != nil {
		return 0, err
	}
	runtime.GC()
	var spent time.Duration
	if _, err := open(n, workload.NewRing(false), flows, batch, &spent); err != nil {
		return 0, fmt.Errorf("%s: %w", k.Name, err)
	}
	return float64(spent.Nanoseconds()) / float64(len(flows)), nil
}
