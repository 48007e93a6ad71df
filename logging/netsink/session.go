package netsink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// run connects and sends until the sink is closed and all is sent, or Close gave
// up.
func (s *Sink) run() {
	defer close(s.done)
	pause := s.c.RetryMin
	for s.ctx.Err() == nil {
		began := s.c.Now()
		nc, err := s.dial()
		if err == nil {
			err = s.session(nc)
			if err == nil {
				return
			}
			if s.c.Now().Sub(began) >= s.c.RetryMax {
				pause = s.c.RetryMin
			}
		}
		if s.ctx.Err() != nil {
			return
		}
		s.count(func(st *Stats) { st.Failures++ })
		s.c.OnError(fmt.Errorf("netsink: %s %s: %w", s.network, s.address, err))
		select {
		case <-s.c.After(pause/2 + time.Duration(s.c.Jitter()*float64(pause/2))):
		case <-s.ctx.Done():
		}
		pause = min(2*pause, s.c.RetryMax)
	}
}

func (s *Sink) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

// dial connects, for "tls" with the handshake.
func (s *Sink) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, s.c.DialTimeout)
	defer cancel()
	nc, err := s.c.Dial(ctx, networks[s.network], s.address)
	if err != nil || s.network != "tls" {
		return nc, err
	}
	t := tls.Client(nc, s.c.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return t, nil
}

// session sends over one connection until it breaks, which is an error, or until
// the sink is closed and all is sent and confirmed.
func (s *Sink) session(nc net.Conn) error {
	defer context.AfterFunc(s.ctx, func() { _ = nc.Close() })()
	defer func() { _ = nc.Close() }()
	c := &conn{Conn: nc, timeout: s.c.WriteTimeout}
	gone := make(chan error, 1)
	go func() { gone <- drain(nc) }()
	s.out.reset(c)
	s.store.Rewind()
	s.count(func(st *Stats) { st.Connects, st.Connected = st.Connects+1, true })
	defer s.count(func(st *Stats) { st.Connected = false })
	l := ledger{window: s.c.Window}
	var due <-chan time.Time
	for {
		n, err := s.batch(c, &l)
		switch {
		case err != nil:
			return err
		case n > 0:
			select {
			case err := <-gone:
				return left(err)
			default:
				continue
			}
		}
		select {
		case <-s.closing:
			return s.finish(nc, gone)
		default:
		}
		if s.idle > 0 && due == nil {
			due = s.c.After(s.idle)
		}
		select {
		case <-s.work:
		case <-s.closing:
		case err := <-gone:
			return left(err)
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-due:
			due = nil
			if err := s.out.refresh(s.c.Now()); err != nil {
				return err
			}
		}
	}
}

// drain reads what a collector says, which is nothing of use, until it closes.
func drain(nc net.Conn) error {
	var b [512]byte
	for {
		if _, err := nc.Read(b[:]); err != nil {
			return err
		}
	}
}

// left says that the collector closed a connection that was to stay.
func left(err error) error {
	if errors.Is(err, io.EOF) {
		return errLeft
	}
	return err
}

var errLeft = errors.New("the collector closed the connection")

// most is how many records are taken before a look whether the connection
// still stands.
const most = 256

// batch sends records that wait and returns how many it took.
func (s *Sink) batch(c *conn, l *ledger) (n int, err error) {
	var r logging.Record
	var last, fresh, again, skipped uint64
	octets, writes := c.octets, c.writes
	defer func() {
		s.count(func(st *Stats) { st.Octets, st.Writes = st.Octets+c.octets-octets, st.Writes+c.writes-writes })
	}()
	for ; n < most; n++ {
		seq, ok, err := s.store.Next(&r)
		if err != nil {
			return n, err
		}
		if !ok {
			break
		}
		switch err := s.out.add(&r); {
		case errors.Is(err, logging.ErrRecord):
			s.reject(seq, err)
		case err != nil && !errors.Is(err, errSkipped):
			return n, err
		case seq <= s.sent: // written by this goroutine alone
			if err == nil {
				again++
			}
		case err != nil:
			skipped++
		default:
			fresh++
		}
		last = seq
	}
	if n == 0 {
		return 0, nil
	}
	if err := s.out.flush(); err != nil {
		return n, err
	}
	s.count(func(st *Stats) {
		st.Sent, st.Resent, st.Skipped = st.Sent+fresh, st.Resent+again, st.Skipped+skipped
		s.sent = max(s.sent, last)
	})
	if m, ok := s.store.(*memory); ok {
		m.written(last)
	}
	if ack := l.add(last, c.octets); ack > 0 {
		s.store.Ack(ack)
	}
	return n, nil
}

// reject counts a record that can never be sent, once.
func (s *Sink) reject(seq uint64, err error) {
	s.mu.Lock()
	again := seq <= s.rejected
	if !again {
		s.rejected = seq
		s.stats.Rejected++
	}
	s.mu.Unlock()
	if !again {
		s.c.OnError(err)
	}
}

// finish ends a connection in order. A collector that closes a stream after
// having read its end has read all of it; one that has not ends it by a reset.
func (s *Sink) finish(nc net.Conn, gone <-chan error) error {
	select {
	case err := <-gone:
		return left(err)
	default:
	}
	if h, ok := nc.(interface{ CloseWrite() error }); ok && isStream(s.network) {
		if err := h.CloseWrite(); err != nil {
			return err
		}
		select {
		case err := <-gone:
			if !errors.Is(err, io.EOF) {
				return err
			}
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	_, end := s.store.Pending()
	s.store.Ack(end - 1)
	return nil
}

// A ledger notes up to which octet of a connection which record was written.
type ledger struct {
	window int
	marks  []mark
}

type mark struct{ seq, octets uint64 }

// coarse is how many marks a window has, about. More would only take memory.
const coarse = 256

// add notes that the record seq ends at an octet, and returns the number of the
// last record that is confirmed by that, or 0.
func (l *ledger) add(seq, octets uint64) (ack uint64) {
	if l.window < 0 {
		return seq
	}
	if n := len(l.marks); n > 1 && octets-l.marks[n-2].octets < uint64(l.window)/coarse {
		l.marks[n-1] = mark{seq, octets}
	} else {
		l.marks = append(l.marks, mark{seq, octets})
	}
	i := 0
	for i < len(l.marks) && l.marks[i].octets+uint64(l.window) <= octets {
		ack = l.marks[i].seq
		i++
	}
	l.marks = append(l.marks[:0], l.marks[i:]...)
	return ack
}
