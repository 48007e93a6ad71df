package mapping

import "github.com/blocknat/blocknat/internal/prefetch"

// BlockID names a block of a table. It is used again when its block is removed. Zero names none.
type BlockID uint32

// Block is a set of ports of one external address that belong to one internal address, on which mappings draw.
type Block struct {
	Realm    uint16
	Internal uint32
	External uint32
	// Class is the class of remotes whose port space the ports belong to; 0 where there is one port space for all.
	Class uint16
	// Number, Owner and Ports mean nothing to the table: they are for the caller to know the block by.
	Number uint16
	Owner  uint32
	Ports  uint32
}

// block is a Block with what the table notes of it: 32 bytes.
type block struct {
	Block
	live uint32 // mappings in it, and one more while the block is there
	seen Tick   // its latest packet, but for up to 16.4 s
}

// blocksPerPage is the number of blocks that are allocated together. A page never moves.
const blocksPerPage = 256

// blocks are the blocks of a table by their numbers.
type blocks struct {
	pages   []*[blocksPerPage]block
	spare   []BlockID
	next    BlockID
	aged    BlockID // where age is on its round
	began   Tick    // when it began that
	classes bool    // some block is of a class other than 0
	none    Block
}

// at returns a block that is there.
func (x *blocks) at(id BlockID) *block {
	return &prefetch.Known(x.pages[id/blocksPerPage])[id%blocksPerPage]
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
	*x.at(id) = block{Block: b, live: 1}
	x.classes = x.classes || b.Class != 0
	return id
}

// Block returns a block, and false when there is none of the name. It is for reading, and good until the block is removed.
func (t *Table) Block(id BlockID) (b *Block, ok bool) {
	if id > t.blocks.next || t.blocks.next == 0 {
		return &t.blocks.none, false
	}
	x := t.blocks.at(id)
	return &x.Block, x.live != 0
}

// PrefetchBlock asks for the memory of a block, and does not wait for it.
func (t *Table) PrefetchBlock(id BlockID) { prefetch.Line(t.blocks.at(id)) }

// LastPacket returns when a session of the block last had a packet, of either direction, or up to 16.4 s less.
func (t *Table) LastPacket(id BlockID) Tick { return t.blocks.at(id).seen }

// RemoveBlock removes a block. It returns false, and changes nothing, while a mapping is in it.
func (t *Table) RemoveBlock(id BlockID) bool {
	if _, ok := t.Block(id); !ok {
		return false
	}
	b := t.blocks.at(id)
	if b.live > 1 {
		return false
	}
	*b = block{}
	t.blocks.spare = append(t.blocks.spare, id)
	return true
}
