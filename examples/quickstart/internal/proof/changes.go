package proof

import "bytes"

// changes checks that only fields of the translated side differ. The places
// that may change are overwritten with zero on both sides; the rest must be equal.
func (p *Proof) changes(c Case, before ipv4) {
	p.rest.Cases++
	if len(c.Given) != len(c.Result) {
		p.rest.fail("packet %d had %d bytes and has %d", c.Number, len(c.Given), len(c.Result))
		return
	}
	given, result := bytes.Clone(c.Given), bytes.Clone(c.Result)
	for _, at := range mayChange(c.Way, before) {
		given[at], result[at] = 0, 0
	}
	if !bytes.Equal(given, result) {
		at := 0
		for given[at] == result[at] {
			at++
		}
		p.rest.fail("packet %d: byte %d was %#02x and is %#02x", c.Number, at, c.Given[at], c.Result[at])
	}
}

// mayChange lists the places in the packet that a translation may change.
func mayChange(way Way, h ipv4) []int {
	var at []int
	span := func(from, n int) {
		for i := from; i < from+n; i++ {
			at = append(at, i)
		}
	}
	// side marks the fields of one header at base; source and destination say which side is translated.
	side := func(base int, h ipv4, source, destination bool) {
		f := h.fieldsOf()
		data := base + len(h.head)
		span(base+10, 2)
		if f.checksum >= 0 {
			span(data+f.checksum, 2)
		}
		if source {
			span(base+12, 4)
			if f.srcPort >= 0 {
				span(data+f.srcPort, 2)
			}
		}
		if destination {
			span(base+16, 4)
			if f.dstPort >= 0 {
				span(data+f.dstPort, 2)
			}
		}
	}
	out, in := way != Inbound, way != Outbound
	if out && !atomic(h) {
		span(4, 2) // the identification, see identification
	}
	side(0, h, out, in)
	if q, ok := h.quotation(); ok {
		// The quoted packet went the other way.
		side(len(h.head)+8, q, in, out)
	}
	return at
}
