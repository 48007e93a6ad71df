package mapping

import (
	"fmt"
	"testing"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestLookInAnyGroup fills the group where a look-up begins in every way: with the half that it is for, halves of the same endpoint that are
// of other spaces or sessions, one of another endpoint, and free slots. The half is found wherever it is, also in the group behind a
// full one, and nothing else is.
func TestLookInAnyGroup(t *testing.T) {
	remote := Endpoint{198<<24 | 1, 53}
	for _, near := range []uint64{nearInternal(0, Endpoint{}), nearInternal(0, Endpoint{10<<24 | 1, 4000}), nearInternal(7, Endpoint{1, 0})} {
		wanted := half{near: near, peer: remote.pack() | what(anchor, portblock.UDP) | flagMapping | uint64(Active), far: 1}
		const slots, mappingAlone, otherRemote = 7, 5, 6
		contents := [slots]half{
			{},
			wanted,
			{near: near, peer: remote.pack() | what(anchor, portblock.TCP) | flagMapping | uint64(Active), far: 2},
			{near: near, peer: remote.pack() | what(session, portblock.UDP) | uint64(Active), far: 3},
			{near: near ^ 1<<20, peer: remote.pack() | what(anchor, portblock.UDP) | flagMapping | uint64(Active), far: 4},
			mappingAlone: {near: near, peer: remote.pack() | what(anchor, portblock.UDP) | flagMapping, far: 5},
			otherRemote:  {near: near, peer: Endpoint{1, 2}.pack() | what(anchor, portblock.UDP) | flagMapping | uint64(Active), far: 6},
		}
		for n := range slots * slots * slots * slots {
			for _, behind := range []bool{false, true} {
				x := newSide(testKey, true)
				var l Lookup
				x.begin(&l, near, portblock.UDP, remote)
				halves := x.door(l.hash).halves.Load()
				at := home(l.hash)
				anchors, there, full, first := 0, 0, true, -1
				for i, c := 0, n; i < groupSlots; i, c = i+1, c/slots {
					halves[at+i] = contents[c%slots]
					full = full && c%slots != 0
					switch c % slots {
					case 1:
						there++
						first = at + i
						anchors++
					case mappingAlone, otherRemote:
						anchors++
					}
				}
				if behind {
					if anchors > 0 || !full {
						continue // it would lie in the first group, or is another one
					}
					there, first = 1, at+groupSlots+n%groupSlots
					halves[first] = wanted
				}
				if anchors > 1 {
					continue // an endpoint has one anchor in a space
				}
				name := fmt.Sprintf("near %x, contents %d, behind %v", near, n, behind)
				r := x.look(&l)
				if there == 0 {
					require.Nil(t, r, name)
					continue
				}
				require.Same(t, &halves[first], r, name)
			}
		}
	}
}
