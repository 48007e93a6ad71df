package mapping

import "fmt"

// check reports the first contradiction of a side.
func (x *side) check() error {
	total, ways, segments := 0, 0, 0
	var err error
	fail := func(format string, a ...any) {
		if err == nil {
			err = fmt.Errorf("mapping: "+format, a...)
		}
	}
	x.each(func(s *segment) {
		n := uint32(0)
		for i := range s.halves {
			r := &s.halves[i]
			if r.peer == 0 {
				if *r != (half{}) {
					fail("a free slot holds something")
				}
				continue
			}
			n++
			h := x.hashOf(r)
			if x.door(h).seg != s {
				fail("the directory leads a hash to another segment")
			}
			for at := home(h); at < i&^(groupSlots-1); at += groupSlots {
				if !(*group)(s.halves[at:]).full() {
					fail("a search for slot %d ends at slot %d", i, at)
				}
			}
		}
		if n != s.used || n > segmentFull {
			fail("a segment holds %d halves and counts %d", n, s.used)
		}
		total += int(n)
		segments++
		for i := range x.dir {
			if x.dir[i].seg == s {
				ways++
			}
		}
	})
	for i := range x.doubled {
		for _, d := range []*door{&x.next[2*i], &x.next[2*i+1]} {
			if d.seg != x.dir[i].seg || d.halves.Load() != d.seg.halves {
				fail("the next directory leads elsewhere")
			}
		}
	}
	if segments != x.segments {
		fail("%d segments are counted as %d", segments, x.segments)
	}
	if total != x.used || ways != len(x.dir) {
		fail("%d halves are counted as %d, %d of %d entries of the directory lead to segments", total, x.used, ways, len(x.dir))
	}
	return err
}
