package netsink_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/ipfix"
	"github.com/blocknat/blocknat/logging/loggingtest"
	"github.com/blocknat/blocknat/logging/netsink"
	"github.com/blocknat/blocknat/logging/syslog"
	"github.com/stretchr/testify/require"
)

// shut closes s at the end of a test, whose collector may be gone by then.
func shut(t *testing.T, s *netsink.Sink) *netsink.Sink {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Close(ctx)
	})
	return s
}

func harness(t *testing.T, c netsink.Config) loggingtest.Harness {
	srv := newCollector(t, nil)
	s, err := netsink.New("tcp", srv.addr, logging.JSON{}, soon(c))
	require.NoError(t, err)
	shut(t, s)
	var mu sync.Mutex
	accepted := map[logging.Record]bool{}
	return loggingtest.Harness{
		Log: logging.LogFunc(func(r *logging.Record) error {
			err := s.Append(r)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				accepted[*r] = true
			}
			return err
		}),
		Accepted: func() []logging.Record {
			mu.Lock()
			defer mu.Unlock()
			// What is sent may still be in the buffers of the connection. The check
			// tells what does not come within this time.
			for began := time.Now(); len(srv.records()) < len(accepted) && time.Since(began) < 20*time.Second; {
				time.Sleep(5 * time.Millisecond)
			}
			return srv.records()
		},
		Fail: func(fail bool) {
			if fail {
				srv.stop()
			} else {
				srv.start()
			}
		},
		Stall: func(stall bool) { srv.set(func() { srv.stall = stall }) },
	}
}

func TestConformance(t *testing.T) {
	t.Run("Memory", func(t *testing.T) {
		loggingtest.Run(t, func(t *testing.T) loggingtest.Harness { return harness(t, netsink.Config{}) })
	})
	t.Run("Small", func(t *testing.T) {
		loggingtest.Run(t, func(t *testing.T) loggingtest.Harness { return harness(t, netsink.Config{Size: 500}) })
	})
	for _, network := range []string{"udp", "tcp"} {
		t.Run("Syslog/"+network, func(t *testing.T) {
			loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
				s, err := netsink.NewSyslog(network, listen(t, network), syslog.Encoder{}, soon(netsink.Config{}))
				require.NoError(t, err)
				return loggingtest.Harness{Log: shut(t, s)}
			})
		})
		t.Run("IPFIX/"+network, func(t *testing.T) {
			loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
				s, err := netsink.NewIPFIX(network, listen(t, network), ipfix.Config{}, soon(netsink.Config{}))
				require.NoError(t, err)
				return loggingtest.Harness{Log: shut(t, s)}
			})
		})
	}
}

func listen(t *testing.T, network string) string {
	if network == "udp" {
		return newUDPCollector(t, "127.0.0.1:0").LocalAddr().String()
	}
	return newCollector(t, nil).addr
}

// TestEveryFault: all faults of a configuration come at once.
func TestEveryFault(t *testing.T) {
	_, err := netsink.NewIPFIX("tcp9", "nowhere", ipfix.Config{MTU: 1}, netsink.Config{Policy: 9, Store: noStore{}})
	for _, part := range []string{"network", "address", "Config.Policy", "Config.Store", "Config.MTU"} {
		require.ErrorContains(t, err, part)
	}
	_, err = netsink.NewIPFIX("tcp", "127.0.0.1:1", ipfix.Config{Version: ipfix.NetFlow9}, netsink.Config{})
	require.ErrorContains(t, err, "NetFlow 9")
	_, err = netsink.New("udp", "127.0.0.1:1", nil, netsink.Config{})
	require.ErrorContains(t, err, "encoder")
	var fault *netsink.ConfigError
	require.ErrorAs(t, err, &fault)
	require.Equal(t, "enc", fault.Field)
}

type noStore struct{ netsink.Store }
