package natcore_test

import (
	"testing"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// BenchmarkControl measures what stops packets, or follows a restart, with 65,536 sessions of 1,024 subscribers.
func BenchmarkControl(b *testing.B) {
	const hosts, each = 1024, 64
	cfg := config(logging.Discard)
	cfg.Pools[0].Addresses = alloc.MustParseRanges("198.18.0.0/24")
	e, err := natcore.New(cfg, began)
	require.NoError(b, err)
	for h := range hosts {
		for i := range each {
			p := build(b, udp, endpoint(host(2+h), 1024+i), s1p1, nil, tcpFlags{})
			verdict, why := e.Outbound(p, began)
			require.Equal(b, natcore.Forward, verdict, why)
		}
	}
	snapshot := e.AppendSnapshot(nil)
	b.Run("op=snapshot", func(b *testing.B) {
		for b.Loop() {
			snapshot = e.AppendSnapshot(snapshot[:0])
		}
		b.ReportMetric(float64(len(snapshot))/hosts/each, "B/session")
	})
	b.Run("op=restore", func(b *testing.B) {
		for b.Loop() {
			_, err := natcore.Restore(cfg, snapshot, began)
			require.NoError(b, err)
		}
	})
	b.Run("op=reconfigure", func(b *testing.B) {
		next := e.Config()
		for b.Loop() {
			next.Pools[0].Addresses = alloc.MustParseRanges("198.18.0.0/24,198.19.0.0/24")
			_, err := e.Reconfigure(next, began)
			require.NoError(b, err)
			next.Pools[0].Addresses = alloc.MustParseRanges("198.18.0.0/24")
			_, err = e.Reconfigure(next, began)
			require.NoError(b, err)
		}
	})
	b.Run("op=explain", func(b *testing.B) {
		q := natcore.Question{Internal: a40000, Remote: s1p1, Protocol: 17}
		for b.Loop() {
			e.Explain(q, began)
		}
	})
}
