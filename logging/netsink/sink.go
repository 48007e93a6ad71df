package netsink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/ipfix"
	"github.com/blocknat/blocknat/logging/syslog"
)

// A Sink is a logging.Log that sends records to a collector. It accepts a record
// by putting it in its store; one goroutine connects, sends and connects again.
// It is safe for concurrent use.
type Sink struct {
	network, address string
	c                Config
	store            Store
	out              output
	idle             time.Duration // how often refresh is called without records; 0: never

	work    chan struct{}   // a record waits or the sink was closed
	closing chan struct{}   // Close was called
	done    chan struct{}   // the goroutine has ended
	ctx     context.Context // ends when Close gives up
	cancel  context.CancelFunc

	gate   sync.RWMutex // held for reading while Append works, so that nothing comes after Close
	closed bool

	mu       sync.Mutex
	stats    Stats
	sent     uint64 // the highest number sent
	rejected uint64 // the highest number rejected
}

// Stats counts what a Sink did. Accepted records, those included that a store
// held before, are the sum of Sent, Skipped, Rejected, Dropped, Waiting, and of
// what a Store lost by itself.
type Stats struct {
	Accepted    uint64 // records that Append took, those dropped included
	Refused     uint64 // records that Append did not take
	Dropped     uint64 // records lost by Policy or by a Close that gave up
	Rejected    uint64 // records that cannot be sent in this format (logging.ErrRecord)
	Skipped     uint64 // records of kinds for which the format has nothing
	Sent        uint64 // records written to a connection, each counted once
	Resent      uint64 // records written again after a connection broke
	Waiting     uint64 // records that wait to be sent
	Unconfirmed uint64 // records that were sent and are kept to be sent again
	Assumed     uint64 // sent records that made room in memory before they were confirmed: a connection that broke later may have lost them
	Connects    uint64 // connections made
	Failures    uint64 // tries to connect that failed, and connections that broke
	Writes      uint64 // messages, or parts of a stream, written
	Octets      uint64 // octets written
	Connected   bool   // a connection is open
}

// New returns a running Sink that sends each record as enc encodes it: one
// datagram each over "udp", one behind the other over "tcp" and "tls". So
// logging.JSON{} gives JSON lines and syslog.Encoder{} syslog with a line feed
// behind each message (RFC 6587 section 3.4.2). Its error joins a *ConfigError
// for each fault. Close ends it.
func New(network, address string, enc logging.Encoder, c Config) (*Sink, error) {
	var more error
	if enc == nil {
		more = &ConfigError{"enc", nil, "must be an encoder"}
	}
	return start(network, address, &messages{enc: enc, stream: isStream(network)}, c, 0, more)
}

// NewSyslog returns a running Sink of syslog messages: one a datagram over "udp"
// (RFC 5426), with their length in front over "tcp" (octet counting, RFC 6587
// section 3.4.1) and over "tls" (RFC 5425).
func NewSyslog(network, address string, enc syslog.Encoder, c Config) (*Sink, error) {
	if isStream(network) {
		return New(network, address, syslog.Frames{Encoder: enc}, c)
	}
	return New(network, address, syslog.Datagrams{Encoder: enc}, c)
}

// NewIPFIX returns a running Sink of IPFIX messages over "udp", "tcp" or "tls",
// or of NetFlow 9 messages over "udp" (x.Version). Records that wait share
// messages up to x.MTU; none waits for others. Over a stream, templates are sent
// once a connection (RFC 7011 section 10.4); over UDP also again, as x says. The
// export time is that of Config.Now unless x.Now is set; x.Batch has no meaning.
func NewIPFIX(network, address string, x ipfix.Config, c Config) (*Sink, error) {
	now := c.Now
	if now == nil {
		now = time.Now
	}
	if x.Now == nil {
		x.Now = func() logging.Millis { return logging.MillisOf(now()) }
	}
	x.Batch = true
	var more error
	if x.Version == ipfix.NetFlow9 && isStream(network) {
		more = &ConfigError{"network", fmt.Sprintf("%q", network), `must be "udp" for NetFlow 9, whose messages have no length`}
	}
	interval := x.TemplateInterval
	if isStream(network) {
		x.TemplateInterval, x.TemplateMessages, interval = -1, -1, 0
	} else if interval == 0 {
		interval = 10 * time.Minute
	}
	e, err := ipfix.NewExporter(io.Discard, x)
	// A look each quarter of the interval finds templates due soon enough.
	return start(network, address, &flows{e}, c, max(interval/4, 0), errors.Join(err, more))
}

func start(network, address string, out output, c Config, idle time.Duration, more error) (*Sink, error) {
	c, err := c.filled(network, address)
	if err := errors.Join(err, more); err != nil {
		return nil, err
	}
	s := &Sink{
		network: network, address: address, c: c, store: c.Store, out: out, idle: idle,
		work: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{}),
	}
	if s.store == nil {
		s.store = newMemory(c.Size, c.Policy)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.run()
	return s, nil
}

// Append puts r in the store, or returns why that has no room. After Close it
// refuses with logging.ErrClosed. It never waits for the network.
func (s *Sink) Append(r *logging.Record) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	err := error(logging.ErrClosed)
	if !s.closed {
		err = s.store.Append(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.stats.Refused++
		return err
	}
	s.stats.Accepted++
	s.wake()
	return nil
}

func (s *Sink) wake() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// Close refuses further records, sends those that wait, closes the connection
// in order, waits until a stream's collector has closed it too, and returns nil
// when all that is so. When ctx ends before, it gives up: records in memory are
// counted as dropped, those in a Store stay there, and the error says how many.
// Close may be called once.
func (s *Sink) Close(ctx context.Context) error {
	s.gate.Lock()
	if s.closed {
		s.gate.Unlock()
		return logging.ErrClosed
	}
	s.closed = true
	s.gate.Unlock()
	close(s.closing)
	if waiting, unconfirmed := s.pending(); waiting+unconfirmed == 0 && !s.Stats().Connected {
		s.cancel() // nothing is worth a connection
	}
	s.wake()
	select {
	case <-s.done:
	case <-ctx.Done():
	}
	s.cancel()
	<-s.done
	waiting, unconfirmed := s.pending()
	if waiting+unconfirmed == 0 {
		return nil
	}
	why := context.Cause(ctx)
	if why == nil {
		why = errUnfinished
	}
	if s.c.Store != nil {
		return fmt.Errorf("netsink: %d records stay in the store that were not sent, %d that were sent without confirmation: %w", waiting, unconfirmed, why)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Dropped += waiting
	s.store.(*memory).abandon(s.sent)
	return fmt.Errorf("netsink: %d records were not sent, %d were sent without confirmation: %w", waiting, unconfirmed, why)
}

var errUnfinished = errors.New("the store is used by others")

// pending returns how many records wait to be sent for the first time, and how
// many were sent and may be sent again.
func (s *Sink) pending() (waiting, unconfirmed uint64) {
	first, end := s.store.Pending()
	s.mu.Lock()
	defer s.mu.Unlock()
	next := min(max(s.sent+1, first), end)
	return end - next, next - first
}

// Stats returns the counts.
func (s *Sink) Stats() Stats {
	waiting, unconfirmed := s.pending()
	s.mu.Lock()
	st := s.stats
	s.mu.Unlock()
	st.Waiting, st.Unconfirmed = waiting, unconfirmed
	if m, ok := s.store.(*memory); ok {
		dropped, assumed := m.counts()
		st.Dropped, st.Assumed = st.Dropped+dropped, assumed
	}
	return st
}
