package portblock

import "time"

// Off switches a duration of a Config off, where the zero value stands for
// the default.
const Off time.Duration = -1

// Defaults of a Config.
const (
	DefaultBlockSize   = 256
	DefaultHoldDown    = 120 * time.Second // RFC 6888 REQ-8
	DefaultGuardTime   = 120 * time.Second // RFC 7768 section 2
	DefaultIdleTimeout = 300 * time.Second // RFC 7768 section 2
	DefaultMaxBlocks   = 8
	// MinBlockSize and MaxBlockSize bound the size of contiguous blocks.
	MinBlockSize = 16
	MaxBlockSize = 4096
	// MaxSetSize bounds the size of a scattered set in a Layout.
	MaxSetSize = 16384
	// MaxHeldBlocks bounds MaxBlocks + MaxRetiring.
	MaxHeldBlocks = 1024
	// MaxDuration bounds every duration of a Config.
	MaxDuration = 10 * 365 * 24 * time.Hour
)

// Scheme says how the ports of an address are cut into blocks.
type Scheme uint8

const (
	// Contiguous cuts naturally aligned runs of BlockSize ports.
	Contiguous Scheme = iota
	// PSID cuts the sets of RFC 7597 section 5.1: block n holds the ports
	// whose bits PSIDOffset..PSIDOffset+PSIDLength-1 (from the top) are n.
	PSID
	// MaskValue cuts the sets of RFC 6431 section 2.1 by Mask.
	MaskValue
	// Crypto cuts the sets of RFC 6431 section 2.2: block n holds the images
	// of BlockSize numbers under a keyed permutation of 1024..65535.
	Crypto
	// GMA cuts the sets of RFC 7597 appendix B with any sharing ratio:
	// port = Ratio*Run*i + Run*n + j.
	GMA
)

// Order says which free block comes next.
type Order uint8

const (
	// OrderKeyed draws uniformly from the free blocks with a pseudorandom
	// function of OrderKey, the address and a counter.
	OrderKeyed Order = iota
	// OrderSequential takes the lowest free block.
	OrderSequential
)

// RestPolicy says what to do when only resting ports are left.
type RestPolicy uint8

const (
	// RestRefuse refuses with ErrResting.
	RestRefuse RestPolicy = iota
	// RestOldest gives the port that has rested longest, before its time.
	RestOldest
)

// PortChoice says which free port of the candidate blocks comes next.
type PortChoice uint8

const (
	// ChooseRandom draws uniformly from all free ports of the candidate
	// blocks (RFC 6056, RFC 7768 section 5).
	ChooseRandom PortChoice = iota
	// ChooseLinear takes the lowest free port of the block held longest.
	ChooseLinear
)

// Preference says how strictly a property of the internal port is kept.
type Preference uint8

const (
	// Ignore does not look at the property.
	Ignore Preference = iota
	// Prefer keeps the property where a free port allows it.
	Prefer
	// Require refuses ports that do not keep the property.
	Require
)

// Reservation keeps ports of some spaces out of all allocation.
type Reservation struct {
	Ports Range
	// Spaces says in which spaces; empty means all.
	Spaces SpaceSet
}

// Config describes how the ports of a pool's addresses are cut and given
// out. The zero Config is legal: contiguous blocks of 256 ports over
// 1024-65535, keyed order with a zero key (predictable: set OrderKey),
// random ports, 120 s of hold-down and of guard time.
type Config struct {
	// Pool is a number that every Block of the layout carries, so that a
	// block of another pool is detected. Zero is an ordinary number.
	Pool uint16

	// Spaces says which spaces are served. Zero serves all three.
	Spaces SpaceSet

	// Ports is the usable range. Zero means 1024-65535. Port 0 is never
	// given in the TCP and UDP spaces even when the range holds it;
	// identifier 0 is (RFC 792 does not reserve it).
	Ports Range

	// Reserved lists ports that are never given out. Entries may overlap and
	// may lie outside Ports. Address.SetReserved changes them at run time.
	Reserved []Reservation

	// Scheme says how blocks are cut. Zero is Contiguous.
	Scheme Scheme

	// BlockSize is the number of ports of a block, for Contiguous and Crypto:
	// a power of two from 16 to 4096. Zero means 256. A block of which a part
	// lies outside Ports or is reserved serves the rest.
	BlockSize int

	// FirstBlockSize is the size of a subscriber's first block, for
	// Contiguous only: a power of two from 16 to 4096. Zero means BlockSize.
	// A block of the larger size is given only where all the smaller ones in
	// it are usable and free; what is left over serves the smaller size.
	FirstBlockSize int

	// PSIDOffset and PSIDLength are a and k of RFC 7597 section 5.1, for
	// PSID: k 0 to 12, a + k at most 16. With a > 0 the ports below
	// 2^(16-a) belong to no set. There are 2^k blocks of 2^(16-k) ports
	// (2^(16-k) - 2^(16-a-k) usable ones when a > 0).
	PSIDOffset, PSIDLength uint8

	// Mask is the Port Range Mask of RFC 6431 section 2.1, for MaskValue: 2
	// to 12 bits set.
	Mask uint16

	// CryptoKey is K of RFC 6431 section 2.2.1, for Crypto. The RFC advises
	// a key of its own for each address: that is a Layout of its own.
	CryptoKey [16]byte

	// Ratio and Run are R (2 to 4096) and M (1 to 4096) of RFC 7597 appendix
	// B, for GMA, with R*M at most 65536.
	Ratio, Run int

	// Order says which free block comes next; OrderKey is the secret of
	// OrderKeyed (RFC 6056 section 3.4: 128 bits, unpredictable). The same
	// key and calls give the same blocks.
	Order    Order
	OrderKey [16]byte

	// HoldDown is the rest of a freed port, in steps of 1 ms. Zero means
	// 120 s (RFC 6888 REQ-8), Off none.
	HoldDown time.Duration

	// MaxResting is the maximum number of resting ports of a holding and
	// space (RFC 6888 REQ-8d); beyond it the one that has rested longest is
	// free at once. Zero means no maximum.
	MaxResting int

	// Resting says what happens when only resting ports are left.
	Resting RestPolicy

	// GuardTime is the rest of a freed block, never less than HoldDown. Zero
	// means 120 s or HoldDown, whichever is longer; Off none, which needs
	// HoldDown Off (RFC 7768 section 2).
	GuardTime time.Duration

	// IdleTimeout is how long a block without a live port and without a
	// packet stays with its subscriber. Zero means 300 s, Off releases it as
	// soon as its last port is returned (RFC 7768 section 2).
	IdleTimeout time.Duration

	// ActiveTimeout is the age at which a block is rotated out: no new port
	// is taken from it, its live ports live on. Zero and Off mean never.
	ActiveTimeout time.Duration

	// NoRefill gives each port of a block once: a returned port stays unused,
	// and the block retires when one of its spaces has no port left.
	NoRefill bool

	// Choice says which free port comes next. Preserve first tries the
	// internal port itself. Parity keeps an even port even and an odd one odd
	// (RFC 4787 REQ-4); Class keeps 0-1023 and 1024-65535 apart (REQ-3a).
	// With Require on a property for which the blocks at hand have no port,
	// another block is asked for.
	Choice   PortChoice
	Preserve bool
	Parity   Preference
	Class    Preference

	// KeepIdleInUse switches off that the block with the oldest packet is
	// left out while others have room (RFC 7768 section 2).
	KeepIdleInUse bool

	// MaxBlocks is the maximum of blocks from which a subscriber takes ports,
	// MaxRetiring that of blocks that were rotated out or are spent and wait
	// for their last port. Zero means 8, and MaxBlocks. Their sum is at most
	// 1024. With MaxRetiring blocks waiting none is rotated out, and a spent
	// block counts as one of MaxBlocks.
	MaxBlocks, MaxRetiring int

	// MaxPorts is the maximum of live ports of a subscriber by space,
	// MaxPortsTotal the one over all (RFC 6888 REQ-4). Zero means none.
	MaxPorts      [NumSpaces]int
	MaxPortsTotal int
}
