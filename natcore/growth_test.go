package natcore_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
)

// BenchmarkGrowth tells the longest call while the sessions grow from nothing to 2^22, one packet a call.
func BenchmarkGrowth(b *testing.B) {
	if testing.Short() {
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out := newTraffic(b, udp, tcpFlags{}, 0, 1<<22)
	for b.Loop() {
		f := newFeeder(benchEngine(b, 8), out, natcore.Outbound, 1)
		var longest time.Duration
		over := 0
		for range out.len() {
			before := threadTime()
			f.send()
			took := threadTime() - before
			longest = max(longest, took)
			if took > 100*time.Microsecond {
				over++
			}
		}
		b.ReportMetric(float64(longest.Microseconds()), "us-longest")
		b.ReportMetric(float64(over), "over-100us")
	}
}
