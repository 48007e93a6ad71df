package proof

import "bytes"

// Dropped judges a packet that the NAT dropped or passed untouched: its bytes are as they came.
func (p *Proof) Dropped(number int, given, after []byte) {
	p.untouched.Cases++
	if !bytes.Equal(given, after) {
		p.untouched.fail("packet %d was not translated, and changed: %s", number, firstDifference(given, after))
	}
}
