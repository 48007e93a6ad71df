package netsink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// Config says how a Sink works. The zero Config is ready: records wait in
// memory, TLS verifies the collector by the host of the address.
type Config struct {
	// Size is the most records in memory: those that wait, and, as long as
	// there is room, those that were sent and are not confirmed. 0 means
	// 16384, which takes 4.5 MB beside their text. Stats.Assumed tells when
	// it is too small for Window. It has no meaning with a Store, which
	// keeps all that is not confirmed.
	Size int

	// Policy says what happens to a record when Size wait to be sent. The
	// default refuses it. It has no meaning with a Store.
	Policy logging.Policy

	// Store holds the records in place of memory, as a *spool.Spool does on a
	// disk. The Sink reads from it alone; it does not close it.
	Store Store

	// Window is how many octets may lie between this program and the
	// collector's: in send and receive buffers, in tunnels and relays. A
	// record counts as confirmed when that many octets were sent after it, and
	// every reconnect sends again what is not confirmed. 0 means 8 MiB over a
	// stream, which is above the largest buffers that Linux makes unless told
	// otherwise, and 64 KiB over UDP. Less than 0 confirms what was written.
	Window int

	// TLS is the configuration of network "tls". nil means the system's
	// authorities. ServerName is the address's host where it is empty.
	TLS *tls.Config

	// DialTimeout bounds a try to connect, the TLS handshake included. 0 means
	// 10 s.
	DialTimeout time.Duration

	// WriteTimeout is after how long a collector that takes no octet counts as
	// gone. 0 means 30 s.
	WriteTimeout time.Duration

	// RetryMin and RetryMax bound the pause before the next try to connect; it
	// doubles from try to try, and half of it is random, so that many senders
	// do not return at once. A connection that held for RetryMax begins again
	// with RetryMin. 0 means 100 ms and 30 s.
	RetryMin, RetryMax time.Duration

	// OnError, if not nil, is told why a try to connect failed and why a
	// connection ended, from the Sink's goroutine. It must not call Close.
	OnError func(error)

	// Dial replaces the dialer of package net, as for tests, proxies and
	// source addresses. network is without "tls". A stream whose connection
	// cannot be closed for writing alone (CloseWrite) is confirmed when all
	// was written to it and Close closes it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Now and After replace the clock of package time. The clock paces pauses
	// and repeated templates; the times of records are their own.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time

	// Jitter replaces the source of randomness: it returns a number from 0 to
	// below 1.
	Jitter func() float64
}

// A ConfigError says which field has a value that breaks which rule.
type ConfigError struct {
	Field string
	Value any
	Rule  string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("netsink: %s is %v: %s", e.Field, e.Value, e.Rule)
}

// networks maps the names of networks to those of package net.
var networks = map[string]string{
	"udp": "udp", "udp4": "udp4", "udp6": "udp6",
	"tcp": "tcp", "tcp4": "tcp4", "tcp6": "tcp6",
	"tls": "tcp",
}

func isStream(network string) bool { return networks[network] != "" && network[:3] != "udp" }

// filled returns c with defaults in place of zeros, and all its faults.
func (c Config) filled(network, address string) (Config, error) {
	var errs []error
	fault := func(field string, value any, rule string) {
		errs = append(errs, &ConfigError{field, value, rule})
	}
	if networks[network] == "" {
		fault("network", fmt.Sprintf("%q", network), `must be "udp", "tcp" or "tls"; udp and tcp may be followed by 4 or 6`)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		fault("address", fmt.Sprintf("%q", address), "must be a host and a port, such as logs.example.net:6514")
	}
	if c.Policy > logging.DropOld {
		fault("Config.Policy", c.Policy, "must be RefuseNew, DropNew or DropOld")
	}
	if c.TLS != nil && network != "tls" {
		fault("Config.TLS", "set", `must be nil unless the network is "tls"`)
	}
	if c.Store != nil && (c.Size != 0 || c.Policy != 0) {
		fault("Config.Store", "set", "must be nil where Size or Policy is set: the store has its own")
	}
	if c.Window == 0 {
		c.Window = 64 << 10
		if isStream(network) {
			c.Window = 8 << 20
		}
	}
	if network == "tls" {
		if c.TLS == nil {
			c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		c.TLS = c.TLS.Clone()
		if c.TLS.ServerName == "" {
			c.TLS.ServerName = host
		}
	}
	if c.Size <= 0 {
		c.Size = 16384
	}
	positive(&c.DialTimeout, 10*time.Second)
	positive(&c.WriteTimeout, 30*time.Second)
	positive(&c.RetryMin, 100*time.Millisecond)
	positive(&c.RetryMax, 30*time.Second)
	c.RetryMax = max(c.RetryMax, c.RetryMin)
	if c.OnError == nil {
		c.OnError = func(error) {}
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
	if c.Jitter == nil {
		c.Jitter = rand.Float64
	}
	return c, errors.Join(errs...)
}

func positive(d *time.Duration, otherwise time.Duration) {
	if *d <= 0 {
		*d = otherwise
	}
}
