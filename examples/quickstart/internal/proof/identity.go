package proof

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/google/gopacket/layers"
)

// An address keeps an identification for one datagram for so long (RFC 6864 section 4.3, the lifetime of a datagram).
const lifetime = 120 * time.Second

// datagramKey tells a datagram by its header (RFC 791 section 3.2).
type datagramKey struct {
	src, dst netip.Addr
	protocol layers.IPProtocol
	id       uint16
}

// numbering is what became of a datagram, or who has an identification.
type numbering struct {
	datagram datagramKey // before for a key after, and the other way round
	whole    bool        // not fragmented: the datagram is one packet
	at       time.Time
}

func idOf(h ipv4) uint16 { return binary.BigEndian.Uint16(h.head[4:]) }

// atomic reports whether a datagram is neither fragmented nor open to
// fragmentation; its identification means nothing then (RFC 6864 section 4).
func atomic(h ipv4) bool { return !h.fragment && h.head[6]&0x40 != 0 }

// identification checks the identification of a datagram that leaves and may be
// fragmented: all fragments have the same, and no other datagram has it between the same
// addresses within its lifetime, whichever host sent that (RFC 6864 section 5.3.1).
func (p *Proof) identification(c Case, before, after ipv4) {
	if c.Way == Inbound || atomic(before) {
		return
	}
	p.numbers.Cases++
	from := datagramKey{before.src, before.dst, before.protocol, idOf(before)}
	to := datagramKey{after.src, after.dst, after.protocol, idOf(after)}
	seen, ok := p.datagrams[from]
	recent := ok && c.Time.Sub(seen.at) < lifetime
	part := recent && before.fragment && !seen.whole // of a datagram that was seen
	if part && seen.datagram != to {
		p.numbers.fail("packet %d is a fragment of a datagram that left as %v, and leaves as %v", c.Number, seen.datagram, to)
	}
	if other, ok := p.numbered[to]; ok && c.Time.Sub(other.at) < lifetime && !(part && other.datagram == from) {
		p.numbers.fail("packet %d leaves as %v, which another datagram was within %v", c.Number, to, lifetime)
	}
	p.datagrams[from] = numbering{to, !before.fragment, c.Time}
	p.numbered[to] = numbering{from, !before.fragment, c.Time}
}
