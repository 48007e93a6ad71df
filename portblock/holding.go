package portblock

import (
	"iter"
	"math/rand/v2"
	"time"
)

// Holding is the blocks and ports of ONE subscriber.
//
// A Holding is plain data and not safe for concurrent use. It must not be
// copied after the first AddBlock.
type Holding struct{ layout *Layout }

// NewHolding returns an empty holding.
func (l *Layout) NewHolding() *Holding { return &Holding{layout: l} }

// Init makes an embedded Holding empty, keeping the memory it has.
func (h *Holding) Init(l *Layout) {}

// Want says which block to ask an address for when TakePort(s) answered
// ErrNeedBlock.
func (h *Holding) Want(s Space) Want { return Want{} }

// AddBlock adds a leased block; its ports can be taken from now on. It fails
// with ErrInvalid, ErrForeign, ErrInUse (the block is held already) or
// ErrMaxBlocks and then changes nothing.
func (h *Holding) AddBlock(b Block, now time.Time) error { return ErrInvalid }

// AddBlockReserved is like AddBlock for an address whose reserved ports are
// not the layout's.
func (h *Holding) AddBlockReserved(b Block, r *Reserved, now time.Time) error { return ErrInvalid }

// TakePort takes a free port of space s by the layout's policy. The internal
// port steers Preserve, Parity and Class. rnd must be unpredictable to
// outsiders (ChaCha8); with nil the choice is the linear one.
//
// A refusal changes nothing: ErrNeedBlock (add a block and ask again),
// ErrMaxBlocks, a LimitError (ErrMaxPorts), ErrResting, ErrInvalid.
func (h *Holding) TakePort(s Space, internal uint16, rnd rand.Source, now time.Time) (Port, error) {
	return Port{}, ErrNeedBlock
}

// TakeHeldPort is like TakePort for a caller that cannot get another block:
// where TakePort answers ErrNeedBlock it applies Config.Resting and answers
// ErrResting or ErrNoBlock.
func (h *Holding) TakeHeldPort(s Space, internal uint16, rnd rand.Source, now time.Time) (Port, error) {
	return Port{}, ErrNoBlock
}

// TakePortAt takes one port by name. It fails with ErrNotHeld (no held block
// has it), ErrInUse, ErrResting, ErrReserved, ErrMaxPorts or ErrInvalid and
// then changes nothing.
func (h *Holding) TakePortAt(s Space, address uint32, port uint16, now time.Time) error {
	return ErrNotHeld
}

// ReturnPort gives a port back; it rests for the hold-down. It fails with
// ErrNotHeld when the port is not live here (double or foreign return) and
// then changes nothing.
func (h *Holding) ReturnPort(s Space, address uint32, port uint16, now time.Time) error {
	return ErrNotHeld
}

// Touch notes a packet of block b at now, in either direction (RFC 7768
// section 2, "longest idle"). It says whether the block is held.
func (h *Holding) Touch(b Block, now time.Time) bool { return false }

// TouchPort is like Touch for the block that holds the port.
func (h *Holding) TouchPort(address uint32, port uint16, now time.Time) bool { return false }

// AppendIdle appends the blocks that are to be released at now: no port is
// live in them, and they are idle for Config.IdleTimeout, rotated out or
// spent. The caller removes each with RemoveBlock.
func (h *Holding) AppendIdle(dst []Block, now time.Time) []Block { return dst }

// NextIdle returns the earliest time at which AppendIdle has something to say
// if nothing happens until then, and false when no block is without a live
// port.
func (h *Holding) NextIdle() (time.Time, bool) { return time.Time{}, false }

// RemoveBlock takes a block out of the holding; resting ports in it are
// covered by the guard time of Address.CoolBlock from then on. It fails with
// ErrNotHeld, ErrStale or ErrPortsLive and then changes nothing.
func (h *Holding) RemoveBlock(b Block, now time.Time) error { return ErrNotHeld }

// RetireBlock closes a block by hand: no new port is taken from it (drain).
func (h *Holding) RetireBlock(b Block, now time.Time) error { return ErrNotHeld }

// Ports returns the number of live ports of space s.
func (h *Holding) Ports(s Space) int { return 0 }

// Blocks returns the number of blocks held, retiring ones included.
func (h *Holding) Blocks() int { return 0 }

// FreePorts returns the number of ports of space s that can be taken at now
// from the blocks at hand.
func (h *Holding) FreePorts(s Space, now time.Time) int { return 0 }

// Resting returns the number of resting ports of space s at now.
func (h *Holding) Resting(s Space, now time.Time) int { return 0 }

// BlockOf returns the block that holds the port.
func (h *Holding) BlockOf(address uint32, port uint16) (Block, bool) { return Block{}, false }

// PortConflict is a live port that is newly reserved.
type PortConflict struct {
	Space Space
	Port  Port
}

// SetReserved tells the holding that the reserved ports of an address are r
// (nil: the layout's own) and appends the live ports that are reserved now:
// they live on, and are not given again after their return.
func (h *Holding) SetReserved(address uint32, r *Reserved, dst []PortConflict, now time.Time) []PortConflict {
	return dst
}

// HeldBlock describes one block of a holding.
type HeldBlock struct {
	Block Block
	// Live, Resting and Free count ports by space.
	Live, Resting, Free [NumSpaces]int
	// Retiring says that no new port is taken from the block.
	Retiring bool
	// Added is when the block came, LastPacket the latest packet known.
	Added, LastPacket time.Time
}

// All yields the blocks in the order in which they came.
func (h *Holding) All(now time.Time) iter.Seq[HeldBlock] { return func(func(HeldBlock) bool) {} }

// Live yields the live ports of space s, block by block. The holding must not
// be changed meanwhile.
func (h *Holding) Live(s Space) iter.Seq[Port] { return func(func(Port) bool) {} }

// Explain adds counts and limits to a refusal of TakePort.
func (h *Holding) Explain(err error, s Space, now time.Time) *HoldingError {
	return &HoldingError{Err: err}
}

// AppendSnapshot appends the state, resting ports included, with version and
// checksum.
func (h *Holding) AppendSnapshot(dst []byte) []byte { return dst }

// RestoreHolding reads a snapshot and returns the holding and the number of
// bytes used. Damaged or foreign bytes give ErrSnapshot or ErrSnapshotLayout.
func (l *Layout) RestoreHolding(src []byte) (*Holding, int, error) { return nil, 0, ErrSnapshot }

// CheckInvariants returns an error when the state contradicts itself.
func (h *Holding) CheckInvariants() error { return nil }
