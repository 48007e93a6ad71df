package mapping

import "time"

// SetTimeouts changes the idle times, of live flows too; other is that of protocols without ports.
func (f *Flows) SetTimeouts(idle Timeouts, other time.Duration) {
	f.idle = [phases]Tick{
		Active: ticks(idle.UDP), Query: ticks(idle.ICMP), Opening: ticks(idle.TCPOpening),
		Established: ticks(idle.TCPEstablished), FinInternal: ticks(idle.TCPEstablished),
		FinRemote: ticks(idle.TCPEstablished), Closing: ticks(idle.TCPClosing), Reset: ticks(idle.TCPClosing), Other: ticks(other),
	}
}
