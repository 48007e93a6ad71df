package mapping

import "github.com/blocknat/blocknat/portblock"

// record is one entry of the table: 64 bytes, one cache line, without pointers. There are three kinds.
//
// The anchor of an internal endpoint is there as long as the endpoint has any other record. It holds the
// endpoint's first mapping and that mapping's first session, so that a host's plain flow is one record. Further
// sessions and further mappings of the endpoint have records of their own, and the anchor counts them: zero says
// that no second look-up can find anything.
type record struct {
	inner uint64 // key: internal address, port, realm
	// outer is the rest of the key: remote address and port of the session (the scope, of a mapping's record), kind
	// and port space, state byte. Of an anchor only kind and space are key; state 0 says that it holds no session.
	outer uint64
	ext   uint64 // external address and port, offset of the port in its block
	scope uint64 // of the mapping: address, port; flags; class of timeouts

	out, in Tick // when the session's last packet came that counts, by direction
	sent    uint32
	heard   uint32 // what the internal and the remote end send next (TCP)

	sessions uint32 // of the mapping, the one in the anchor included
	others   uint32 // of an anchor: further records of the internal endpoint
	until    Tick   // end of the mapping's explicit lifetime
	block    BlockID
}

// The kinds of record.
const (
	anchor = iota + 1
	session
	mapped
)

const (
	stateMask = 0xff
	kindMask  = 0xff00          // of outer: kind and port space
	keyMask   = ^uint64(0xff)   // of outer, but for anchors
	partMask  = ^uint64(0xffff) // the endpoint in any of the words
)

// The flags of a record, the second byte of scope.
const (
	flagMapping  = 1 << 8 // the record holds a mapping
	flagExplicit = 2 << 8 // an explicit lifetime runs
)

// class is the part of a key that tells kinds and port spaces apart. It leaves the state byte free.
func class(kind uint64, space portblock.Space) uint64 { return (kind<<4 | uint64(space)) << 8 }

func (r *record) kind() uint64           { return r.outer >> 12 & 0xf }
func (r *record) space() portblock.Space { return portblock.Space(r.outer >> 8 & 0xf) }
func (r *record) state() uint8           { return uint8(r.outer) }
func (r *record) setState(s uint8)       { r.outer = r.outer&^stateMask | uint64(s) }
func (r *record) realm() uint16          { return uint16(r.inner) }
func (r *record) internal() Endpoint     { return unpack(r.inner) }
func (r *record) remote() Endpoint       { return unpack(r.outer) }
func (r *record) external() Endpoint     { return unpack(r.ext) }
func (r *record) place() Place           { return Place{r.block, uint16(r.ext)} }
func (r *record) idleClass() uint8       { return uint8(r.scope) & (IdleClasses - 1) }
func (r *record) hasSession() bool       { return r.outer&stateMask != 0 }
func (r *record) hasMapping() bool       { return r.scope&flagMapping != 0 }
func (r *record) isOf(scope Endpoint) bool {
	return r.hasMapping() && (r.scope^scope.pack())&partMask == 0
}

// unused reports whether a mapping has neither a session nor a lifetime.
func (r *record) unused() bool { return r.sessions == 0 && r.scope&flagExplicit == 0 }

func (r *record) mapping() Mapping {
	return Mapping{
		Realm: r.realm(), Space: r.space(), Internal: r.internal(), External: r.external(),
		Scope: unpack(r.scope), At: r.place(),
	}
}

func (r *record) session() Session {
	return Session{
		Realm: r.realm(), Space: r.space(), Internal: r.internal(), External: r.external(),
		Remote: r.remote(), Phase: Phase(r.state() & phaseMask), Idle: r.idleClass(),
	}
}
