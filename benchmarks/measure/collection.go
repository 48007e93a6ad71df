package measure

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// Collection is what one forced collection of garbage takes.
type Collection struct {
	// CPU is the processor time of the collector, Wall how long the collection lasts, both in milliseconds.
	CPU, Wall float64
	// Pause is the longest stop of the world in it, in microseconds.
	Pause float64
	// Live is the heap in use after it, in bytes.
	Live uint64
}

// collect runs collections and returns the shortest of them.
func collect() Collection {
	runtime.GC() // what is garbage so far is swept
	var least Collection
	for i := range 3 {
		cpu, start := collectorSeconds(), time.Now()
		runtime.GC()
		c := Collection{Wall: time.Since(start).Seconds() * 1000, CPU: (collectorSeconds() - cpu) * 1000}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		c.Pause = float64(m.PauseNs[(m.NumGC+255)%256]) / 1000
		c.Live = m.HeapAlloc
		if i == 0 || c.Wall < least.Wall {
			least = c
		}
	}
	return least
}

// collectorSeconds is the processor time that the collector has used so far, idle processors that it used included.
func collectorSeconds() float64 {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindFloat64 {
		return 0
	}
	return s[0].Value.Float64()
}
