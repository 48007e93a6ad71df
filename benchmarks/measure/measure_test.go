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
			require.Greater(t, l.Bytes, 40.0, "a session cannot be smaller than its two keys")
			require.Equal(t, k.Clock, l.Expire > 0)
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
			ns, err := measure.Together(k, workload.Uniform(1, 2000), callers, 64, 2*time.Millisecond)
			require.NoError(t, err)
			require.Positive(t, ns)
		}
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
