package netsink

import (
	"fmt"
	"sync"

	"github.com/blocknat/blocknat/logging"
)

// A Store holds the records that a Sink accepted and did not deliver yet, in
// their order, numbered from 1 without a gap but for what it lost and counted:
//
//	acked | sent, not confirmed | waiting
//	      ^ Rewind goes here    ^ Next reads here
//
// *spool.Spool is one, on a disk. It is safe for concurrent use.
type Store interface {
	logging.Log // accepts a record behind the others

	// Next copies the record at the cursor to r, moves the cursor behind it
	// and returns its number; ok is false where none waits.
	Next(r *logging.Record) (seq uint64, ok bool, err error)
	// Rewind moves the cursor back to the first record that is not acked.
	Rewind()
	// Ack forgets the records up to seq.
	Ack(seq uint64)
	// Pending returns the number of the first record that is not acked and that
	// of the next record to come.
	Pending() (first, end uint64)
}

// memory is the Store of a Sink that has no other: a ring of records. What was
// sent stays in it as long as there is room.
type memory struct {
	mu      sync.Mutex
	ring    []logging.Record
	first   uint64 // number of the oldest record held
	wrote   uint64 // records below were written to the connection
	cursor  uint64 // number of the record that Next returns
	end     uint64 // number of the next record to come
	policy  logging.Policy
	dropped uint64
	assumed uint64 // written, not acked, and popped for want of room
}

func newMemory(size int, policy logging.Policy) *memory {
	return &memory{ring: make([]logging.Record, size), first: 1, wrote: 1, cursor: 1, end: 1, policy: policy}
}

func (m *memory) at(seq uint64) *logging.Record { return &m.ring[seq%uint64(len(m.ring))] }

// Append puts r in the ring. Where that is full the oldest record goes that was
// written to the connection; where all wait, the policy decides.
func (m *memory) Append(r *logging.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.end-m.first == uint64(len(m.ring)) {
		switch {
		case m.first < m.wrote:
			m.assumed++
			m.pop()
		case m.policy == logging.DropNew:
			m.dropped++
			return nil
		case m.policy == logging.DropOld && m.first == m.cursor:
			m.dropped++
			m.pop()
			m.cursor, m.wrote = m.first, m.first
		case m.policy == logging.DropOld:
			m.dropped++ // the old ones are on their way right now
			return nil
		default:
			return fmt.Errorf("%w: %d records wait for the collector", logging.ErrFull, m.end-m.cursor)
		}
	}
	*m.at(m.end) = *r
	m.end++
	return nil
}

// pop forgets the oldest record, and its text.
func (m *memory) pop() {
	*m.at(m.first) = logging.Record{}
	m.first++
}

func (m *memory) Next(r *logging.Record) (uint64, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cursor == m.end {
		return 0, false, nil
	}
	*r = *m.at(m.cursor)
	m.cursor++
	return m.cursor - 1, true, nil
}

func (m *memory) Rewind() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cursor, m.wrote = m.first, m.first
}

func (m *memory) Ack(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.first <= seq && m.first < m.cursor {
		m.pop()
	}
	m.wrote = max(m.wrote, m.first)
}

// written says that the records up to seq are with the connection.
func (m *memory) written(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrote = max(m.wrote, seq+1)
}

func (m *memory) Pending() (first, end uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.first, m.end
}

// abandon forgets the records behind seq.
func (m *memory) abandon(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.end > max(m.first, seq+1) {
		m.end--
		*m.at(m.end) = logging.Record{}
	}
	m.cursor, m.wrote = min(m.cursor, m.end), min(m.wrote, m.end)
}

// counts returns how many records the policy dropped, and how many made room
// after they were sent and before they were confirmed.
func (m *memory) counts() (dropped, assumed uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dropped, m.assumed
}
