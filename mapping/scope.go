package mapping

import "strconv"

// Dependence is how much of the remote endpoint a mapping depends on (RFC 4787 section 4.1).
type Dependence uint8

const (
	// OnNothing: one mapping serves all remote endpoints of its class (endpoint-independent).
	OnNothing Dependence = iota
	// OnAddress: one mapping serves all ports of a remote address (address-dependent).
	OnAddress
	// OnEndpoint: one mapping serves one remote endpoint (address-and-port-dependent).
	OnEndpoint
)

// Pools is the number of pools that scopes tell apart.
const Pools = 1024

// Scope says which remote endpoints a mapping serves, and so which mapping of an internal endpoint is meant. It is comparable.
type Scope struct {
	// Remote is the remote endpoint as far as the mapping depends on it: zero, the address alone, or all of it.
	Remote Endpoint
	// Class is the class of remotes whose port space the mapping's port is of; 0 where there is one port space for all.
	Class uint16
	// Pool is the number of the pool of the external address, below Pools.
	Pool uint16
	On   Dependence
}

// ScopeOf returns the scope of the mappings that serve a remote endpoint.
func ScopeOf(on Dependence, pool, class uint16, remote Endpoint) Scope {
	return Scope{remote.as(on), class, pool, on}
}

// as returns an endpoint as far as a mapping depends on it.
func (e Endpoint) as(on Dependence) Endpoint {
	switch on {
	case OnNothing:
		return Endpoint{}
	case OnAddress:
		return Endpoint{Addr: e.Addr}
	}
	return e
}

// key is the part of a mapping's key that tells scopes apart. Two of one internal endpoint differ in it: it has no room for the pool of
// one that depends on all of the remote endpoint, of which there is one mapping at a time beside the anchor's.
func (s Scope) key() uint64 {
	e := s.Remote
	switch s.On {
	case OnNothing:
		e = Endpoint{uint32(s.Class), s.Pool}
	case OnAddress:
		e.Port = s.Pool
	}
	return e.pack() | uint64(s.On)<<scopeShift
}

// String returns the scope as "198.51.100.10:443".
func (s Scope) String() string {
	switch s.On {
	case OnNothing:
		return "any/" + strconv.Itoa(int(s.Class))
	case OnAddress:
		return Addr4(s.Remote.Addr).String()
	}
	return s.Remote.String()
}
