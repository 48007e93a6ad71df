package mapping

// Most endpoints have one mapping with one session, and their anchor tells all. An endpoint with more, or whose mapping has an
// explicit lifetime, has an entry in its side's crowds as well, which flagCrowd tells.

// crowd is what an anchor has no room for.
type crowd struct {
	others uint32 // further halves of the endpoint
	// sessions is the number of sessions of the anchor's mapping, the anchor's own included; on the inbound side, where nothing
	// needs that, it is the number of further mappings.
	sessions uint32
	until    Tick // the end of the explicit lifetime of the anchor's mapping, where there is one
	explicit bool
	// keys is, on the inbound side, the exclusive or of the keys of the further mappings: the key of the last one, when one is left.
	keys uint64
}

const crowdExplicit = 1 << 32

func crowdKey(a *half) uint64 { return uint64(a.space())<<8 | 1 }

// crowd returns what is counted for an anchor.
func (x *side) crowd(a *half) (c crowd) {
	if a.crowded() {
		e := x.crowds.find(a.near, crowdKey(a))
		c = crowd{others: uint32(e.v0 >> 32), sessions: uint32(e.v0)}
		if x.counts {
			c.until, c.explicit = Tick(e.v1), e.v1&crowdExplicit != 0
		} else {
			c.keys = e.v1
		}
		return c
	}
	if x.counts && a.hasSession() {
		c.sessions = 1
	}
	return c
}

// setCrowd notes what is counted for an anchor: with an entry, where the anchor alone would not tell it.
func (x *side) setCrowd(a *half, c crowd) {
	alone := c.others == 0 && !c.explicit && (c.sessions == 0 || c.sessions == 1 && a.hasSession())
	if alone {
		if a.crowded() {
			x.crowds.remove(a.near, crowdKey(a))
			a.peer &^= flagCrowd
		}
		return
	}
	v0, v1 := uint64(c.others)<<32|uint64(c.sessions), c.keys
	if x.counts {
		v1 = uint64(c.until)
	}
	if c.explicit {
		v1 |= crowdExplicit
	}
	if a.crowded() {
		e := x.crowds.find(a.near, crowdKey(a))
		e.v0, e.v1 = v0, v1
		return
	}
	x.crowds.insert(entry{a.near, crowdKey(a), v0, v1})
	a.peer |= flagCrowd
}
