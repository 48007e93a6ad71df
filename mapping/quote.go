package mapping

import "github.com/blocknat/blocknat/portblock"

// UnderWay reports whether a TCP segment that an ICMP error quotes may be on its way: whether its sequence
// number is at most window bytes behind the highest that its sender has sent, and not far ahead of it (RFC 5927
// section 4.1 as seen from between the ends). Where there is no session, or its numbers are not known, it may. Nothing changes.
func (t *Table) UnderWay(realm uint16, internal, remote Endpoint, fromRemote bool, seq uint32, window int) bool {
	p := t.session(realm, portblock.TCP, internal, remote)
	if p.seg == nil {
		return true
	}
	r, known := p.half(), uint8(knownInternal)
	if fromRemote {
		r, known = t.returning(p), knownRemote
	}
	ahead := int64(int32(seq - r.next))
	return r.state()&known == 0 || -int64(window) <= ahead && ahead <= windowAhead
}
