package mapping

// arena holds the port arrays of blocks: for each port of a block its mapping's internal port or 0, behind them a bit
// for each that tells a mapping of internal port 0 from none. Arrays are cut from chunks without pointers and are given back
// by size.
type arena struct {
	chunks [][]uint16
	next   int // first free word of the last chunk
	spare  []spare
}

// spare are arrays that were given back, all of one size in words.
type spare struct {
	words int
	refs  []arrayRef
}

// arrayRef names an array: chunk and offset in units of arrayUnit words. Zero is none.
type arrayRef uint32

const (
	arrayUnit  = 8
	unitBits   = 12
	chunkWords = arrayUnit << unitBits
)

// arrayWords is the length of the array for some ports, whole units.
func arrayWords(ports uint32) int {
	n := int(ports) + int(ports+15)/16
	return (n + arrayUnit - 1) &^ (arrayUnit - 1)
}

func (a *arena) take(ports uint32) arrayRef {
	words := arrayWords(ports)
	for i := range a.spare {
		if s := &a.spare[i]; s.words == words && len(s.refs) > 0 {
			ref := s.refs[len(s.refs)-1]
			s.refs = s.refs[:len(s.refs)-1]
			return ref // all zero: every mapping has left
		}
	}
	if len(a.chunks) == 0 || a.next+words > len(a.chunks[len(a.chunks)-1]) {
		a.next = 0
		if len(a.chunks) == 0 {
			a.next = arrayUnit // no array has the name zero
		}
		a.chunks = append(a.chunks, make([]uint16, max(chunkWords, a.next+words)))
	}
	ref := arrayRef((len(a.chunks)-1)<<unitBits | a.next/arrayUnit)
	a.next += words
	return ref
}

func (a *arena) giveBack(ref arrayRef, ports uint32) {
	words := arrayWords(ports)
	for i := range a.spare {
		if s := &a.spare[i]; s.words == words {
			s.refs = append(s.refs, ref)
			return
		}
	}
	a.spare = append(a.spare, spare{words, []arrayRef{ref}})
}

func (a *arena) at(ref arrayRef, ports uint32) []uint16 {
	from := int(ref&(1<<unitBits-1)) * arrayUnit
	return a.chunks[ref>>unitBits][from : from+int(ports)+int(ports+15)/16]
}
