package measure

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// Together lets callers goroutines translate outbound packets of known
// sessions at once, each those of its own hosts, for about a time. It returns nanoseconds a packet of all together: wall-clock
// time by the packets of all. Writing the packets to each caller's ring is part of it.
func Together(k peer.Kind, flows []workload.Flow, callers, batch int, during time.Duration) (nanos float64, err error) {
	n, err := k.NewShared(Began)
	if err != nil {
		return 0, err
	}
	defer n.Close()
	sharer, ok := n.(peer.Sharer)
	if !ok {
		return 0, fmt.Errorf("%s: cannot be shared", k.Name)
	}
	parts := make([][]workload.Flow, callers)
	for _, f := range flows {
		i := int(f.Src) % callers
		parts[i] = append(parts[i], f)
	}
	each := make([]*Established, callers)
	for i := range each {
		e := &Established{NAT: sharer.Share(), ring: workload.NewRing(false)}
		if _, err := open(e.NAT, e.ring, parts[i], nil); err != nil {
			return 0, fmt.Errorf("%s: %w", k.Name, err)
		}
		e.flows[peer.Out] = parts[i]
		each[i] = e
	}
	packets := make([]int, callers)
	faults := make([]error, callers)
	var all sync.WaitGroup
	start := time.Now()
	for i, e := range each {
		all.Go(func() {
			for count := 0; ; {
				p, _, err := e.Ring(peer.Out, batch)
				count += p
				if err != nil || time.Since(start) > during {
					packets[i], faults[i] = count, err
					return
				}
			}
		})
	}
	all.Wait()
	spent := time.Since(start)
	total := 0
	for _, p := range packets {
		total += p
	}
	return float64(spent.Nanoseconds()) / float64(max(total, 1)), errors.Join(faults...)
}
