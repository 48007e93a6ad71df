package natcore

import (
	"math/bits"
	"sync/atomic"

	"github.com/blocknat/blocknat/mapping/rewrite"
)

// identifiers gives IP identifications to datagrams that may be fragmented, as if the translator
// had sent them (RFC 6864 section 5.3.1): two hosts behind one external address that happen on the
// same number would otherwise have their fragments put together by the receiver.
//
// One counter serves all triples of external address, remote address and protocol that hash to it, and each triple has a
// permutation of the 16-bit numbers of its own, by a keyed Feistel network. So a triple's numbers repeat after 65,536 datagrams of its
// counter, not before, and show neither how much else is sent nor what comes next (ATK-14 in CONFORMANCE.md). The
// counters take 256 KiB, whoever sends; no lock is taken.
type identifiers struct {
	counters []atomic.Uint32 // nil: identifications stay as they are
	k0, k1   uint64
}

// idCounters is the number of counters, a power of two.
const idCounters = 1 << 16

func (x *identifiers) init(keep bool, k0, k1 uint64) {
	if keep {
		return
	}
	x.counters = make([]atomic.Uint32, idCounters)
	// The constants (digits of pi) keep the mixing good under a key of few bits.
	x.k0, x.k1 = k0^0x243f6a8885a308d3, k1^0x13198a2e03707344|1
}

// next returns the identification of a datagram from an external address to another address.
func (x *identifiers) next(src, dst uint32, proto uint8) uint16 {
	hi, lo := bits.Mul64((uint64(src)<<32|uint64(dst))^x.k0, x.k1)
	triple, lo := bits.Mul64(hi^lo^uint64(proto)<<56^x.k0, x.k1)
	triple ^= lo
	n := uint16(x.counters[triple%idCounters].Add(1))
	return permute(n, triple^x.k0, x.k1)
}

// permute is a permutation of the 16-bit numbers for each key: four rounds of a Feistel network over bytes.
func permute(n uint16, key, multiplier uint64) uint16 {
	l, r := uint8(n>>8), uint8(n)
	for round := range uint64(4) {
		hi, _ := bits.Mul64(bits.RotateLeft64(key, int(round)*16)^(uint64(r)<<8|round)*0x9e3779b97f4a7c15, multiplier)
		l, r = r, l^uint8(hi>>28)
	}
	return uint16(l)<<8 | uint16(r)
}

// finishes reports whether a translated packet may need more than its endpoints changed: whether it is no atomic
// datagram (RFC 6864 section 4), or a SYN.
func finishes(h *rewrite.Packet4) bool {
	return !h.Atomic() || h.TCPFlags&rewrite.TCPSyn != 0
}

// finish changes in a translated packet what is neither address nor port: the identification of a datagram that
// leaves, unless it is a fragment, and the maximum segment size of a SYN. The identification of one that arrives is unique for its
// sender and external address, and therefore for its sender and receiver too.
func (c *call) finish(p *Packet, h *rewrite.Packet4, verdict Verdict) {
	if verdict != Forward && verdict != Hairpin {
		return
	}
	e := c.e
	if e.ids.counters != nil && p.Direction == Outbound && h.Flags&(rewrite.DontFragment|rewrite.MoreFragments|rewrite.NonFirst) == 0 {
		h.SetID(p.Bytes, e.ids.next(h.Src, h.Dst, h.Proto))
	}
	if e.mss != 0 {
		h.ClampMSS(p.Bytes, e.mss)
	}
}
