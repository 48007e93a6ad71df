package netsink_test

import (
	"errors"
	"net"
	"sync/atomic"
)

// buffered is a connection with a buffer between both ends, as sockets have: what
// is written returns before the collector has read it, and is lost when the
// collector goes. An end in order reaches the sink after the collector has read
// all; any other one is a reset.
type buffered struct {
	net.Conn
	chunks chan []byte
	shut   chan struct{} // the sink wrote its last octet
	reset  atomic.Bool
}

var errReset = errors.New("connection reset by peer")

// chunk is the most octets that the buffer takes at once.
const chunk = 64

// capacity is the most octets that lie in a buffer of n chunks, those included
// that are being moved.
func capacity(n int) int { return chunk * (n + 2) }

// ahead puts a buffer of n chunks before the collector's end of a connection.
func ahead(collector net.Conn, n int) net.Conn {
	near, far := net.Pipe()
	b := &buffered{Conn: near, chunks: make(chan []byte, n), shut: make(chan struct{})}
	gone := make(chan struct{})
	go func() { // fills
		defer close(b.chunks)
		for {
			p := make([]byte, chunk)
			m, err := far.Read(p)
			if err != nil {
				return
			}
			select {
			case b.chunks <- p[:m]:
			case <-gone:
				return
			}
		}
	}()
	go func() { // empties
		defer far.Close()
		defer close(gone)
		for {
			var p []byte
			select {
			case p = <-b.chunks:
			default:
				select {
				case p = <-b.chunks:
				case <-b.shut:
					if len(b.chunks) > 0 {
						continue
					}
					_ = collector.Close()
					return
				}
			}
			if p == nil { // the sink closed
				_ = collector.Close()
				return
			}
			if _, err := collector.Write(p); err != nil {
				b.reset.Store(true)
				return
			}
		}
	}()
	return b
}

// CloseWrite is called when all was taken by Write; the last chunk may be on its
// way to the buffer, which an empty Write waits for.
func (b *buffered) CloseWrite() error {
	if _, err := b.Conn.Write(nil); err != nil {
		return err
	}
	close(b.shut)
	return nil
}

func (b *buffered) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if b.reset.Load() {
		err = errReset
	}
	return n, err
}
