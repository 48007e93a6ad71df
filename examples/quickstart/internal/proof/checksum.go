package proof

import (
	"encoding/binary"

	"github.com/google/gopacket/layers"
)

// add adds b to a ones' complement sum as 16-bit words (RFC 1071), with a zero
// behind an odd last byte. The carries stay in the upper bits.
func add(sum uint64, b []byte) uint64 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// residue folds a sum to what it is modulo 65535, where 0 and 0xffff are one
// value. Over bytes with a right checksum field it is 0.
func residue(sum uint64) uint16 { return uint16(sum % 0xffff) }

// pseudo is the sum over the pseudo header (RFC 768, RFC 9293 section 3.1).
func (h ipv4) pseudo(length int) uint64 {
	return add(uint64(h.protocol)+uint64(length), h.head[12:20])
}

// transport returns the residue over the transport header and data that are
// there, and whether that is all that the checksum covers.
func (h ipv4) transport() (r uint16, whole bool) {
	data, whole := h.data, h.whole()
	switch h.protocol {
	case layers.IPProtocolICMPv4:
		return residue(add(0, data)), whole
	case layers.IPProtocolUDP:
		length := h.wire
		// The UDP length may be less than the IP packet's; then the rest is not covered.
		if u := int(binary.BigEndian.Uint16(data[4:])); u >= 8 && u <= length {
			length = u
			data = data[:min(u, len(data))]
			whole = !h.fragment && len(data) == u
		}
		return residue(add(h.pseudo(length), data)), whole
	default:
		return residue(add(h.pseudo(h.wire), data)), whole
	}
}

// checksums compares all checksums of a packet, and of the one that it quotes.
func (p *Proof) checksums(c Case, before, after ipv4) {
	p.compare(c, "IP header", residue(add(0, before.head)), residue(add(0, after.head)), true)
	p.transportSums(c, "", before, after)
	qb, ok := before.quotation()
	if !ok {
		return
	}
	qa, ok := after.quotation()
	if !ok {
		p.decoded.fail("packet %d quotes a packet before the translation and none after it", c.Number)
		return
	}
	p.compare(c, "quoted IP header", residue(add(0, qb.head)), residue(add(0, qa.head)), true)
	p.transportSums(c, "quoted ", qb, qa)
}

func (p *Proof) transportSums(c Case, quoted string, before, after ipv4) {
	fb, fa := before.fieldsOf(), after.fieldsOf()
	if fb.checksum < 0 || fa.checksum < 0 {
		return // the field itself is not there
	}
	name := quoted + before.protocol.String()
	if before.protocol == layers.IPProtocolUDP {
		b, a := binary.BigEndian.Uint16(before.data[6:]), binary.BigEndian.Uint16(after.data[6:])
		switch {
		case b == 0:
			p.none.Cases++
			if a != 0 {
				p.none.fail("packet %d: the %s checksum was 0 and is %#04x", c.Number, name, a)
			}
			return
		case a == 0: // a computed 0 is sent as 0xffff (RFC 768)
			p.none.Cases++
			p.none.fail("packet %d: the %s checksum was %#04x and is 0", c.Number, name, b)
			return
		}
	}
	rb, wholeB := before.transport()
	ra, wholeA := after.transport()
	p.compare(c, name, rb, ra, wholeB && wholeA)
}

// compare judges one checksum by the residues before and after.
func (p *Proof) compare(c Case, name string, before, after uint16, whole bool) {
	switch {
	case !whole:
		p.cut.Cases++
		if before != after {
			p.cut.fail("packet %d: the %s checksum differs by %#04x from what the change asks for", c.Number, name, after-before)
		}
	case before == 0:
		p.right.Cases++
		if after != 0 {
			p.right.fail("packet %d: the %s checksum was right and is wrong", c.Number, name)
		}
	default:
		p.wrong.Cases++
		if after == 0 {
			p.wrong.fail("packet %d: the %s checksum was wrong and is right", c.Number, name)
		}
	}
}
