package workload

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// Protocol numbers of the flows.
const (
	ICMP = 1
	TCP  = 6
	UDP  = 17
)

// The address plan: the first internal host, the remote hosts, the external
// addresses that peers may use.
const (
	InternalBase  = 100<<24 | 64<<16
	RemoteBase    = 203<<24 | 0<<16 | 113<<8
	ExternalBase  = 198<<24 | 18<<16
	ExternalCount = 1 << 16
	// Remotes is the number of remote hosts that Flows uses.
	Remotes = 16
)

// FlowsPerHost is how many flows an internal host has in Flows.
const FlowsPerHost = 64

// Flow describes a packet: its addresses, ports and size. 16 bytes.
type Flow struct {
	Src, Dst         uint32
	SrcPort, DstPort uint16
	Proto            uint8 // TCP or UDP
	Flags            uint8 // of a TCP segment
	Size             uint16
}

// MinSize is the length of the smallest packet that the generators make: the
// IP packet in a 64-byte Ethernet frame without its 14 bytes of header and 4 of checksum.
const MinSize = 46

// TCP flags.
const (
	FlagSYN = 0x02
	FlagACK = 0x10
)

// Put writes the packet into b, which holds at least Size zero bytes or an
// earlier packet of Put, and returns it. All checksums are right; the payload is zero.
func (f *Flow) Put(b []byte) []byte {
	b = b[:f.Size]
	be := binary.BigEndian
	be.PutUint64(b[0:], 0x4500_0000_0007_4000|uint64(f.Size)<<32) // id 7, don't fragment
	addrs := sum32(f.Src) + sum32(f.Dst)
	head := 0x4500 + uint32(f.Size) + 7 + 0x4000 + 0x4000 + uint32(f.Proto) + addrs
	be.PutUint32(b[8:], 64<<24|uint32(f.Proto)<<16|uint32(^fold(head)))
	be.PutUint64(b[12:], uint64(f.Src)<<32|uint64(f.Dst))
	length := uint32(f.Size) - 20
	ports := uint32(f.SrcPort)<<16 | uint32(f.DstPort)
	sum := addrs + uint32(f.Proto) + length + sum32(ports)
	be.PutUint32(b[20:], ports)
	switch f.Proto {
	case UDP:
		c := ^fold(sum + length)
		if c == 0 {
			c = 0xffff
		}
		be.PutUint32(b[24:], length<<16|uint32(c))
		clear(b[28:min(len(b), 40)]) // what a TCP header has left there
	default:
		const seq, ack, window = 1000, 2000, 1024
		be.PutUint64(b[24:], seq<<32|ack)
		flags := 0x5000 | uint32(f.Flags)
		be.PutUint32(b[32:], flags<<16|window)
		be.PutUint32(b[36:], uint32(^fold(sum+seq+ack+flags+window))<<16)
	}
	return b
}

func sum32(v uint32) uint32 { return v>>16 + v&0xffff }

func fold(s uint32) uint16 {
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}

// Source returns the source address and port of a TCP or UDP packet without
// IP options, and Destination its destination.
func Source(b []byte) (addr uint32, port uint16) {
	return binary.BigEndian.Uint32(b[12:]), binary.BigEndian.Uint16(b[20:])
}

// Destination is Source for the other end.
func Destination(b []byte) (addr uint32, port uint16) {
	return binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint16(b[22:])
}

// Answer returns the flow of the answer to a packet that left with the external endpoint.
func (f *Flow) Answer(external uint32, port uint16) Flow {
	a := Flow{Src: f.Dst, Dst: external, SrcPort: f.DstPort, DstPort: port, Proto: f.Proto, Size: f.Size}
	if f.Proto == TCP {
		a.Flags = FlagACK
		if f.Flags&FlagSYN != 0 {
			a.Flags |= FlagSYN
		}
	}
	return a
}

// Ring is a small set of buffers that packets are written to.
type Ring struct {
	buffers []byte
	packets [][]byte
}

// RingSize is the number of packets in a Ring, ringSlot the room for each: 32 KiB at MinSize stay
// in a level 1 or 2 cache.
const (
	RingSize = 256
	ringSlot = 1536
)

// NewRing returns a ring. Its buffers lie MinSize rounded up apart when all
// packets are small, 1,536 bytes when they are not.
func NewRing(large bool) *Ring {
	slot := 64
	if large {
		slot = ringSlot
	}
	r := &Ring{buffers: make([]byte, slot*RingSize), packets: make([][]byte, RingSize)}
	for i := range r.packets {
		r.packets[i] = r.buffers[i*slot : (i+1)*slot : (i+1)*slot]
	}
	return r
}

// Fill writes the packets of up to RingSize flows and returns them. They are good until the next Fill.
func (r *Ring) Fill(flows []Flow) [][]byte {
	n := min(len(flows), RingSize)
	for i := range n {
		p := r.packets[i]
		r.packets[i] = flows[i].Put(p[:cap(p)])
	}
	return r.packets[:n]
}

// newRand returns a source of the seed, another one for each purpose.
func newRand(seed, purpose uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, bits.RotateLeft64(purpose, 32)^0x9e3779b97f4a7c15))
}

// Shuffle puts flows in a random order (Durstenfeld, as RFC 9693 section 4.4 asks for).
func Shuffle(seed uint64, flows []Flow) {
	r := newRand(seed, 1)
	for i := len(flows) - 1; i > 0; i-- {
		j := r.IntN(i + 1)
		flows[i], flows[j] = flows[j], flows[i]
	}
}
