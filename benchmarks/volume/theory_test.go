package main

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/portblock"
)

func none(int) {}

// plain is traffic of the textbooks: Poisson arrivals of one rate, exponential holding times, all UDP.
func plain(subscribers int, connections float64, hold time.Duration) Model {
	m := Model{
		Subscribers: subscribers, Days: 1, Connections: connections, Clusters: []Cluster{{1, 1, 1}},
		UDP: 1, UDPActive: hold, HoldDown: portblock.Off, Guard: portblock.Off, Idle: portblock.Off,
	}
	for h := range m.Hours {
		m.Hours[h] = 1
	}
	return m
}

func simulated(t *testing.T, m Model, sizes ...int) (*run, *totals) {
	t.Helper()
	r, err := newRun(m, 7, sizes, 1)
	require.NoError(t, err)
	got, err := r.simulate(none)
	require.NoError(t, err)
	return r, got
}

// erlangB is the blocking probability of n servers under an offered load, by the recursion over n.
func erlangB(n int, load float64) float64 {
	b := 1.0
	for i := 1; i <= n; i++ {
		b = load * b / (float64(i) + load*b)
	}
	return b
}

// TestErlangB gives each subscriber one block of 16 ports: a loss system with 16 servers. With a hold-down each port is
// taken for longer; the formula holds for any distribution of that time with the same mean.
func TestErlangB(t *testing.T) {
	require.InDelta(t, 0.0184, erlangB(10, 5), 0.0001) // as printed in tables
	for _, holdDown := range []time.Duration{portblock.Off, 20 * time.Second} {
		const rate = 0.2 // a second
		m := plain(30, rate*86_400, 60*time.Second)
		m.Ports, m.HoldDown = 16, holdDown
		if holdDown > 0 {
			m.Guard = holdDown
			m.Idle = time.Hour // the block stays while its ports rest
		}
		_, got := simulated(t, m, 16)
		want := erlangB(16, rate*(60+max(0, holdDown.Seconds())))
		share := float64(got.Refused[0]) / float64(got.Created)
		require.InEpsilon(t, want, share, 0.06, "hold-down %v", holdDown)
	}
}

// TestMeanPorts compares the mean number of ports in use in each hour with that of an M/G/infinity queue with a varying rate:
// E[N(t)] is the integral of rate(t-u) P(S > u) over u (clusters change the variance, not the mean).
func TestMeanPorts(t *testing.T) {
	m := defaults()
	m.Subscribers, m.Connections, m.Sigma = 1500, 2000, 0.5
	r, got := simulated(t, m, 256)
	tail := func(u, rest, mean float64) float64 { // P(rest + Exp(mean) > u)
		if u < rest {
			return 1
		}
		return math.Exp(-(u - rest) / mean)
	}
	udp := func(u float64) float64 { return 0.6 * tail(u, 300, 5) }
	tcp := func(u float64) float64 { return 0.4 * (0.95*tail(u, 240, 15) + 0.05*tail(u, 240, 600)) }
	mean := func(hour int, survives func(float64) float64) float64 {
		sum := 0.0
		const points, step = 60, 2.0
		for p := range points {
			at := float64(hour)*3600 + (float64(p)+0.5)*3600/points
			for u := step / 2; u < 7200; u += step {
				h := int(math.Floor((at-u)/3600)+48) % 24
				sum += step * survives(u) * m.Hours[h] * m.Connections / 86_400
			}
		}
		return sum / points
	}
	for h := 6; h < 24; h++ { // from two hours after the beginning
		from := day + int64(h)*hour
		for space, survives := range map[portblock.Space]func(float64) float64{portblock.TCP: tcp, portblock.UDP: udp} {
			want := mean(h, survives)
			require.InEpsilon(t, want, got.meanBusy(space, from, from+hour)/float64(m.Subscribers), 0.08, "%v, hour %d", space, h)
		}
	}
	require.InEpsilon(t, m.Connections*float64(m.Subscribers), float64(got.Created), 0.03)
	require.InEpsilon(t, float64(got.Created), float64(got.Deleted), 0.01)
	require.Less(t, float64(got.Refused[0])/float64(got.Created), 1e-3)
	require.Equal(t, m.Subscribers, r.Subscribers)
}

// TestOneConnectionOneBlock lets connections be so rare that each takes a block of its own: as many blocks as connections.
func TestOneConnectionOneBlock(t *testing.T) {
	m := plain(2000, 4, time.Second)
	m.Ports = 64
	_, got := simulated(t, m, 64)
	require.Greater(t, got.Created, uint64(7000))
	// A second connection within the ten seconds until idle blocks are looked for shares the block.
	require.InEpsilon(t, float64(got.Created), float64(got.Allocated[0]), 0.005)
	require.InDelta(t, float64(got.Allocated[0]), float64(got.Released[0]), 3)
}

// TestClusterSizes draws clusters and holds their mean and bounds against the table.
func TestClusterSizes(t *testing.T) {
	m := defaults()
	require.InDelta(t, 0.70+0.22*7.5+0.08*160, m.clusterSize(), 1e-9)
	w := newWorker(must(newRun(m, 1, []int{64}, 1)))
	sum, most := 0, 0
	for range 100_000 {
		n := m.size(w.rnd)
		sum, most = sum+n, max(most, n)
	}
	require.InEpsilon(t, m.clusterSize(), float64(sum)/100_000, 0.03)
	require.Equal(t, 200, most)
	hours := 0.0
	for _, h := range m.Hours {
		hours += h
	}
	require.InDelta(t, 24, hours, 1e-9, "the profile has mean 1")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
