package peer

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/blocknat/blocknat/benchmarks/workload"
)

var goMapKind = Kind{
	Name: "gomap", Note: "a hand-written NAT on two Go maps and a mutex: symmetric, no records, no TCP states, no quotas",
	Flows: 1 << 24, Clock: true, TCP: true, New: newGoMap, NewShared: newGoMap,
	NewSmall: func(time.Time) (NAT, error) { return goMapOf(1), nil },
}

// goMap is what a gateway writes for itself: two maps from the addresses and
// ports of a packet to a session, a mutex, and a sweep over all sessions. It is correct within
// what it does: no two sessions share (external endpoint, remote endpoint), checksums stay right.
// It shares no code with blocknat.
type goMap struct {
	mu sync.Mutex
	// addresses is the number of external addresses.
	addresses uint32
	out       map[tuple]*goSession
	in        map[tuple]*goSession
}

// tuple is the addresses and ports of a packet.
type tuple struct {
	src, dst         uint32
	srcPort, dstPort uint16
	proto            uint8
}

type goSession struct {
	out, in tuple // as their packets arrive
	last    time.Time
}

// goMapIdle is its idle time for all protocols.
const goMapIdle = 300 * time.Second

func newGoMap(time.Time) (NAT, error) { return goMapOf(workload.ExternalCount), nil }

func goMapOf(addresses uint32) *goMap {
	return &goMap{addresses: addresses, out: map[tuple]*goSession{}, in: map[tuple]*goSession{}}
}

func (n *goMap) Translate(d Direction, batch [][]byte, now time.Time) (forwarded int) {
	for _, b := range batch {
		t, ok := tupleOf(b)
		if !ok {
			continue
		}
		n.mu.Lock()
		if d == Out {
			ok = n.outbound(b, t, now)
		} else {
			ok = n.inbound(b, t)
		}
		n.mu.Unlock()
		if ok {
			forwarded++
		}
	}
	return forwarded
}

func (n *goMap) outbound(b []byte, t tuple, now time.Time) bool {
	s := n.out[t]
	if s == nil {
		if s = n.open(t); s == nil {
			return false
		}
	}
	s.last = now
	rewriteEndpoint(b, 12, 20, s.in.dst, s.in.dstPort)
	return true
}

func (n *goMap) inbound(b []byte, t tuple) bool {
	s := n.in[t]
	if s == nil {
		return false
	}
	rewriteEndpoint(b, 16, 22, s.out.src, s.out.srcPort)
	return true
}

// open makes a session: the host's own port where it is free towards the remote endpoint,
// else the next free one.
func (n *goMap) open(t tuple) *goSession {
	host := t.src * 0x9e3779b1 >> 16 % n.addresses
	in := tuple{src: t.dst, srcPort: t.dstPort, dst: workload.ExternalBase + host, dstPort: max(t.srcPort, 1024), proto: t.proto}
	for range 64512 {
		if n.in[in] == nil {
			s := &goSession{out: t, in: in}
			n.out[t], n.in[in] = s, s
			return s
		}
		if in.dstPort++; in.dstPort == 0 {
			in.dstPort = 1024
		}
	}
	return nil
}

func (n *goMap) Expire(now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for t, s := range n.out {
		if now.Sub(s.last) >= goMapIdle {
			delete(n.out, t)
			delete(n.in, s.in)
		}
	}
}

func (n *goMap) Sessions() int { return len(n.out) }

func (n *goMap) Close() {}

func (n *goMap) Share() NAT { return n }

// tupleOf reads a whole TCP or UDP packet without IP options.
func tupleOf(b []byte) (t tuple, ok bool) {
	if len(b) < 28 || b[0] != 0x45 || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
		return t, false
	}
	if p := b[9]; p != workload.UDP && (p != workload.TCP || len(b) < 40) {
		return t, false
	}
	be := binary.BigEndian
	return tuple{be.Uint32(b[12:]), be.Uint32(b[16:]), be.Uint16(b[20:]), be.Uint16(b[22:]), b[9]}, true
}

// rewriteEndpoint replaces the address and port at two offsets and updates the checksums (RFC 1624).
func rewriteEndpoint(b []byte, addrAt, portAt int, addr uint32, port uint16) {
	be := binary.BigEndian
	oldAddr, oldPort := be.Uint32(b[addrAt:]), be.Uint16(b[portAt:])
	be.PutUint32(b[addrAt:], addr)
	be.PutUint16(b[portAt:], port)
	delta := uint32(^uint16(oldAddr>>16)) + uint32(^uint16(oldAddr)) + addr>>16 + addr&0xffff
	be.PutUint16(b[10:], adjust(be.Uint16(b[10:]), delta))
	at := 36
	if b[9] == workload.UDP {
		if at = 26; be.Uint16(b[at:]) == 0 {
			return // sent without a checksum
		}
	}
	sum := adjust(be.Uint16(b[at:]), delta+uint32(^oldPort)+uint32(port))
	if sum == 0 && b[9] == workload.UDP {
		sum = 0xffff
	}
	be.PutUint16(b[at:], sum)
}

// adjust adds the sum of ~m + m' to a checksum: HC' = ~(~HC + ~m + m').
func adjust(checksum uint16, delta uint32) uint16 {
	s := uint32(^checksum) + delta
	s = s>>16 + s&0xffff
	return ^uint16(s>>16 + s)
}
