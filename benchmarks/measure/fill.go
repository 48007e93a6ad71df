package measure

import (
	"fmt"
	"time"

	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// Fill is how new sessions fare when hardly a port is left.
type Fill struct {
	// New is nanoseconds a packet that asks for a new session, refused ones too; Refused is the share that was refused.
	New, Refused float64
}

// Fullness is between which shares of the ports sessions are timed: around 99 %.
const fullFrom, fullTo = 0.985, 0.995

// Full fills the ports of one external address towards one remote endpoint and times the sessions that are opened around 99 %.
// The flows are as many as there are ports.
func Full(k peer.Kind, flows []workload.Flow) (Fill, error) {
	n, err := k.NewSmall(Began)
	if err != nil {
		return Fill{}, err
	}
	defer n.Close()
	ring := workload.NewRing(false)
	from, to := int(fullFrom*float64(len(flows))), int(fullTo*float64(len(flows)))
	refused := 0
	for at := 0; at < from; {
		packets := ring.Fill(flows[at:from])
		for i := range packets {
			refused += 1 - n.Translate(peer.Out, packets[i:i+1], Began)
		}
		at += len(packets)
	}
	if refused > len(flows)/2 {
		return Fill{}, fmt.Errorf("%s: %d of %d flows were refused before the ports were full", k.Name, refused, from)
	}
	refused = 0
	var spent time.Duration
	for at := from; at < to; {
		packets := ring.Fill(flows[at:to])
		start := time.Now()
		for i := range packets {
			refused += 1 - n.Translate(peer.Out, packets[i:i+1], Began)
		}
		spent += time.Since(start)
		at += len(packets)
	}
	count := float64(to - from)
	return Fill{New: float64(spent.Nanoseconds()) / count, Refused: float64(refused) / count}, nil
}
