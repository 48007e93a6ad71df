package measure_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/benchmarks/measure"
	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// TestEachPeer runs each measurement once at a tiny size: the numbers must be there.
func TestEachPeer(t *testing.T) {
	for _, k := range peer.Kinds() {
		t.Run("peer="+k.Name, func(t *testing.T) {
			for _, flows := range []int{1, 1000} {
				e, err := measure.Establish(k, workload.Uniform(1, flows))
				require.NoError(t, err)
				for _, d := range []peer.Direction{peer.Out, peer.In} {
					for _, batch := range []int{1, 64} {
						ns, err := e.For(d, batch, 2*time.Millisecond)
						require.NoError(t, err)
						require.Positive(t, ns)
					}
				}
				e.NAT.Close()
			}
			l, err := measure.Live(k, workload.Uniform(1, 2000))
			require.NoError(t, err)
			require.Positive(t, l.New)
			many, err := measure.Begin(k, workload.Uniform(1, 2000), 64)
			require.NoError(t, err)
			require.Positive(t, many)
			require.Greater(t, l.Bytes, 40.0, "a session cannot be smaller than its two keys")
			require.Equal(t, k.Clock, l.Expire > 0)
			require.Positive(t, l.Collect.Pause)
			for _, m := range measure.Mixes(1, 1000) {
				if !m.Fits(k) {
					continue
				}
				ns, forwarded, err := measure.Play(k, &m)
				require.NoError(t, err)
				require.Positive(t, ns, m.Name)
				require.Equal(t, 1.0, forwarded, m.Name)
			}
		})
	}
}

func TestTogether(t *testing.T) {
	for _, k := range peer.Kinds() {
		if k.NewShared == nil {
			continue
		}
		for callers := 1; callers <= 3; callers++ {
			all, err := measure.OpenTogether(k, workload.Uniform(1, 2000), callers)
			require.NoError(t, err)
			ns, err := all.All(64, 2*time.Millisecond)
			require.NoError(t, err)
			require.Positive(t, ns)
			ns, err = all.Alone(64, 2*time.Millisecond)
			require.NoError(t, err)
			require.Positive(t, ns)
			all.NAT.Close()
		}
	}
}

// TestEstablishedTCP shakes hands and sends segments both ways.
func TestEstablishedTCP(t *testing.T) {
	for _, k := range peer.Kinds() {
		if !k.TCP {
			continue
		}
		e, err := measure.Establish(k, workload.UniformTCP(1, 1000))
		require.NoError(t, err)
		for _, d := range []peer.Direction{peer.Out, peer.In} {
			ns, err := e.For(d, 64, 2*time.Millisecond)
			require.NoError(t, err, "%s, %v", k.Name, d)
			require.Positive(t, ns)
		}
		if k.Name == "blocknat" {
			// Half open, they would be gone by now (RFC 7857 section 2.1); established, they stay for hours (RFC 5382 REQ-5).
			e.NAT.Expire(measure.Began.Add(time.Hour))
			require.Equal(t, 1000, e.NAT.Sessions())
		}
		e.NAT.Close()
	}
}

func TestGrow(t *testing.T) {
	for _, k := range append(peer.Kinds(), peer.None) {
		flows := 20_000
		if k.Flows < flows || k.Slow {
			flows = 2000
		}
		g, err := measure.Grow(k, workload.Uniform(1, flows))
		require.NoError(t, err)
		require.Positive(t, g.Longest())
		require.LessOrEqual(t, g.Rare(), g.Longest())
		require.Equal(t, 2*(flows-min(1024, flows/2)), g.Calls())
		require.LessOrEqual(t, g.Over(), g.Calls())
		require.Equal(t, g, measure.Growth{}.Least(g))
		require.LessOrEqual(t, g.Least(g).Longest(), g.Longest())
	}
}

func TestFull(t *testing.T) {
	for _, k := range peer.Kinds() {
		if k.NewSmall == nil || k.Slow {
			continue // a slow one is measured by the command
		}
		f, err := measure.Full(k, workload.Ports(1))
		require.NoError(t, err)
		require.Positive(t, f.New)
		require.Zero(t, f.Refused, "%s: each flow has a port", k.Name)
	}
}

func TestEstablishmentRate(t *testing.T) {
	k := peer.Kinds()[0]
	r, err := measure.EstablishmentRate(k, workload.Pair(1, 5000, 1))
	require.NoError(t, err)
	require.Positive(t, r.PerSecond)
	require.InEpsilon(t, 0.8*r.PerSecond, r.Validated, 1e-9)
	require.GreaterOrEqual(t, r.Trials, 4)
}

// broken gives all flows of a host one external port and forwards answers as they are: validation must notice.
type broken struct{ peer.NAT }

func (n broken) Translate(d peer.Direction, batch [][]byte, now time.Time) int {
	for _, b := range batch {
		if d == peer.Out {
			b[20], b[21] = 0x15, 0xb3
		}
	}
	return len(batch)
}

func TestValidationFails(t *testing.T) {
	k := peer.None
	k.New = func(time.Time) (peer.NAT, error) {
		n, err := peer.None.New(measure.Began)
		return broken{n}, err
	}
	_, err := measure.EstablishmentRate(k, workload.Pair(1, 5000, 1))
	require.ErrorContains(t, err, "validated")
}
