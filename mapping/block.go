package mapping

import "github.com/blocknat/blocknat/portblock"

// BlockID names a block of a table. It is used again when its block is removed. Zero names none.
type BlockID uint32

// Place is a port of a block: the port's number within it, from 0.
type Place struct {
	Block  BlockID
	Offset uint16
}

// Block is a set of ports of one external address that belong to one internal address: what
// leads inbound packets to mappings. A mapping's external endpoint lies in a block, in each port space.
type Block struct {
	Realm    uint16
	Internal uint32
	External uint32
	// Class is the class of remotes whose port space the ports belong to; 0 where there is one port space for all.
	Class uint16
	// Number and Owner mean nothing to the table: they are for the caller to know the block by.
	Number uint16
	Owner  uint32
	// Ports is the number of ports, up to 65,536.
	Ports uint32
}

// block is a Block with its arrays: 48 bytes.
type block struct {
	Block
	ports [spaces]arrayRef // made when a space is first used
	live  uint32           // mappings in it
	seen  Tick             // its latest packet, but for up to 4.1 s
}

// seenShift: a packet notes its time in its block only when the packet before came in an earlier step of 4,096 ticks, so that
// a busy session writes to its own record alone.
const seenShift = 12

// blocksPerPage is the number of blocks that are allocated together. A page never moves.
const blocksPerPage = 256

// blocks are the blocks of a table by their numbers.
type blocks struct {
	pages []*[blocksPerPage]block
	spare []BlockID
	next  BlockID
	arena arena
	none  Block
}

func (x *blocks) at(id BlockID) *block {
	return &x.pages[id/blocksPerPage][id%blocksPerPage]
}

// AddBlock enters a block without mappings and names it. It allocates no ports: that two blocks share none is for the caller to see to.
func (t *Table) AddBlock(b Block) BlockID {
	x := &t.blocks
	var id BlockID
	if n := len(x.spare); n > 0 {
		id, x.spare = x.spare[n-1], x.spare[:n-1]
	} else {
		if x.next++; int(x.next/blocksPerPage) >= len(x.pages) {
			x.pages = append(x.pages, new([blocksPerPage]block))
		}
		id = x.next
	}
	*x.at(id) = block{Block: b}
	return id
}

// Block returns a block, and false when there is none of the name. It is for reading, and good until the block is removed.
func (t *Table) Block(id BlockID) (b *Block, ok bool) {
	if id > t.blocks.next || t.blocks.next == 0 {
		return &t.blocks.none, false
	}
	x := t.blocks.at(id)
	return &x.Block, x.Ports != 0
}

// LastPacket returns when a session of the block last had a packet, of either direction, or up to 4.1 s less.
func (t *Table) LastPacket(id BlockID) Tick { return t.blocks.at(id).seen }

// RemoveBlock removes a block. It returns false, and changes nothing, while a mapping is in it.
func (t *Table) RemoveBlock(id BlockID) bool {
	if _, ok := t.Block(id); !ok {
		return false
	}
	b := t.blocks.at(id)
	if b.live > 0 {
		return false
	}
	for _, ref := range b.ports {
		if ref != 0 {
			t.blocks.arena.giveBack(ref, b.Ports)
		}
	}
	*b = block{}
	t.blocks.spare = append(t.blocks.spare, id)
	return true
}

// internalPort returns the internal port of the mapping at a place, if there is one.
func (x *blocks) internalPort(b *block, space portblock.Space, offset uint16) (port uint16, ok bool) {
	if uint32(offset) >= b.Ports || b.ports[space] == 0 {
		return 0, false
	}
	a := x.arena.at(b.ports[space], b.Ports)
	if port = a[offset]; port != 0 {
		return port, true
	}
	return 0, a[b.Ports+uint32(offset)/16]>>(offset%16)&1 != 0 // port 0, or no mapping
}

// taken reports whether the port of a place is in use, by this space or by another one that has the same ports.
func (x *blocks) taken(at Place, space portblock.Space) bool {
	b := x.at(at.Block)
	for s := range portblock.Space(spaces) {
		if PortsOf(s) == PortsOf(space) {
			if _, ok := x.internalPort(b, s, at.Offset); ok {
				return true
			}
		}
	}
	return false
}

// enter notes the mapping at a place, which is free.
func (x *blocks) enter(at Place, space portblock.Space, port uint16) {
	b := x.at(at.Block)
	if b.ports[space] == 0 {
		b.ports[space] = x.arena.take(b.Ports)
	}
	a := x.arena.at(b.ports[space], b.Ports)
	if a[at.Offset] = port; port == 0 {
		a[b.Ports+uint32(at.Offset)/16] |= 1 << (at.Offset % 16)
	}
	b.live++
}

// leave takes the mapping at a place out.
func (x *blocks) leave(at Place, space portblock.Space) {
	b := x.at(at.Block)
	a := x.arena.at(b.ports[space], b.Ports)
	if a[at.Offset] == 0 {
		a[b.Ports+uint32(at.Offset)/16] &^= 1 << (at.Offset % 16)
	}
	a[at.Offset] = 0
	b.live--
}
