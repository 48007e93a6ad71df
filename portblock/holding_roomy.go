package portblock

import "github.com/blocknat/blocknat/internal/prefetch"

// roomyWords is the length of the bitmaps of one block of 256 ports: 64 bytes a space.
const roomyWords = 2 * NumSpaces * 4

// roomyLines is the number of cache lines, of 64 bytes, that a Holding and its block take before the bitmaps.
const roomyLines = 3

// RoomyHolding is a Holding that has room for one block of up to 256 ports within itself. Most subscribers have one, and where there are many
// of them no bit of any is in a cache: then all that TakePort and ReturnPort read lies side by side. With a further
// block the room stays unused.
type RoomyHolding struct {
	Holding
	block [1]held
	bits  [roomyWords]uint64
}

// Init makes an embedded RoomyHolding empty.
func (h *RoomyHolding) Init(l *Layout) {
	h.Holding = Holding{blocks: h.block[:0]}
	if l.slotWords <= len(h.bits) {
		h.words = h.bits[:0]
	}
	h.Holding.Init(l)
}

// Prefetch asks for the memory that TakePort and ReturnPort will read for ports of space s, and does not wait for it. It reads nothing, so it may be called
// at any time, by anyone.
func (h *RoomyHolding) Prefetch(s Space) {
	prefetch.Lines(h, roomyLines)
	if s.IsValid() {
		prefetch.Line(&prefetch.Known(h).bits[int(s)*len(h.bits)/NumSpaces])
	}
}

// PrefetchRests asks for the memory that ReturnPort will read where ports rest. It reads the holding, which Prefetch has asked for.
func (h *RoomyHolding) PrefetchRests() {
	if h.rests != nil {
		prefetch.Pair(h.rests)
	}
}
