package formula_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/formula"
	"github.com/blocknat/blocknat/mapping/deterministic"
)

func epoch(t *testing.T, number uint64, at time.Time, cfg deterministic.Config, pool string) *logging.Record {
	detail, err := deterministic.AppendRecord(nil, deterministic.Epoch{Number: number, From: at, Config: cfg})
	require.NoError(t, err)
	return &logging.Record{Kind: logging.ConfigEpoch, Time: logging.MillisOf(at), Host: "cgn1", Pool: pool, Detail: string(detail)}
}

// TestRFC7422_3_Resolver: the same port belongs to different subscribers under
// the parameters of different times, and two pools of one host do not end each other.
func TestRFC7422_3_Resolver(t *testing.T) {
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	one := deterministic.Config{Internal: deterministic.Spans("10.0.0.0-10.0.0.3"), External: deterministic.Spans("203.0.113.1"), SharingRatio: 4}
	two := one
	two.Internal = deterministic.Spans("10.0.0.4-10.0.0.7")
	other := deterministic.Config{Internal: deterministic.Spans("10.9.0.0-10.9.0.3"), External: deterministic.Spans("203.0.113.9"), SharingRatio: 4}
	x := logging.NewIndex()
	x.Resolve(formula.Resolver())
	for _, r := range []*logging.Record{
		epoch(t, 1, at, one, "a"), epoch(t, 1, at, other, "b"), epoch(t, 2, at.Add(time.Hour), two, "a"),
		{Kind: logging.ConfigEpoch, Time: logging.MillisOf(at), Pool: "c", Detail: "no map's"},
	} {
		require.NoError(t, x.Append(r))
	}
	ask := func(external string, port uint16, at time.Time) string {
		got := x.Who(logging.Query{External: netip.MustParseAddr(external), Port: port, At: at})
		if len(got) == 0 {
			return "nobody"
		}
		require.Len(t, got, 1)
		require.Equal(t, logging.Computed, got[0].Source)
		require.True(t, got[0].HasPort(port))
		return fmt.Sprint(got[0].Subscriber, " ", got[0].Pool)
	}
	// 64512 ports from 1024 on in four parts: 17152 begins the second.
	for _, c := range []struct {
		external string
		port     uint16
		after    time.Duration
		want     string
	}{
		{"203.0.113.1", 1024, -time.Second, "nobody"},
		{"203.0.113.1", 1023, time.Minute, "nobody"},
		{"203.0.113.1", 1024, time.Minute, "10.0.0.0 a"},
		{"203.0.113.1", 17152, time.Minute, "10.0.0.1 a"},
		{"203.0.113.1", 65535, time.Minute, "10.0.0.3 a"},
		{"203.0.113.1", 17152, 2 * time.Hour, "10.0.0.5 a"},
		{"203.0.113.9", 17152, 2 * time.Hour, "10.9.0.1 b"},
		{"203.0.113.8", 17152, 2 * time.Hour, "nobody"},
	} {
		require.Equal(t, c.want, ask(c.external, c.port, at.Add(c.after)), "%+v", c)
	}
	all := x.Who(logging.Query{External: netip.MustParseAddr("203.0.113.1"), AnyPort: true, At: at.Add(time.Minute)})
	require.Len(t, all, 4)
}
