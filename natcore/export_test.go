package natcore

import "time"

// Whole translates one packet the whole way, which the plain one of batches only shortens: the slow twin of Process.
func (e *Engine) Whole(p *Packet, now time.Time) {
	c := e.call(now)
	c.process(p)
	c.done()
}
