package portblock

// roomyWords is the length of the bitmaps of one block of 256 ports.
const roomyWords = 2 * NumSpaces * 4

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

// Fetch reads what TakePort and ReturnPort will read, all at once, so that the memory behind it is fetched at the same time. The sum that it returns
// means nothing.
func (h *RoomyHolding) Fetch() uint64 {
	return h.bits[0] + h.bits[8] + h.bits[16] + uint64(h.block[0].live) + uint64(h.now) + uint64(h.live[0]) + uint64(h.rest[0].n)
}
