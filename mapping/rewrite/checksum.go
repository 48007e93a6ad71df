package rewrite

import (
	"encoding/binary"
	"math/bits"
)

// Fold reduces a sum of 16-bit, 32-bit or 64-bit big-endian words to its 16-bit
// one's complement sum. It works because 2^16, 2^32 and 2^48 are all 1 modulo
// 65,535 (RFC 1071 section 2). The result is 0 only if sum is 0.
func Fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff // below 2^33
	sum = sum>>16 + sum&0xffff     // below 2^18
	sum = sum>>16 + sum&0xffff     // at most 0x10002
	return uint16(sum>>16 + sum&0xffff)
}

// Sum returns initial plus the one's complement sum of b, not folded to 16 bits
// and not complemented. A last odd byte counts as the high half of a word (RFC
// 1071 section 1). Sums of several pieces may be chained through initial as long
// as every piece but the last has an even length.
func Sum(b []byte, initial uint64) uint64 {
	var carry uint64
	sum := initial
	for len(b) >= 32 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	// The tail is at most 7 bytes: it becomes one left-aligned word.
	var tail uint64
	shift := 56
	for _, c := range b {
		tail |= uint64(c) << shift
		shift -= 8
	}
	sum, carry = bits.Add64(sum, tail, carry)
	sum, carry = bits.Add64(sum, 0, carry)
	return sum + carry
}

// Checksum returns the Internet checksum of b: the complement of its one's
// complement sum (RFC 1071). Over data that contain a right checksum it is 0.
func Checksum(b []byte) uint16 { return ^Fold(Sum(b, 0)) }

// PseudoSum4 returns the sum of the IPv4 pseudo header of TCP, UDP and UDP-Lite
// (RFC 793, RFC 768), to be used as initial of Sum. Addresses are numeric, length
// is that of the transport header and its payload in bytes.
func PseudoSum4(src, dst uint32, proto uint8, length uint16) uint64 {
	return uint64(src) + uint64(dst) + uint64(proto) + uint64(length)
}

// PseudoSum6 returns the sum of the IPv6 pseudo header (RFC 8200 section 8.1).
func PseudoSum6(src, dst *[16]byte, proto uint8, length uint32) uint64 {
	return Sum(dst[:], Sum(src[:], uint64(proto)+uint64(length)))
}

// addSum adds two unfolded sums. PseudoSum6 may return any 64-bit value, so the
// carry has to come around.
func addSum(a, b uint64) uint64 {
	s, carry := bits.Add64(a, b, 0)
	return s + carry
}

// Delta is the change of a one's complement sum: what incremental updates are
// made of. The zero value is no change. Deltas of several changes are added up
// first, so that a checksum is updated once, whatever changed.
type Delta uint64

// Word16 adds the change of one 16-bit word.
func (d Delta) Word16(old, new uint16) Delta { return d + Delta(^old) + Delta(new) }

// Word32 adds the change of one 32-bit word.
func (d Delta) Word32(old, new uint32) Delta { return d + Delta(^old) + Delta(new) }

// Addr16 adds the change of a 16-byte address.
func (d Delta) Addr16(old, new *[16]byte) Delta {
	for i := 0; i < 16; i += 4 {
		d = d.Word32(binary.BigEndian.Uint32(old[i:]), binary.BigEndian.Uint32(new[i:]))
	}
	return d
}

// Update returns the checksum after the change: HC' = ~(~HC + ~m + m') (RFC 1624
// equation 3). A right checksum stays right, a wrong one stays wrong by the same
// amount. One's complement has two zeros: a result of zero comes out as 0x0000,
// which UDP must send as 0xFFFF. So a checksum of 0xFFFF that is changed and
// changed back is 0x0000 then, the same value; senders of IP, TCP and ICMP that
// complement their sum never write 0xFFFF.
func (d Delta) Update(checksum uint16) uint16 { return d.reduce().update(checksum) }

// UpdatePartial returns the uncomplemented sum after the change, for fields that
// hold only the pseudo header's sum (see PartialChecksum).
func (d Delta) UpdatePartial(sum uint16) uint16 { return Fold(uint64(sum) + uint64(d.reduce())) }

// reduce keeps the value modulo 65,535 and leaves less than 2^33.
func (d Delta) reduce() Delta { return d>>32 + d&0xffffffff }

// update is Update for deltas below 2^40: a handful of words. It is small enough
// to be inlined.
func (d Delta) update(checksum uint16) uint16 {
	x := uint64(d) + uint64(^checksum)
	y := uint32(x>>16) + uint32(uint16(x))
	// Adding the halves swapped leaves their end-around sum in the high half.
	return ^uint16((y + bits.RotateLeft32(y, 16)) >> 16)
}
