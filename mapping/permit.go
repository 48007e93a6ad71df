package mapping

import "github.com/blocknat/blocknat/portblock"

func permitKey(space portblock.Space, remote uint32, remotes uint16) uint64 {
	return Endpoint{remote, remotes}.pack() | uint64(space)<<8
}

// Permit lets all ports of a remote address in that a session of the external endpoint
// reaches, in a class of remotes (address-dependent filtering, RFC 4787 section 5). Each call is undone by one of Forbid.
func (t *Table) Permit(space portblock.Space, external Endpoint, remote uint32, remotes uint16) {
	key := permitKey(space, remote, remotes)
	if e := t.permits.find(external.pack(), key); e != nil {
		e.v0++
		return
	}
	t.permits.insert(entry{external.pack(), key | 1, 1, 0})
}

// Forbid takes back one Permit.
func (t *Table) Forbid(space portblock.Space, external Endpoint, remote uint32, remotes uint16) {
	key := permitKey(space, remote, remotes)
	if e := t.permits.find(external.pack(), key); e != nil {
		if e.v0--; e.v0 == 0 {
			t.permits.remove(external.pack(), key)
		}
	}
}

// Permitted reports whether the remote address has a Permit of the external endpoint.
func (t *Table) Permitted(space portblock.Space, external Endpoint, remote uint32, remotes uint16) bool {
	return t.permits.find(external.pack(), permitKey(space, remote, remotes)) != nil
}
