package alloc

// Config describes a pool. New copies what it needs and never changes it.
type Config struct {
	// Name says which pool errors and leases speak of. Leases of pools with
	// different names are told apart. Default: empty.
	Name string

	// Ranges are the pool's addresses, in the order in which they get their
	// positions. They must not overlap (RFC 6888 REQ-3: any mix, not
	// contiguous). An empty list makes a pool that refuses until Add.
	Ranges []Range

	// Exclude are addresses inside Ranges that never serve. They keep
	// positions. Parts outside of Ranges are ignored.
	Exclude []Range

	// Shares is how many subscribers an address serves at once: 1 is exclusive
	// use, 0 means no limit.
	Shares uint32

	// Spill says what a subscriber gets whose address is full: false (default)
	// refuses, as paired pooling asks (RFC 6888 REQ-2, RFC 4787 REQ-2); true
	// lets Pool.Spill take a share of a further address.
	Spill bool

	// Seed keys random choice, the choice among equals and the hash of TakeKey.
	// Draw it from crypto/rand to make choices unpredictable. The same seed
	// and calls give the same choices; the zero seed is legal and meant for
	// tests.
	Seed [32]byte
}
