package alloc

import (
	"net/netip"
	"sync"
)

// Locked puts a mutex around a Pool. It is safe for concurrent use.
type Locked struct {
	mu   sync.Mutex
	pool *Pool
}

// NewLocked wraps a pool; the caller must not use the pool directly from then on.
func NewLocked(p *Pool) *Locked { return &Locked{pool: p} }

// Do runs f with the pool while it holds the lock. f must not keep the pool.
func (l *Locked) Do(f func(*Pool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.pool)
}

// Take is Pool.Take under the lock.
func (l *Locked) Take(how Choice) (Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pool.Take(how)
}

// TakeAddress is Pool.TakeAddress under the lock.
func (l *Locked) TakeAddress(addr netip.Addr) (Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pool.TakeAddress(addr)
}

// TakeKey is Pool.TakeKey under the lock.
func (l *Locked) TakeKey(key uint64) (Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pool.TakeKey(key)
}

// Return is Pool.Return under the lock.
func (l *Locked) Return(lease Lease) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pool.Return(lease)
}
