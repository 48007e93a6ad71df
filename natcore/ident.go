package natcore

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"
	"sync/atomic"
	"time"

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
//
// A snapshot has the counters and the nonce, so that a restored engine goes on in the same permutations. It may be older than what was sent
// last, so the counters move on by what one may have counted since: 65,536 in 120 s, more than which no engine sends between two addresses
// without repeating itself anyway. So half that many, sent with a snapshot that is up to a minute old, are not repeated; of an older
// snapshot nobody knows where the counters were.
type identifiers struct {
	counters []atomic.Uint32 // nil: identifications stay as they are
	k0, k1   uint64
	nonce    uint64 // the time at which the first engine began: one without its snapshot has other permutations
}

// idCounters is the number of counters, a power of two.
const idCounters = 1 << 16

// idLifetime is how long a datagram may be under way, for which its identification is not used again (RFC 7857 section 10).
const idLifetime = 120 * time.Second

func (x *identifiers) init(c *Config, nonce uint64) {
	if c.KeepID {
		return
	}
	x.counters = make([]atomic.Uint32, idCounters)
	x.rekey(c, nonce)
}

// rekey sets the permutations, by a hash of the seed: they are the same whatever else is drawn from that.
func (x *identifiers) rekey(c *Config, nonce uint64) {
	sum := sha256.Sum256(append([]byte("natcore identifications"), c.Seed[:]...))
	x.nonce = nonce
	x.k0, x.k1 = binary.BigEndian.Uint64(sum[:])^nonce, binary.BigEndian.Uint64(sum[8:])|1
}

// save writes the nonce and the counters that are not zero.
func (x *identifiers) save(w *writer) {
	w.u(x.nonce)
	at := len(w.b)
	w.b = append(w.b, 0, 0, 0) // their number
	n, last := 0, -1
	for i := range x.counters {
		if v := uint16(x.counters[i].Load()); v != 0 {
			w.u(uint64(i-last-1), uint64(v))
			n, last = n+1, i
		}
	}
	w.b[at], w.b[at+1], w.b[at+2] = byte(n>>16), byte(n>>8), byte(n)
}

// identifications reads the counters of a snapshot and moves them on by the time that has passed since, in milliseconds.
func (r *reader) identifications(passed int64) {
	x := &r.e.ids
	nonce, b := r.u(math.MaxUint64), r.bytes(3)
	const life = int64(idLifetime / time.Millisecond)
	ahead := uint32((max(passed, 0)%life*idCounters + life - 1) / life)
	if r.err == nil && x.counters != nil && nonce != 0 {
		x.rekey(&r.e.cfg, nonce)
		for i := range x.counters {
			x.counters[i].Store(ahead)
		}
	}
	at := uint64(0)
	for range int(b[0])<<16 | int(b[1])<<8 | int(b[2]) {
		at += r.u(most16)
		v := uint32(r.u(most16))
		if r.err == nil && at >= idCounters {
			r.bad("there are more counters of identifications than there can be")
		}
		if r.err != nil {
			return
		}
		if x.counters != nil {
			x.counters[at].Store(v + ahead)
		}
		at++
	}
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
