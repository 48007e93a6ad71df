package slogsink_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/loggingtest"
	"github.com/blocknat/blocknat/logging/slogsink"
)

// plain makes slog's JSON handler write what JSON lines have: the message as
// kind, no level, times in milliseconds.
func plain(_ []string, a slog.Attr) slog.Attr {
	switch {
	case a.Key == slog.MessageKey:
		a.Key = "kind"
	case a.Key == slog.LevelKey:
		return slog.Attr{}
	case a.Key == "spaces":
		var s logging.Spaces
		_ = s.UnmarshalText([]byte(a.Value.String()))
		var list []string
		for _, one := range []logging.Spaces{logging.TCP, logging.UDP, logging.ICMP} {
			if s&one != 0 {
				list = append(list, one.String())
			}
		}
		return slog.Any(a.Key, list)
	}
	return a
}

// TestConformance reads what slog's own JSON handler wrote with ParseJSON, which
// shows that all fields arrive under the names of JSON lines.
func TestConformance(t *testing.T) {
	loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
		var b bytes.Buffer
		return loggingtest.Harness{
			Log: slogsink.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{ReplaceAttr: plain})),
			Accepted: func() (out []logging.Record) {
				for r, err := range logging.ReadJSON(bytes.NewReader(b.Bytes())) {
					require.NoError(t, err)
					out = append(out, r)
				}
				return out
			},
		}
	})
}

func TestLevels(t *testing.T) {
	var b bytes.Buffer
	l := slogsink.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: slog.LevelWarn}))
	for _, r := range loggingtest.Records() {
		b.Reset()
		err := l.Append(&r)
		switch r.Kind {
		case logging.QuotaExceeded, logging.AddressesExhausted, logging.PortsExhausted, logging.ThresholdHigh:
			require.NoError(t, err)
			require.Contains(t, b.String(), `"level":"WARN"`)
		default:
			require.ErrorIs(t, err, slogsink.ErrDisabled)
			require.Empty(t, b.String())
		}
	}
}

func TestValue(t *testing.T) {
	r := loggingtest.Records()[0]
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "record", slogsink.Value(&r))
	var m struct {
		Record struct {
			Kind, Subscriber string
			First            int
		}
	}
	require.NoError(t, json.Unmarshal(b.Bytes(), &m))
	require.Equal(t, "block-allocated", m.Record.Kind)
	require.Equal(t, 20480, m.Record.First)
	require.Equal(t, "100.64.1.10", m.Record.Subscriber)
}

func Example() {
	h := slog.NewTextHandler(os.Stdout, nil)
	r := loggingtest.Records()[0]
	_ = slogsink.New(h).Append(&r)
	// Output: time=2026-11-21T02:30:10.123Z level=INFO msg=block-allocated instance=1 host=cgn1.example.net epoch=3 pool_id=7 pool=cgn realm=vrf7 subscriber=100.64.1.10 external=198.51.100.7 first=20480 last=20735 step=1 spaces=tcp+udp+icmp reason=outbound used=1 max=4
}
