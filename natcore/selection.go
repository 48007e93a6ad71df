package natcore

import (
	"math"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/mapping"
)

// selection is how flow masks choose the external address of a subscriber and
// the port space of a remote endpoint (PoolConfig.Select and Remotes). It is
// immutable and read without a lock; nil stands for a pool without masks.
type selection struct {
	subscribers *flowmask.Index
	usable      []uint32 // positions, in order
	remotes     *flowmask.Index
}

func newSelection(cfg *PoolConfig, pool *alloc.Pool, path string) (*selection, error) {
	if cfg.Select == (flowmask.Mask{}) {
		return nil, nil
	}
	var f faults
	s := &selection{}
	var err error
	if s.subscribers, err = flowmask.NewIndex(cfg.Select); err != nil {
		f.add(path+"Select", cfg.Select, err.Error())
	}
	if cfg.Remotes != (flowmask.Mask{}) {
		if s.remotes, err = flowmask.NewIndex(cfg.Remotes); err != nil {
			f.add(path+"Remotes", cfg.Remotes, err.Error())
		}
	}
	if len(f) > 0 {
		return nil, f[0]
	}
	if pool.Positions()*uint64(s.classes()) > math.MaxUint32 {
		f.add(path+"Remotes", cfg.Remotes, "makes more than 2^32 port spaces out of the pool's addresses")
		return nil, f[0]
	}
	// An index is never larger than the mask's values, so neither is what it can reach.
	for info := range pool.Addresses(0) {
		if len(s.usable) == s.subscribers.Len() {
			break
		}
		if info.Status&alloc.StatusExcluded == 0 {
			s.usable = append(s.usable, info.Position)
		}
	}
	if len(s.usable) == 0 {
		f.add(path+"Addresses", cfg.Addresses, "all are excluded")
		return nil, f[0]
	}
	return s, nil
}

// classes returns the number of classes of remotes.
func (s *selection) classes() int {
	if s == nil || s.remotes == nil {
		return 1
	}
	return s.remotes.Len()
}

// position returns the place of a subscriber's external address.
func (s *selection) position(internal uint32) uint32 {
	i, _ := s.subscribers.Of(flowmask.FlowFrom4(0, 0, mapping.Addr4(internal).As4(), [4]byte{}, 0, 0))
	return s.usable[int(i)%len(s.usable)]
}

// class returns the class of a remote endpoint.
func (s *selection) class(remote mapping.Endpoint) uint16 {
	if s == nil || s.remotes == nil {
		return 0
	}
	i, _ := s.remotes.Of(flowmask.FlowFrom4(0, 0, [4]byte{}, mapping.Addr4(remote.Addr).As4(), 0, remote.Port))
	return uint16(i)
}

// scope returns the scope and the class of a mapping that is used with a remote
// endpoint. A mapping is one for each pool, as rules may send a host's packets to several, and an
// endpoint-independent one is one for each class of remotes.
func (p *pool) scope(remote mapping.Endpoint) (mapping.Scope, uint16) {
	class := p.selection.class(remote)
	return mapping.ScopeOf(dependence[p.cfg.Mapping], p.cfg.Blocks.Pool, class, remote), class
}

var dependence = [...]mapping.Dependence{
	EndpointIndependent: mapping.OnNothing, AddressDependent: mapping.OnAddress, AddressAndPortDependent: mapping.OnEndpoint,
}
