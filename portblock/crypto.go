package portblock

import "crypto/aes"

// cryptoLow is the lowest port of the domain of the keyed permutation.
const cryptoLow = 1024

// Cipher is the keyed permutation E(K, x) of 1024..65535 of RFC 6431 section
// 2.2.1: a three-round Feistel network of 16 bits with AES-128 as its round
// function, walked on while the image is below 1024.
//
// Both directions are tables of 128 KiB, computed once: on the fly a port
// would cost three and more AES calls.
//
// A Cipher is immutable and safe for concurrent use.
type Cipher struct{ enc, dec [1 << 16]uint16 }

// NewCipher computes the permutation of a key; it takes some milliseconds.
func NewCipher(key [16]byte) *Cipher {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // cannot be: 16 bytes are a legal key size
	}
	var msg, out [aes.BlockSize]byte
	feistel := func(x uint16) uint16 {
		left, right := byte(x), byte(x>>8)
		for round := byte(1); round <= 3; round++ {
			msg[0], msg[1] = round, right
			block.Encrypt(out[:], msg[:])
			left, right = right, left^out[0]
		}
		return uint16(right)<<8 | uint16(left)
	}
	c := new(Cipher)
	for x := cryptoLow; x < 1<<16; x++ {
		y := feistel(uint16(x))
		for y < cryptoLow {
			y = feistel(y)
		}
		c.enc[x], c.dec[y] = y, uint16(x)
	}
	return c
}

// Encrypt returns E(K, x), and false for x below 1024.
func (c *Cipher) Encrypt(x uint16) (uint16, bool) { return c.enc[x], x >= cryptoLow }

// Decrypt returns D(K, y), the x with E(K, x) = y, and false for y below 1024.
func (c *Cipher) Decrypt(y uint16) (uint16, bool) { return c.dec[y], y >= cryptoLow }
