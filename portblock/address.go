package portblock

import (
	"iter"
	"time"
)

// Address is the state of the blocks of ONE external address.
//
// An Address is plain data and not safe for concurrent use.
type Address struct{ layout *Layout }

// NewAddress returns an address with all usable blocks free. The index names
// the address in every Block.
func (l *Layout) NewAddress(index uint32) *Address { return &Address{layout: l} }

// Index returns the index given to NewAddress.
func (a *Address) Index() uint32 { return 0 }

// Layout returns the layout of the address.
func (a *Address) Layout() *Layout { return a.layout }

// TakeBlock leases a free block of the first-block size to owner:
// free -> heating. It fails with ErrNoBlock and then changes nothing.
func (a *Address) TakeBlock(owner uint64, now time.Time) (Block, error) {
	return a.TakeBlockOf(owner, Want{}, now)
}

// TakeBlockOf is like TakeBlock for the kind of block that want describes;
// Holding.Want says which one a subscriber needs next.
func (a *Address) TakeBlockOf(owner uint64, want Want, now time.Time) (Block, error) {
	return Block{}, ErrNoBlock
}

// TakeBlockAt leases the block that holds port, by name. It fails with
// ErrNotInRange, ErrReserved, ErrInUse or ErrCooling and then changes nothing.
func (a *Address) TakeBlockAt(port uint16, owner uint64, want Want, now time.Time) (Block, error) {
	return Block{}, ErrNoBlock
}

// CancelBlock takes back a lease of which no port was ever used:
// heating -> free, without a guard time. It fails with ErrInvalid,
// ErrForeign or ErrStale and then changes nothing.
func (a *Address) CancelBlock(b Block) error { return ErrStale }

// CoolBlock ends a lease: heating -> cooling. The block is free when the
// guard time is over. It fails as CancelBlock does.
func (a *Address) CoolBlock(b Block, now time.Time) error { return ErrStale }

// NextFree returns when the next cooling block becomes free, and false when
// none is cooling.
func (a *Address) NextFree() (time.Time, bool) { return time.Time{}, false }

// FreeBlocks returns the number of free blocks at now, in units of the
// smaller block size.
func (a *Address) FreeBlocks(now time.Time) int { return 0 }

// HasRoom says whether TakeBlockOf(want) would succeed at now.
func (a *Address) HasRoom(want Want, now time.Time) bool { return false }

// InUse says whether a block is heating or cooling at now. An address that is
// not in use can be dropped and made anew.
func (a *Address) InUse(now time.Time) bool { return false }

// Ownership is the answer of Owner: who holds a port's block since when. In
// the states Free and Unusable the owner is 0 and the Block invalid.
type Ownership struct {
	Owner uint64
	State State
	Block Block
	// Since is when the state began, zero for Free and Unusable.
	Since time.Time
}

// Owner tells who holds the block of a port at now. It changes nothing. The
// owner of a cooling block is the last one, kept for tracing.
func (a *Address) Owner(port uint16, now time.Time) Ownership { return Ownership{} }

// Holds says whether b is heating on this address.
func (a *Address) Holds(b Block) bool { return false }

// Conflict is a heating block that holds newly reserved ports.
type Conflict struct {
	Owner uint64
	Block Block
}

// SetReserved replaces the reserved ports of this address and appends the
// heating blocks that hold ports reserved by r and not before; their owners'
// Holdings are told by Holding.SetReserved. Nil means the layout's own.
func (a *Address) SetReserved(r *Reserved, dst []Conflict, now time.Time) []Conflict { return dst }

// Reserved returns the reserved ports of the address.
func (a *Address) Reserved() *Reserved { return nil }

// BlockInfo describes one block in a dump.
type BlockInfo struct {
	Block Block // invalid in the states Free and Unusable
	// Number is the position, in units of the smaller block size; Set the
	// ports.
	Number int
	Set    Set
	State  State
	Owner  uint64
	// Since is when the state began; Until when a cooling block is free.
	Since, Until time.Time
}

// Blocks yields all blocks by rising number, as they stand at now. The
// address must not be changed meanwhile; AppendBlocks copies by pages.
func (a *Address) Blocks(now time.Time) iter.Seq[BlockInfo] { return func(func(BlockInfo) bool) {} }

// AppendBlocks appends up to limit blocks from number on and returns the
// number to go on with, or -1 at the end. Nothing refers to the address
// afterwards, so no lock need be held while the page is formatted.
func (a *Address) AppendBlocks(dst []BlockInfo, from, limit int, now time.Time) ([]BlockInfo, int) {
	return dst, -1
}

// Ranges yields the ports in blocks of state s, merged and rising.
func (a *Address) Ranges(s State, now time.Time) iter.Seq[Range] { return func(func(Range) bool) {} }

// BlockCounts counts blocks by state, in units of the smaller block size.
type BlockCounts struct {
	Free, Heating, Cooling, Unusable int
	// LargestFreeRun is the longest run of free blocks side by side.
	LargestFreeRun int
	// Refused counts refusals since the address was made, by reason.
	RefusedNoBlock, RefusedReserved, RefusedInUse, RefusedCooling uint64
}

// Counts returns the counts at now.
func (a *Address) Counts(now time.Time) BlockCounts { return BlockCounts{} }

// Explain adds the pool, the address and the counts to a refusal.
func (a *Address) Explain(err error, now time.Time) *RefusalError { return &RefusalError{Err: err} }

// AppendSnapshot appends the state with version and checksum.
func (a *Address) AppendSnapshot(dst []byte) []byte { return dst }

// RestoreAddress reads a snapshot and returns the address and the number of
// bytes used. Damaged or foreign bytes give ErrSnapshot or ErrSnapshotLayout.
// The reserved ports are the layout's: call SetReserved for others.
func (l *Layout) RestoreAddress(src []byte) (*Address, int, error) { return nil, 0, ErrSnapshot }

// CheckInvariants returns an error when the state contradicts itself.
func (a *Address) CheckInvariants() error { return nil }
