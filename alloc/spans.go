package alloc

import (
	"iter"

	"github.com/RoaringBitmap/roaring/v2"
)

// Span is a run of neighbouring addresses of one range with the same status.
type Span struct {
	Range  Range
	Status Status
}

// Spans iterates over merged runs of addresses with the same status, in the
// order of positions, from a position on; addresses that were removed are left
// out. Its cost follows the number of runs and of pages in use, not the number
// of addresses. The pool must not change meanwhile.
func (p *Pool) Spans(from uint32) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		marks := []*borders{
			bordersOf(p.reserved), bordersOf(p.drained), bordersOf(p.excluded), bordersOf(p.removed),
		}
		for pos := uint64(from); pos < p.index.n; {
			b := p.index.block(pos)
			limit := b.base + b.r.Len()
			status := p.status(uint32(pos))
			end := p.spanEnd(uint32(pos), limit, marks)
			for end < limit && p.status(uint32(end)) == status {
				end = p.spanEnd(uint32(end), limit, marks)
			}
			r := Range{b.r.offset(pos - b.base), b.r.offset(end - 1 - b.base)}
			if status != 0 && !yield(Span{Range: r, Status: status}) {
				return
			}
			pos = end
		}
	}
}

// spanEnd returns a position up to which the status is that of pos.
func (p *Pool) spanEnd(pos uint32, limit uint64, marks []*borders) uint64 {
	end := min(limit, p.untouched().change(pos), p.idle.change(pos), p.room.change(pos))
	if p.limit > 1 && !p.isWhole(pos) {
		// Among used addresses the full ones are told apart one by one.
		end = min(end, uint64(pos)+1)
	}
	for _, m := range marks {
		end = min(end, m.after(uint64(pos)))
	}
	return end
}

// borders are the positions at which membership in a bitmap changes, in order.
type borders struct{ at []uint64 }

func bordersOf(b *roaring.Bitmap) *borders {
	out := &borders{}
	for first, end := range b.Ranges() {
		out.at = append(out.at, uint64(first), end)
	}
	return out
}

// after returns the lowest border above pos. Calls come with rising pos.
func (b *borders) after(pos uint64) uint64 {
	for len(b.at) > 0 && b.at[0] <= pos {
		b.at = b.at[1:]
	}
	if len(b.at) == 0 {
		return maxPositions
	}
	return b.at[0]
}
