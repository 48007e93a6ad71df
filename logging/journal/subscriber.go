package journal

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// Subscriber returns what the subscriber with this address (or prefix's
// address) held at some instant from from to to, both included, by beginning.
// The zero to means without end. It reads a filter for each 512 intervals of
// the segments in question, about 600 bytes, and the few that pass.
func (r *Reader) Subscriber(addr netip.Addr, from, to time.Time) ([]Block, error) {
	n, f := numberOf(addr.Unmap())
	if f == familyNone {
		return nil, nil
	}
	zone := addr.Unmap().Zone()
	return r.held(hashNumber(f, n), from, to, func(w *row) bool {
		g, m, ok := w.holder()
		z := w.shape.subZone
		if w.shape.sub == familyNone {
			z = w.shape.internalZone
		}
		return ok && compareNumber(f, n, g, m) == 0 && zoneOf(g, z) == zone
	})
}

// SubscriberID is Subscriber for a subscriber with an opaque id.
func (r *Reader) SubscriberID(id string, from, to time.Time) ([]Block, error) {
	if id == "" {
		return nil, nil
	}
	return r.held(hashID(id), from, to, func(w *row) bool { return w.id == id })
}

func (r *Reader) held(hash uint64, from, to time.Time, match func(*row) bool) ([]Block, error) {
	first, last := yearOne, forever
	if !from.IsZero() {
		first = logging.MillisOf(from)
	}
	if !to.IsZero() {
		last = logging.MillisOf(to)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	sc := scratches.Get().(*scratch)
	defer scratches.Put(sc)
	var hits []hit
	for k, s := range r.stores {
		take := func(w *row) {
			if match(w) {
				hits = append(hits, hit{*w, k})
			}
		}
		for _, g := range s.segs {
			if g.sum.minFrom <= last && g.sum.maxReach >= first {
				if err := g.filtered(hash, first, last, sc, take); err != nil {
					return nil, fmt.Errorf("journal: %s: %w", g.name, err)
				}
			}
		}
		if s.open != nil {
			if err := s.open.filtered(hash, first, last, sc, take); err != nil {
				return nil, fmt.Errorf("journal: %s: %w", s.open.name, err)
			}
		}
		for _, w := range s.mem {
			if w.from <= last && memReach(w) >= first {
				take(w)
			}
		}
	}
	found, err := r.complete(hits, first, last, true, sc)
	if err != nil {
		return nil, err
	}
	out := make([]Block, len(found))
	for i := range found {
		out[i] = found[i].Block
	}
	return out, nil
}

// filtered calls f for the rows between first and last of the chunks that may
// have the key, of which some have others only.
func (g *segment) filtered(hash uint64, first, last logging.Millis, sc *scratch, f func(*row)) error {
	may := make([]bool, len(g.sum.chunks))
	known := make([]bool, len(g.sum.chunks))
	for _, ref := range g.sum.filters {
		if err := g.readFilters(ref, hash, may, known, sc); err != nil {
			return err
		}
	}
	for i := range g.sum.chunks {
		ref := &g.sum.chunks[i]
		if known[i] && !may[i] || ref.from > last || !g.open && ref.to < first {
			continue
		}
		ok, err := g.chunk(i, sc)
		if err != nil {
			return err
		}
		for k := 0; ok && k < sc.c.n; k++ {
			s := sc.c.shapeOf(k)
			if s == nil || sc.c.row(k, &sc.r) != nil {
				g.lost(i)
				break
			}
			if sc.r.from <= last && (g.open || sc.r.reach() >= first) {
				f(&sc.r)
			}
		}
	}
	return nil
}

// readFilters looks up the key in the filters of one frame. What is damaged
// stays unknown, so that its chunks are read.
func (g *segment) readFilters(ref filterRef, hash uint64, may, known []bool, sc *scratch) error {
	var head [frameHeader]byte
	if ref.off > uint64(g.src.size) {
		return nil
	}
	if _, err := g.src.ReadAt(head[:], int64(ref.off)); err != nil {
		return nil // as damaged; a chunk that cannot be read tells
	}
	b, err := g.frame(ref.off, int(binary.LittleEndian.Uint32(head[4:])&maxPayload), sc)
	if b == nil || err != nil || b[0] != typeFilters {
		return err
	}
	d := decoder{b: b[1:]}
	for i := ref.chunk; i < ref.chunk+ref.chunks && i < uint64(len(may)) && !d.bad; i++ {
		filter := d.take(int(d.number(uint64(len(d.b)))))
		if !d.bad {
			may[i], known[i] = mayHave(filter, hash), true
		}
	}
	return nil
}
