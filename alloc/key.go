package alloc

import "math/bits"

// keyTries is how many addresses of its own a key is led to before it takes
// the next open address after the last of them. So most keys of an address
// that closes spread over the pool, instead of falling on its neighbour.
const keyTries = 4

// TakeKey leases a share of the address that a key leads to. While the pool
// has the same addresses, in the same states, a key always finds the same one,
// also in another pool with the same ranges and seed.
//
// A change moves few keys, as with rendezvous hashing. When an address closes,
// only its keys move, and they return when it opens again. When Add grows the
// pool from n to m positions, (m-n)/m of the keys move, all of them to further
// addresses; of the keys whose own address is closed then, most move.
func (p *Pool) TakeKey(key uint64) (Lease, error) {
	if p.free.total == 0 || p.leases >= maxLeases {
		return Lease{}, p.refuse(false)
	}
	pos := jump(p.hash(key, 0), p.index.n)
	for try := uint64(1); !p.free.has(pos); try++ {
		if try == keyTries {
			return p.grant(p.from(pos)), nil
		}
		hi, _ := bits.Mul64(p.hash(key, try), p.index.n)
		pos = uint32(hi)
	}
	return p.grant(pos), nil
}

// hash mixes a key, the number of the try and the pool's secret.
func (p *Pool) hash(key, try uint64) uint64 {
	hi, lo := bits.Mul64(key^p.key[0], (p.key[1]|1)+try*0x9e3779b97f4a7c16)
	x := hi ^ lo ^ p.key[1]
	// Two rounds of multiply and shift (the finalizer of splitmix64): jump
	// needs every bit of its state to depend on every bit of the key.
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// jump is the jump consistent hash of Lamping and Veach (2014): it spreads
// keys evenly over 0 to n-1, and a growing n only moves keys to further
// numbers. n is not 0. The expected number of rounds is the logarithm of n.
func jump(key, n uint64) uint32 {
	at, next := uint64(0), uint64(0)
	for next < n {
		at = next
		key = key*2862933555777941757 + 1
		next = uint64(float64(at+1) * (float64(uint64(1)<<31) / float64(key>>33+1)))
	}
	return uint32(at)
}
