package alloc

// A full pool is asked over and over, so its refusals cost no memory: the error
// is made anew only when the pool has changed so that the error would differ.
type cachedRefusal struct {
	err     *ExhaustedError
	version uint64
}

// refuse counts a refusal and returns its error.
func (p *Pool) refuse(paired bool) error {
	c, cause := &p.refusal[0], ErrExhausted
	if paired {
		p.refusals.Paired++
		c, cause = &p.refusal[1], ErrPaired
	}
	if c.err == nil || c.version != p.version {
		if e := (ExhaustedError{Pool: p.name, Resource: p.scarce(), Counts: p.Counts(), cause: cause}); c.err == nil || *c.err != e {
			c.err = &e
		}
		c.version = p.version
	}
	if !paired {
		switch c.err.Resource {
		case ResourceRoom:
			p.refusals.Room++
		case ResourceShares:
			p.refusals.Shares++
		default:
			p.refusals.Addresses++
		}
	}
	return c.err
}

// scarce names the resource of which more would help soonest: room, if that is
// all that closes an address; else shares; else addresses.
func (p *Pool) scarce() Resource {
	switch {
	case p.starved > 0:
		return ResourceRoom
	case p.full > 0 || p.free.total > 0:
		return ResourceShares
	}
	return ResourceAddresses
}
