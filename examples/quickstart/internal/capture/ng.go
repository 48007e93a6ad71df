package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"time"
)

// Block types of pcapng (draft-ietf-opsawg-pcapng).
const (
	ngSection   = 0x0a0d0d0a
	ngInterface = 1
	ngPacket    = 2 // obsolete
	ngSimple    = 3
	ngEnhanced  = 6
)

// maxBlock bounds one block, so that a damaged length asks for no memory.
const maxBlock = 16 << 20

// ng reads pcapng files. It is written out here because gopacket's reader
// keeps 8 bits of the link type, and takes the lengths of options and packets
// from the file unchecked; its results are compared in the tests.
type ng struct {
	r     *bufio.Reader
	order binary.ByteOrder
	ifs   []ngIf
	buf   []byte
}

// ngIf is one interface of the current section.
type ngIf struct {
	link   uint16
	snap   uint32
	unit   uint64 // ticks per second
	offset int64  // seconds
}

func newNG(r *bufio.Reader) (*ng, error) {
	n := &ng{r: r}
	if _, err := n.block(); err != nil {
		return nil, fmt.Errorf("its section header is not understood (%w)", err)
	}
	return n, nil
}

func (n *ng) next() (frame, error) {
	for {
		typ, err := n.block()
		if err != nil {
			return frame{}, err
		}
		switch typ {
		case ngInterface:
			err = n.iface(n.buf)
		case ngEnhanced, ngPacket:
			return n.packet(typ, n.buf)
		case ngSimple:
			return n.simple(n.buf)
		}
		if err != nil {
			return frame{}, err
		}
	}
}

// block reads one block and leaves its body in n.buf.
func (n *ng) block() (uint32, error) {
	var head [12]byte
	if _, err := io.ReadFull(n.r, head[:8]); err != nil {
		return 0, err
	}
	have := 8
	if binary.BigEndian.Uint32(head[:]) == ngSection {
		if _, err := io.ReadFull(n.r, head[8:]); err != nil {
			return 0, errors.New("it ends within a section header")
		}
		have = 12
		switch binary.BigEndian.Uint32(head[8:]) {
		case 0x1a2b3c4d:
			n.order = binary.BigEndian
		case 0x4d3c2b1a:
			n.order = binary.LittleEndian
		default:
			return 0, errors.New("a section header has no byte order")
		}
		n.ifs = n.ifs[:0]
	}
	typ, length := n.order.Uint32(head[:]), n.order.Uint32(head[4:])
	if length < uint32(have)+4 || length > maxBlock {
		return 0, fmt.Errorf("a block says that it has %d bytes", length)
	}
	// The length is a multiple of 4 by the format; some writers do not pad.
	body := int(length) - have
	n.buf = append(n.buf[:0], make([]byte, body)...)
	if _, err := io.ReadFull(n.r, n.buf); err != nil {
		return 0, errors.New("it ends within a block")
	}
	n.buf = n.buf[:body-4]
	return typ, nil
}

// iface reads an interface description block.
func (n *ng) iface(b []byte) error {
	if len(b) < 8 {
		return errors.New("an interface description is cut")
	}
	i := ngIf{link: n.order.Uint16(b), snap: n.order.Uint32(b[4:]), unit: 1e6}
	for b = b[8:]; len(b) >= 4; {
		code, length := n.order.Uint16(b), int(n.order.Uint16(b[2:]))
		b = b[4:]
		if code == 0 || length > len(b) {
			break
		}
		switch {
		case code == 9 && length == 1: // if_tsresol
			unit, ok := resolution(b[0])
			if !ok {
				return fmt.Errorf("an interface counts time in units of %#x, which is too fine", b[0])
			}
			i.unit = unit
		case code == 14 && length == 8: // if_tsoffset
			i.offset = int64(n.order.Uint64(b))
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	n.ifs = append(n.ifs, i)
	return nil
}

// resolution returns the ticks per second for an if_tsresol value: a negative
// power of 10, or of 2 when the upper bit is set.
func resolution(v byte) (uint64, bool) {
	if exp := v & 0x7f; v&0x80 != 0 {
		return 1 << exp, exp < 64
	} else if exp < 20 {
		unit := uint64(1)
		for range exp {
			unit *= 10
		}
		return unit, true
	}
	return 0, false
}

// at returns the time of a tick count.
func (i ngIf) at(ticks uint64) time.Time {
	hi, lo := bits.Mul64(ticks%i.unit, 1e9)
	ns, _ := bits.Div64(hi, lo, i.unit)
	return time.Unix(int64(ticks/i.unit)+i.offset, int64(ns)).UTC()
}

// packet reads an enhanced packet block or its obsolete forerunner.
func (n *ng) packet(typ uint32, b []byte) (frame, error) {
	if len(b) < 20 {
		return frame{}, errors.New("a packet block is cut")
	}
	id := n.order.Uint32(b)
	if typ == ngPacket {
		id = uint32(n.order.Uint16(b))
	}
	if int64(id) >= int64(len(n.ifs)) {
		return frame{}, fmt.Errorf("a packet names interface %d, which is not described", id)
	}
	ticks := uint64(n.order.Uint32(b[4:]))<<32 | uint64(n.order.Uint32(b[8:]))
	captured, length := n.order.Uint32(b[12:]), n.order.Uint32(b[16:])
	if uint64(captured) > uint64(len(b)-20) {
		return frame{}, errors.New("a packet is longer than its block")
	}
	i := n.ifs[id]
	return frame{i.link, i.at(ticks), append([]byte(nil), b[20:20+captured]...), int(length)}, nil
}

// simple reads a simple packet block, which has no time.
func (n *ng) simple(b []byte) (frame, error) {
	if len(b) < 4 || len(n.ifs) == 0 {
		return frame{}, errors.New("a simple packet block is cut or has no interface")
	}
	length := n.order.Uint32(b)
	captured := min(length, uint32(len(b)-4))
	if snap := n.ifs[0].snap; snap != 0 {
		captured = min(captured, snap)
	}
	return frame{link: n.ifs[0].link, bytes: append([]byte(nil), b[4:4+captured]...), length: int(length)}, nil
}
