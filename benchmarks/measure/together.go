package measure

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// Together is a NAT with sessions that several callers use at once, each the packets of hosts of its own.
type Together struct {
	NAT     peer.NAT
	parts   []*Established // of callers
	alone   *Established   // all flows, for one caller
	callers int
}

// OpenTogether opens a session for each flow in a NAT for many callers.
func OpenTogether(k peer.Kind, flows []workload.Flow, callers int) (*Together, error) {
	n, err := k.NewShared(Began)
	if err != nil {
		return nil, err
	}
	sharer, ok := n.(peer.Sharer)
	if !ok {
		n.Close()
		return nil, fmt.Errorf("%s: cannot be shared", k.Name)
	}
	t := &Together{NAT: n, callers: callers, alone: &Established{NAT: sharer.Share(), ring: workload.NewRing(false)}}
	if _, err := open(t.alone.NAT, t.alone.ring, flows, 1, nil); err != nil {
		n.Close()
		return nil, fmt.Errorf("%s: %w", k.Name, err)
	}
	t.alone.flows[peer.Out] = flows
	for i := range callers {
		e := &Established{NAT: sharer.Share(), ring: workload.NewRing(false)}
		for _, f := range flows {
			if int(f.Src)%callers == i {
				e.flows[peer.Out] = append(e.flows[peer.Out], f)
			}
		}
		t.parts = append(t.parts, e)
	}
	return t, nil
}

// Alone lets one caller translate outbound packets for about a time and returns nanoseconds a packet.
func (t *Together) Alone(batch int, during time.Duration) (nanos float64, err error) {
	return t.alone.For(peer.Out, batch, during)
}

// All lets all callers translate outbound packets at once for about a time and returns nanoseconds a packet of all
// together: the inverse of the sum of their rates while they are in the NAT.
func (t *Together) All(batch int, during time.Duration) (nanos float64, err error) {
	each := make([]float64, t.callers)
	faults := make([]error, t.callers)
	var all sync.WaitGroup
	for i, e := range t.parts {
		all.Go(func() { each[i], faults[i] = e.For(peer.Out, batch, during) })
	}
	all.Wait()
	rate := 0.0
	for _, ns := range each {
		if ns > 0 {
			rate += 1 / ns
		}
	}
	if err := errors.Join(faults...); err != nil || rate == 0 {
		return 0, err
	}
	return 1 / rate, nil
}
