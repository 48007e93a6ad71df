package deterministic

import (
	"crypto/aes"
	"net/netip"
)

// feistel is function 1 of RFC 6431 section 2.2.1 for one key: a Feistel
// network of three rounds over the two bytes of a port. The round function sees
// one byte, so its 3*256 values are kept (768 bytes) and a port costs three
// look-ups instead of three AES calls.
type feistel [3][256]uint8

// newFeistel fills in F(round, x) = first byte of AES-128(key, [round, x, 0...]),
// rounds numbered from 1.
func newFeistel(key [16]byte) *feistel {
	c, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // broken invariant: a key of 16 bytes is always legal
	}
	f := new(feistel)
	for round := range f {
		for x := range f[round] {
			in := [16]byte{byte(round + 1), byte(x)}
			var out [16]byte
			c.Encrypt(out[:], in[:])
			f[round][x] = out[0]
		}
	}
	return f
}

// addressKey derives the key of one external address (RFC 6431 section 2.2.1
// asks for different keys): AES-128(key, 16-byte form of the address).
func addressKey(key [16]byte, a netip.Addr) (out [16]byte) {
	c, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // broken invariant: a key of 16 bytes is always legal
	}
	in := a.As16()
	c.Encrypt(out[:], in[:])
	return out
}

// encrypt maps a usable port to a usable port. A result that is reserved goes
// through again, which is the RFC's walk over ports below 1024 for any set of
// reserved ports.
func (f *feistel) encrypt(l *layout, port uint16) uint16 {
	for {
		left, right := uint8(port), uint8(port>>8)
		for round := range f {
			left, right = right, left^f[round][right]
		}
		port = uint16(right)<<8 | uint16(left)
		if _, ok := l.rank(port); ok {
			return port
		}
	}
}

// decrypt is the inverse of encrypt on usable ports.
func (f *feistel) decrypt(l *layout, port uint16) uint16 {
	for {
		left, right := uint8(port), uint8(port>>8)
		for round := len(f) - 1; round >= 0; round-- {
			left, right = right^f[round][left], left
		}
		port = uint16(right)<<8 | uint16(left)
		if _, ok := l.rank(port); ok {
			return port
		}
	}
}
