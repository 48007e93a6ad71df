package natcore

import (
	"math/bits"
	"time"
)

// receiverBuckets is the number of token buckets that receivers share.
const receiverBuckets = 1 << 12

// limiter bounds how many errors go out: in all, and to one receiver. Each bucket is one number: the time at which
// it is full again. A token costs an interval, and a bucket takes what fits into a second. Memory is
// the same whoever asks.
type limiter struct {
	key            uint64
	all, each      int64 // microseconds a token
	full           int64 // of the bucket for all
	fullOfReceiver []int64
}

const second = int64(time.Second / time.Microsecond)

func newLimiter(perSecond, perReceiver int, key uint64) limiter {
	return limiter{
		key: key, all: max(1, second/int64(perSecond)), each: max(1, second/int64(perReceiver)),
		fullOfReceiver: make([]int64, receiverBuckets),
	}
}

// allow takes a token of the receiver and one of all, or neither and returns false.
func (l *limiter) allow(receiver uint64, now time.Time) bool {
	at := now.UnixMicro()
	all := max(l.full, at) + l.all
	if all-at > max(second, l.all) || !l.allowOne(receiver, now) {
		return false
	}
	l.full = all
	return true
}

// allowOne takes a token of the receiver alone, or returns false.
func (l *limiter) allowOne(receiver uint64, now time.Time) bool {
	h, _ := bits.Mul64(receiver^l.key, 0x9e3779b97f4a7c15)
	h, _ = bits.Mul64(h^receiver, l.key|1)
	each := &l.fullOfReceiver[h%receiverBuckets]
	at := now.UnixMicro()
	one := max(*each, at) + l.each
	if one-at > max(second, l.each) {
		return false
	}
	*each = one
	return true
}

// receiverOf tells a receiver of errors: an address of a realm, or of the external one.
func receiverOf(d Direction, realm Realm, addr uint32) uint64 {
	if d == Outbound {
		return 1<<48 | uint64(addr)
	}
	return uint64(realm)<<32 | uint64(addr)
}
