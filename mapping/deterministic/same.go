package deterministic

import (
	"bytes"
	"encoding/json"
	"slices"
)

// same reports whether two maps answer every question alike and have the same
// parameters but for spelling. Spans, exclusions and boundary addresses count as
// the addresses that they leave, in the order of their numbers: 192.0.2.1 is
// 192.0.2.1/32, but 10.0.0.0/28 is not 10.0.0.0-10.0.0.15 where boundary addresses
// are no subscribers. Reserved ranges count as the ports that they hold.
func (m *Map) same(o *Map) bool {
	if !m.in.equal(o.in) || !m.ext.equal(o.ext) || !slices.Equal(m.plan.runs, o.plan.runs) {
		return false
	}
	a, errA := json.Marshal(m.cfg.unspelled())
	b, errB := json.Marshal(o.cfg.unspelled())
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// unspelled returns the parameters that have one spelling only.
func (cfg Config) unspelled() configRecord {
	cfg.Internal, cfg.InternalExclude, cfg.IncludeBoundaryAddresses = nil, nil, false
	cfg.External, cfg.ExternalExclude, cfg.Reserved = nil, nil, nil
	return cfg.record()
}

// equal reports whether two keyspaces number the same keys alike. Neighbours are
// one segment, so equal numberings have equal segments.
func (k *keyspace) equal(o *keyspace) bool {
	return k.is4 == o.is4 && k.shift == o.shift && slices.Equal(k.byBase, o.byBase)
}
