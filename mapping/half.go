package mapping

import "github.com/blocknat/blocknat/portblock"

// half is what one direction needs of a session: 32 bytes, half a cache line, without pointers. A session has two, one in
// each of the table's sides: the outbound one is found by the internal endpoint, the inbound one by the external endpoint, and each
// tells what its own endpoint becomes. So a packet of either direction reads and writes one cache line.
//
// There are three kinds. The anchor of an endpoint is there as long as the endpoint has any other half. It holds the endpoint's
// first mapping and that mapping's first session, so that a host's plain flow has one half on each side. Further sessions and
// further mappings of the endpoint have halves of their own; flagCrowd says that there may be any.
//
// Both halves of a session have the same phase and flags about its ends. They change together, and seldom.
type half struct {
	near uint64 // the endpoint that packets of this direction leave behind; realm of an internal one, class of an external one
	// peer is the remote endpoint of the session (the key of the scope, of a mapping's half), what the half is, and the
	// session's state. Of an anchor only kind and space are key; state 0 says that it holds no session.
	peer uint64
	far  uint64 // the endpoint that the near one becomes; realm of an internal one, see below for an external one
	// seen is when the last packet of this direction came that counts, next the sequence number that follows what its sender has
	// sent (TCP). Of a mapping that has a half of its own on the outbound side they are the end of its lifetime and the number
	// of its sessions.
	seen Tick
	next uint32
}

// The kinds of halves. Zero is an empty slot.
const (
	anchor = iota + 1
	session
	mapped
)

// The low 16 bits of peer.
const (
	kindShift  = 14
	spaceShift = 12
	scopeShift = 10

	flagMapping = 1 << 9 // the half holds a mapping
	flagCrowd   = 1 << 8 // of an anchor: it has an entry in the side's crowds
	stateMask   = 0xff
	spaceMask   = 3 << spaceShift
	whatMask    = 0xf000          // kind and space
	scopeMask   = 3 << scopeShift // how much of the remote endpoint the mapping depends on
	endMask     = ^uint64(0xffff) // the endpoint in any of the words
	sessionKey  = endMask | whatMask
	mappedKey   = endMask | whatMask | scopeMask
)

// The low 16 bits of far on the outbound side.
const (
	idleMask     = IdleClasses - 1
	flagExplicit = 1 << 4 // of a mapping's half of its own: an explicit lifetime runs
	poolShift    = 6
	poolMask     = (Pools - 1) << poolShift
)

// what is the part of a key that tells kinds and port spaces apart.
func what(kind uint64, space portblock.Space) uint64 {
	return kind<<kindShift | uint64(space)<<spaceShift
}

func (r *half) kind() uint64           { return r.peer >> kindShift & 3 }
func (r *half) space() portblock.Space { return portblock.Space(r.peer >> spaceShift & 3) }
func (r *half) state() uint8           { return uint8(r.peer) }
func (r *half) setState(s uint8)       { r.peer = r.peer&^stateMask | uint64(s) }
func (r *half) remote() Endpoint       { return unpack(r.peer) }
func (r *half) hasSession() bool       { return r.peer&stateMask != 0 }
func (r *half) hasMapping() bool       { return r.peer&flagMapping != 0 }
func (r *half) crowded() bool          { return r.peer&flagCrowd != 0 }

// What follows is of halves of the outbound side.

func (r *half) internal() Endpoint { return unpack(r.near) }
func (r *half) realm() uint16      { return uint16(r.near) }
func (r *half) external() Endpoint { return unpack(r.far) }
func (r *half) idleClass() uint8   { return uint8(r.far & idleMask) }
func (r *half) pool() uint16       { return uint16(r.far & poolMask >> poolShift) }

func (r *half) dependence() Dependence { return Dependence(r.peer & scopeMask >> scopeShift) }
