package proof

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/google/gopacket/layers"
)

// restoration checks what the receiver of an inbound or hairpinned packet gets.
func (p *Proof) restoration(c Case, given ipv4) {
	switch c.Way {
	case Inbound:
		p.restored.Cases++
		if !bytes.Equal(c.Result, c.Original) && !equalButZero(c.Result, c.Original) {
			p.restored.fail("packet %d is not what the remote host meant to send: %s", c.Number, firstDifference(c.Original, c.Result))
		}
	case Hairpin:
		p.hairpin.Cases++
		p.receiver(c, given)
	}
}

// receiver checks a hairpinned packet: the receiver's endpoint, and what is
// quoted of it, are the original ones, the sender's address is not. That the
// sender's endpoint is the external one of its own is for the records to say.
func (p *Proof) receiver(c Case, given ipv4) {
	want, errWant := decode(c.Original)
	got, err := decode(c.Result)
	if errWant != nil || err != nil {
		p.hairpin.fail("packet %d cannot be decoded", c.Number)
		return
	}
	if got.dst != want.dst {
		p.hairpin.fail("packet %d is for %v and went to %v", c.Number, want.dst, got.dst)
		return
	}
	if got.src == want.src {
		p.hairpin.fail("packet %d shows the internal source %v to another subscriber (RFC 4787 REQ-9a)", c.Number, got.src)
		return
	}
	if f := want.fieldsOf(); f.known && want.protocol != layers.IPProtocolICMPv4 {
		w, _ := want.endpoint(want.dst, f.dstPort)
		if g, ok := got.endpoint(got.dst, f.dstPort); ok && g != w {
			p.hairpin.fail("packet %d is for %v and went to %v", c.Number, w, g)
			return
		}
	}
	qw, ok := want.quotation()
	if !ok {
		return
	}
	qg, _ := got.quotation()
	fw := qw.fieldsOf()
	w, _ := qw.endpoint(qw.src, fw.srcPort)
	if g, there := qg.endpoint(qg.src, fw.srcPort); there && g != w {
		p.hairpin.fail("packet %d quotes %v in place of the receiver's %v", c.Number, g, w)
	}
}

// equalButZero reports whether the packets differ in nothing but a checksum
// that is 0x0000 in one and 0xffff in the other: both forms stand for one value
// (RFC 1624 section 3), and a field of 0xffff says that its sender did not
// compute it by the rules. UDP is left out: there 0 means that there is none.
func equalButZero(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	h, err := decode(a)
	if err != nil {
		return false
	}
	at := []int{10}
	if f := h.fieldsOf(); f.checksum >= 0 && h.protocol != layers.IPProtocolUDP {
		at = append(at, len(h.head)+f.checksum)
	}
	a, b = bytes.Clone(a), bytes.Clone(b)
	for _, i := range at {
		if binary.BigEndian.Uint16(a[i:])%0xffff == 0 && binary.BigEndian.Uint16(b[i:])%0xffff == 0 {
			clear(a[i : i+2])
			clear(b[i : i+2])
		}
	}
	return bytes.Equal(a, b)
}

// firstDifference tells where two packets begin to differ.
func firstDifference(want, got []byte) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d bytes in place of %d", len(got), len(want))
	}
	for i := range want {
		if want[i] != got[i] {
			return fmt.Sprintf("byte %d is %#02x in place of %#02x", i, got[i], want[i])
		}
	}
	return "they are equal"
}
