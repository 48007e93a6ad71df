package measure

import (
	"time"

	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// Mix is a named workload of packets in order of time.
type Mix struct {
	Name   string
	Events []workload.Event
	// Flows is the number of different flows, TCP says that there are TCP ones.
	Flows int
	TCP   bool
	// Clock says that sessions must end meanwhile.
	Clock bool
}

// Fits reports whether a peer can be measured with the workload.
func (m *Mix) Fits(k peer.Kind) bool {
	return m.Flows <= k.Flows && (k.TCP || !m.TCP) && (k.Clock || !m.Clock)
}

// Mixes returns the workloads with about n packets each.
func Mixes(seed uint64, n int) []Mix {
	at := func(flows []workload.Flow) []workload.Event {
		events := make([]workload.Event, len(flows))
		for i, f := range flows {
			events[i] = workload.Event{Flow: f, At: time.Duration(i) * time.Microsecond}
		}
		return events
	}
	some := min(10_000, max(n/10, 1))
	zipf := workload.Zipf(seed, workload.Uniform(seed, some), n, 1.1)
	return []Mix{
		{Name: "uniform", Events: at(workload.Repeated(seed, workload.Uniform(seed, some), n)), Flows: some},
		{Name: "zipf", Events: at(zipf), Flows: some},
		{Name: "imix", Events: at(workload.IMIX(seed, zipf)), Flows: some},
		{Name: "synflood", Events: at(workload.SYNFlood(seed, n)), Flows: n, TCP: true},
		{Name: "dnsburst", Events: at(workload.DNSBurst(seed, n)), Flows: n},
		// Flows of a minute on average over an hour: the ends of sessions are part of the time.
		{Name: "churn", Events: workload.Churn(seed, n/5, 5, time.Hour, time.Minute), Flows: n / 5, Clock: true},
	}
}

// Play sends a workload through a new NAT in batches of up to 32 packets and
// lets sessions end every ten seconds of its time. It returns nanoseconds a packet, ends
// included, and the share of packets that were forwarded.
func Play(k peer.Kind, m *Mix) (nanos, forwarded float64, err error) {
	n, err := k.New(Began)
	if err != nil {
		return 0, 0, err
	}
	defer n.Close()
	flows := make([]workload.Flow, 0, len(m.Events))
	for i := range m.Events {
		flows = append(flows, m.Events[i].Flow)
	}
	if err := prepare(n, flows); err != nil {
		return 0, 0, err
	}
	ring := workload.NewRing(true)
	const batch, step = 32, 10 * time.Second
	passed := 0
	var spent time.Duration
	expire := step
	for i := 0; i < len(flows); i += batch {
		// Packets of a batch arrive together: at the time of the first one.
		now := m.Events[i].At
		packets := ring.Fill(flows[i:min(i+batch, len(flows))])
		start := time.Now()
		for ; m.Clock && expire <= now; expire += step {
			n.Expire(Began.Add(expire))
		}
		passed += n.Translate(peer.Out, packets, Began.Add(now))
		spent += time.Since(start)
	}
	count := float64(len(flows))
	return float64(spent.Nanoseconds()) / count, float64(passed) / count, nil
}
