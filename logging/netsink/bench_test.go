package netsink_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging/ipfix"
	"github.com/blocknat/blocknat/logging/netsink"
	"github.com/blocknat/blocknat/logging/spool"
	"github.com/blocknat/blocknat/logging/syslog"
)

// swallow is a collector that reads and forgets.
func swallow(b testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	b.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, nc); _ = nc.Close() }()
		}
	}()
	return ln.Addr().String()
}

// TestAppendAllocatesNothing: accepting a record makes no garbage for the packet path.
func TestAppendAllocatesNothing(t *testing.T) {
	s, err := netsink.New("tcp", "127.0.0.1:1", syslog.Encoder{}, netsink.Config{RetryMin: time.Hour})
	require.NoError(t, err)
	await(t, func() bool { return s.Stats().Failures > 0 })
	r := numbered(1)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if s.Append(&r) != nil {
			t.Fail()
		}
	}))
	giveUp(s)
}

// BenchmarkDeliver measures records from Append to the collector's socket, over TCP on loopback, with the store as bottleneck:
// a record that is refused is offered again.
func BenchmarkDeliver(b *testing.B) {
	for _, format := range []string{"syslog", "ipfix"} {
		for _, store := range []string{"memory", "spool"} {
			b.Run("format="+format+"/store="+store, func(b *testing.B) {
				var c netsink.Config
				if store == "spool" {
					sp, err := spool.Open(b.TempDir(), spool.Config{MaxBytes: 256 << 20})
					require.NoError(b, err)
					defer sp.Close()
					c.Store = sp
				}
				var s *netsink.Sink
				var err error
				if format == "syslog" {
					s, err = netsink.NewSyslog("tcp", swallow(b), syslog.Encoder{}, c)
				} else {
					s, err = netsink.NewIPFIX("tcp", swallow(b), ipfix.Config{}, c)
				}
				require.NoError(b, err)
				r := numbered(1)
				for b.Loop() {
					for s.Append(&r) != nil {
						time.Sleep(100 * time.Microsecond)
					}
				}
				require.NoError(b, s.Close(b.Context()))
			})
		}
	}
}
