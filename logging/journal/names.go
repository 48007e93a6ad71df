package journal

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// Files of a journal, by generation: a generation is what one write-ahead log
// took.
//
//	0000000000000007.wal                    records of generation 7 as they came
//	0000000000000001-0000000000000004.seg   intervals that ended, and other records, of generations 1 to 4
//	0000000000000006.open                   intervals that are open after generation 6
const (
	lockName  = "lock"
	tempName  = ".tmp"
	walSuffix = ".wal"
	segSuffix = ".seg"
	opnSuffix = ".open"
)

func walName(gen uint64) string         { return fmt.Sprintf("%016x%s", gen, walSuffix) }
func openName(gen uint64) string        { return fmt.Sprintf("%016x%s", gen, opnSuffix) }
func segName(first, last uint64) string { return fmt.Sprintf("%016x-%016x%s", first, last, segSuffix) }

// span is a run of generations, both ends included.
type span struct{ first, last uint64 }

func (s span) name() string { return segName(s.first, s.last) }

// holdings are the files of a directory that are in force.
type holdings struct {
	segs []span   // in order; none lies in another one
	open uint64   // the generation of the newest open file whose segment is there; 0: none
	wals []uint64 // in order: those that are not in a segment
	// garbage are files that a crash left behind: temporary ones, and those that newer ones replace.
	garbage []string
}

// next is a generation that nothing has yet.
func (h *holdings) next() uint64 {
	n := h.open
	if k := len(h.segs); k > 0 {
		n = max(n, h.segs[k-1].last)
	}
	if k := len(h.wals); k > 0 {
		n = max(n, h.wals[k-1])
	}
	return n + 1
}

// sealed is the newest generation that is in a segment.
func (h *holdings) sealed() uint64 {
	if k := len(h.segs); k > 0 {
		return h.segs[k-1].last
	}
	return 0
}

func list(fsys fs.FS) (holdings, error) {
	names, err := namesIn(fsys)
	return arrange(names), err
}

// steady lists a directory that a writer may be changing. A listing takes time,
// and one that misses the old name of something may miss the new one too; two that are
// alike saw nothing change in between.
func steady(fsys fs.FS) (holdings, error) {
	before, err := namesIn(fsys)
	for range refreshTries {
		if err != nil {
			break
		}
		var names []string
		if names, err = namesIn(fsys); slices.Equal(before, names) {
			break
		}
		before = names
	}
	return arrange(before), err
}

func namesIn(fsys fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(fsys, ".")
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// arrange finds out which files are in force. Names that are no journal's are left alone.
func arrange(names []string) holdings {
	var h holdings
	var opens []uint64
	var all []span
	for _, name := range names {
		stem, suffix, _ := strings.Cut(name, ".")
		switch "." + suffix {
		case walSuffix:
			if gen, ok := parseGen(stem); ok {
				h.wals = append(h.wals, gen)
			}
		case opnSuffix:
			if gen, ok := parseGen(stem); ok {
				opens = append(opens, gen)
			}
		case segSuffix:
			if s, ok := parseSpan(stem); ok {
				all = append(all, s)
			}
		case opnSuffix + tempName:
			if _, ok := parseGen(stem); ok {
				h.garbage = append(h.garbage, name)
			}
		case segSuffix + tempName:
			if _, ok := parseSpan(stem); ok {
				h.garbage = append(h.garbage, name)
			}
		}
	}
	// Longer runs first, so that a merged segment comes before those it replaces.
	slices.SortFunc(all, func(a, b span) int {
		if a.first != b.first {
			return compare(a.first, b.first)
		}
		return compare(b.last, a.last)
	})
	for _, s := range all {
		if k := len(h.segs); k > 0 && s.last <= h.segs[k-1].last {
			h.garbage = append(h.garbage, s.name())
			continue
		}
		h.segs = append(h.segs, s)
	}
	sealed := h.sealed()
	slices.Sort(opens)
	for _, g := range opens {
		if g <= sealed {
			h.open = max(h.open, g)
		}
	}
	for _, g := range opens {
		if g < h.open {
			h.garbage = append(h.garbage, openName(g))
		}
	}
	slices.Sort(h.wals)
	i := 0
	for ; i < len(h.wals) && h.wals[i] <= sealed; i++ {
		h.garbage = append(h.garbage, walName(h.wals[i]))
	}
	h.wals = h.wals[i:]
	return h
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func parseGen(s string) (uint64, bool) {
	if len(s) != 16 {
		return 0, false
	}
	gen, err := strconv.ParseUint(s, 16, 64)
	return gen, err == nil && gen > 0 && gen < 1<<63 && fmt.Sprintf("%016x", gen) == s
}

func parseSpan(s string) (span, bool) {
	a, b, ok := strings.Cut(s, "-")
	first, ok1 := parseGen(a)
	last, ok2 := parseGen(b)
	return span{first, last}, ok && ok1 && ok2 && first <= last
}
