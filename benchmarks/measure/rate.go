package measure

import (
	"fmt"
	"time"

	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// Rate is a maximum connection establishment rate (RFC 9693 section 4.5) that was validated (section 4.6).
type Rate struct {
	// PerSecond is the highest rate at which no frame was lost, found by binary search to within Error of itself.
	PerSecond, Error float64
	// Validated is the rate of the validating phase, alpha times PerSecond.
	Validated float64
	// Trials is the number of first phases that it took, Lowered how often validation failed.
	Trials, Lowered int
}

// The parameters of the search.
const (
	rateError   = 0.03 // of the rate
	rateAlpha   = 0.8  // RFC 9693 section 4.6
	rateQueue   = 4096 // frames that wait for the device: a large receive ring
	rateBatch   = 64   // frames that are taken from it at a time
	rateRetries = 1    // a lossy trial is repeated: the machine has other work
)

// EstablishmentRate measures how many connections a second a NAT establishes
// without losing a frame.
//
// The tester is in the same thread as the device. Frames are due at a fixed pace of the wall clock and wait in a
// queue of 4,096; one that finds the queue full is lost. Each trial begins with an empty table (section 4.4) and sends a frame of
// each flow, all 4-tuples different, in pseudorandom order. Validation sends a
// frame of the Responder for each tuple at 0.8 of the rate, and holds each against the
// flow that it must arrive at. The time to write the frames (some 5 ns each) is part of it.
func EstablishmentRate(k peer.Kind, flows []workload.Flow) (Rate, error) {
	r := Rate{Error: rateError}
	ring := workload.NewRing(false)
	n, err := k.New(Began)
	if err != nil {
		return r, err
	}
	start := time.Now()
	_, err = open(n, ring, flows, 1, nil)
	n.Close()
	if err != nil {
		return r, fmt.Errorf("%s: %w", k.Name, err)
	}
	high := 1.5 * float64(len(flows)) / time.Since(start).Seconds()
	low := 0.0
	for high-low > rateError*high {
		middle := (low + high) / 2
		ok, err := r.establish(k, ring, flows, middle)
		if err != nil {
			return r, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	for r.PerSecond = low; r.PerSecond > high/10; r.PerSecond *= 0.95 {
		ok, err := r.validate(k, ring, flows)
		if err != nil || ok {
			return r, err
		}
		r.Lowered++
	}
	return r, fmt.Errorf("%s: no rate could be validated", k.Name)
}

// establish runs first phases at a rate until one loses nothing.
func (r *Rate) establish(k peer.Kind, ring *workload.Ring, flows []workload.Flow, rate float64) (ok bool, err error) {
	for try := 0; try <= rateRetries && !ok; try++ {
		n, err := k.New(Began)
		if err != nil {
			return false, err
		}
		r.Trials++
		ok = paced(n, peer.Out, ring, flows, rate, nil)
		n.Close()
	}
	return ok, nil
}

// validate runs both phases.
func (r *Rate) validate(k peer.Kind, ring *workload.Ring, flows []workload.Flow) (ok bool, err error) {
	for try := 0; try <= rateRetries && !ok; try++ {
		n, err := k.New(Began)
		if err != nil {
			return false, err
		}
		r.Trials++
		answers := make([]workload.Flow, 0, len(flows))
		ok = paced(n, peer.Out, ring, flows, r.PerSecond, func(i int, p []byte) bool {
			answers = append(answers, flows[i].Answer(workload.Source(p)))
			return true
		})
		r.Validated = rateAlpha * r.PerSecond
		ok = ok && paced(n, peer.In, ring, answers, r.Validated, func(i int, p []byte) bool {
			addr, port := workload.Destination(p)
			return addr == flows[i].Src && port == flows[i].SrcPort
		})
		n.Close()
	}
	return ok, nil
}

// paced sends a frame of each flow at a rate and reports whether all were forwarded and accepted by check.
func paced(n peer.NAT, d peer.Direction, ring *workload.Ring, flows []workload.Flow, rate float64, check func(i int, p []byte) bool) bool {
	start := time.Now()
	for done := 0; done < len(flows); {
		due := min(int(time.Since(start).Seconds()*rate)+1, len(flows))
		if due-done > rateQueue {
			return false
		}
		if due == done {
			continue
		}
		packets := ring.Fill(flows[done:min(due, done+rateBatch)])
		if n.Translate(d, packets, Began) != len(packets) {
			return false
		}
		for i, p := range packets {
			if check != nil && !check(done+i, p) {
				return false
			}
		}
		done += len(packets)
	}
	return true
}
