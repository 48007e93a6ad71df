package logging

import (
	"fmt"
	"slices"
	"sync"
)

// Memory is a Log that keeps records in memory, for tests and for short runs.
// It promises nothing beyond the process. The zero Memory is ready and has no
// bound. It is safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	limit   int
	refusal error
	recs    []Record
}

// NewMemory returns a Memory for at most limit records; 0 and below mean no
// bound. When it is full it refuses with ErrFull.
func NewMemory(limit int) *Memory { return &Memory{limit: max(limit, 0)} }

// Append keeps a copy of r, or refuses with ErrFull or the error of Refuse.
func (m *Memory) Append(r *Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refusal != nil {
		return m.refusal
	}
	if m.limit > 0 && len(m.recs) >= m.limit {
		return fmt.Errorf("%w: %d records in memory", ErrFull, m.limit)
	}
	m.recs = append(m.recs, *r)
	return nil
}

// Refuse makes every later Append fail with err, until Refuse(nil).
func (m *Memory) Refuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusal = err
}

// Len returns how many records m holds.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.recs)
}

// Records returns a copy of the records in the order of their acceptance.
func (m *Memory) Records() []Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.recs)
}

// Reset forgets all records; the bound and the refusal stay.
func (m *Memory) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recs = nil
}
