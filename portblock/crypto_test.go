package portblock

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"testing"
)

// The figures are those of an implementation in another language.
func TestRFC6431_06_07_10_CryptoVectors(t *testing.T) {
	for _, v := range []struct {
		key                 string
		first               [8]uint16
		e32768, e65535, d10 uint16
		sum                 string
	}{
		{"00000000000000000000000000000000", [8]uint16{25297, 63061, 36280, 36928, 35015, 42143, 57690, 29206}, 50303, 34576, 55823, "9ecaf44a5c2f1806"},
		{"000102030405060708090a0b0c0d0e0f", [8]uint16{35297, 25359, 10287, 48069, 53967, 47751, 23468, 33618}, 35935, 7462, 26886, "4d0b4c0f649f16e3"},
		{"2b7e151628aed2a6abf7158809cf4f3c", [8]uint16{36222, 2597, 35963, 33614, 9506, 20116, 41875, 34638}, 45419, 57583, 9567, "a705077a61fb0093"},
	} {
		var key [16]byte
		if _, err := hex.Decode(key[:], []byte(v.key)); err != nil {
			t.Fatal(err)
		}
		c := NewCipher(key)
		e := func(x int) uint16 {
			y, ok := c.Encrypt(uint16(x))
			if !ok {
				t.Fatalf("key %s: E(%d) is not defined", v.key, x)
			}
			return y
		}
		for i, want := range v.first {
			if got := e(1024 + i); got != want {
				t.Errorf("key %s: E(%d) = %d, want %d", v.key, 1024+i, got, want)
			}
		}
		if e(32768) != v.e32768 || e(65535) != v.e65535 {
			t.Errorf("key %s: E(32768), E(65535) = %d, %d", v.key, e(32768), e(65535))
		}
		if d, ok := c.Decrypt(1024); d != v.d10 || !ok {
			t.Errorf("key %s: D(1024) = %d, want %d", v.key, d, v.d10)
		}
		var buf []byte
		for x := 1024; x < 3072; x++ {
			buf = binary.BigEndian.AppendUint16(buf, e(x))
		}
		if s := sha256.Sum256(buf); hex.EncodeToString(s[:8]) != v.sum {
			t.Errorf("key %s: sum %x, want %s", v.key, s[:8], v.sum)
		}
		seen := map[uint16]bool{}
		for x := 1024; x < 65536; x++ {
			y := e(x)
			if d, ok := c.Decrypt(y); !ok || d != uint16(x) || seen[y] || y < 1024 {
				t.Fatalf("key %s: not a permutation at %d", v.key, x)
			}
			seen[y] = true
		}
		for x := range 1024 {
			if _, ok := c.Encrypt(uint16(x)); ok {
				t.Fatalf("E(%d) is defined", x)
			}
			if _, ok := c.Decrypt(uint16(x)); ok {
				t.Fatalf("D(%d) is defined", x)
			}
		}
	}
}
