package peer

import (
	"encoding/binary"
	"math/bits"
	"time"

	"github.com/blocknat/blocknat/benchmarks/workload"
	"github.com/blocknat/blocknat/internal/prefetch"
)

// Floor does about the least that a translator of packets can do: it shows what a machine takes for a packet that is parsed, found with one miss and
// rewritten. It is no NAT: it ends nothing, filters nothing, keeps no time and no state, takes no lock, and never uses a port again.
var Floor = Kind{
	Name: "floor", Note: "no NAT: parse, one look-up in a flat table, rewrite; no lock, time, state, filtering or records",
	Flows: 1 << 24, TCP: true, Repeatable: true,
	New: func(time.Time) (NAT, error) {
		return &floor{tables: [2]floorTable{newFloorTable(10), newFloorTable(10)}}, nil
	},
}

type floor struct {
	tables [2]floorTable // by direction
	used   uint32        // external ports of all addresses
	wait   []floorKey    // scratch of a batch
}

// floorKey is the addresses, ports and protocol of a packet, and its hash.
type floorKey struct{ addrs, rest, hash uint64 }

// floorEntry is half a cache line: a key, and what the translated end becomes.
type floorEntry struct {
	addrs, rest uint64 // rest 0 is an empty one
	addr        uint32
	port        uint16
	_           [10]byte
}

// floorTable is an open-addressing table with linear probing, at most half full.
type floorTable struct {
	slots []floorEntry
	shift int // 64 - the logarithm of the slots
	used  int
}

func newFloorTable(log int) floorTable {
	return floorTable{slots: make([]floorEntry, 1<<log), shift: 64 - log}
}

// floorPorts is how many ports of an address are given out.
const floorPorts = 64512

func (n *floor) Translate(d Direction, batch [][]byte, _ time.Time) (forwarded int) {
	if len(batch) == 1 {
		if k, ok := keyOf(batch[0]); ok && n.translate(d, batch[0], k) {
			return 1
		}
		return 0
	}
	// In stages: all are hashed and their slots asked for, which no step waits for, and then found.
	n.wait = n.wait[:0]
	t := &n.tables[d]
	for _, b := range batch {
		k, _ := keyOf(b)
		n.wait = append(n.wait, k)
		prefetch.Line(&t.slots[k.hash>>t.shift])
	}
	for i, b := range batch {
		if k := n.wait[i]; k.rest != 0 && n.translate(d, b, k) {
			forwarded++
		}
	}
	return forwarded
}

func (n *floor) translate(d Direction, b []byte, k floorKey) bool {
	e := n.tables[d].find(k)
	if e == nil {
		if d == In || n.used >= floorPorts*workload.ExternalCount {
			return false
		}
		e = n.open(b, k)
	}
	if d == Out {
		rewriteEndpoint(b, 12, 20, e.addr, e.port)
	} else {
		rewriteEndpoint(b, 16, 22, e.addr, e.port)
	}
	return true
}

// open gives a flow the next port.
func (n *floor) open(b []byte, k floorKey) *floorEntry {
	addr, port := uint32(workload.ExternalBase+n.used/floorPorts), uint16(1024+n.used%floorPorts)
	n.used++
	be := binary.BigEndian
	src, srcPort := be.Uint32(b[12:]), be.Uint16(b[20:])
	back := floorKeyOf(uint64(be.Uint32(b[16:]))<<32|uint64(addr), be.Uint16(b[22:]), port, b[9])
	n.tables[In].add(floorEntry{addrs: back.addrs, rest: back.rest, addr: src, port: srcPort})
	n.tables[Out].add(floorEntry{addrs: k.addrs, rest: k.rest, addr: addr, port: port})
	return n.tables[Out].find(k)
}

// keyOf reads a whole TCP or UDP packet of 40 bytes or more without IP options.
func keyOf(b []byte) (floorKey, bool) {
	if len(b) < 40 || b[0] != 0x45 || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 || b[9] != workload.UDP && b[9] != workload.TCP {
		return floorKey{}, false
	}
	be := binary.BigEndian
	return floorKeyOf(be.Uint64(b[12:]), be.Uint16(b[20:]), be.Uint16(b[22:]), b[9]), true
}

func floorKeyOf(addrs uint64, srcPort, dstPort uint16, proto uint8) floorKey {
	rest := uint64(srcPort)<<48 | uint64(dstPort)<<32 | uint64(proto)
	return floorKey{addrs, rest, floorHash(addrs, rest)}
}

func floorHash(addrs, rest uint64) uint64 {
	hi, lo := bits.Mul64(addrs^0x9e3779b97f4a7c15, rest^0xd6e8feb86659fd93)
	return (hi ^ lo) * 0x9e3779b97f4a7c15
}

func (t *floorTable) find(k floorKey) *floorEntry {
	mask := uint64(len(t.slots) - 1)
	for i := k.hash >> t.shift; ; i++ {
		e := &t.slots[i&mask]
		if e.addrs == k.addrs && e.rest == k.rest {
			return e
		}
		if e.rest == 0 {
			return nil
		}
	}
}

func (t *floorTable) add(e floorEntry) {
	if 2*t.used >= len(t.slots) {
		old := *t
		*t = newFloorTable(65 - t.shift)
		for _, o := range old.slots {
			if o.rest != 0 {
				t.add(o)
			}
		}
	}
	mask := uint64(len(t.slots) - 1)
	i := floorHash(e.addrs, e.rest) >> t.shift
	for t.slots[i&mask].rest != 0 {
		i++
	}
	t.slots[i&mask] = e
	t.used++
}

func (n *floor) Expire(time.Time) {}
func (n *floor) Sessions() int    { return n.tables[Out].used }
func (n *floor) Close()           {}
