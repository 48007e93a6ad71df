// Package blocknat puts an engine of package natcore under the conformance suite of package nattest. It is apart
// from both, so that the suite imports no NAT, and serves as a sample of an adapter.
package blocknat

import (
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/natcore/nattest"
	"github.com/blocknat/blocknat/portblock"
)

// Subject returns the engine as a subject of the suite.
func Subject() nattest.Subject { return subjectOf(open) }

// Batched returns the engine as a subject whose packets each travel in the middle of a batch, among packets
// of another realm. The engine takes batches on another way than single packets; the rows must not tell the difference.
func Batched() nattest.Subject { return subjectOf(openBatched) }

func subjectOf(open func(nattest.Config) (nattest.NAT, error)) nattest.Subject {
	return nattest.Subject{
		New: open,
		Deviates: map[string]string{
			"4787-03a/low": "ports come from the blocks that a host holds: the class is kept where one of them has such a port",
		},
	}
}

// subject is the adapter: an engine, and the translation of words.
type subject struct{ engine *natcore.Engine }

// open returns an engine that does what the configuration says.
func open(c nattest.Config) (nattest.NAT, error) {
	e, err := natcore.New(config(c), c.Now)
	return &subject{e}, err
}

// config translates a configuration. Its one pool is the first.
func config(c nattest.Config) natcore.Config {
	pool := natcore.PoolConfig{
		Name:      "pool",
		Mapping:   behaviourOf(c.Mapping),
		Filtering: behaviourOf(c.Filtering),
	}
	for _, a := range c.External {
		pool.Addresses = append(pool.Addresses, alloc.RangeOfPrefix(netip.PrefixFrom(a, 32)))
	}
	b := &pool.Blocks
	// A block of 16 ports makes the suite cross many blocks, and a host may hold them all.
	b.BlockSize, b.MaxBlocks = 16, 512
	if c.LastPort > 0 {
		b.Ports = portblock.RangeOf(c.FirstPort, c.LastPort)
	}
	if n := c.PortsPerHost; n > 0 {
		b.MaxPorts = [portblock.NumSpaces]int{n, n, n}
	}
	if c.KeepParity {
		b.Parity = portblock.Require
	}
	if c.KeepClass {
		b.Class, b.Ports = portblock.Prefer, portblock.RangeOf(1, 65535)
	}
	cfg := natcore.Config{
		Seed: [32]byte{1}, Log: logging.Discard, Pools: []natcore.PoolConfig{pool}, RefreshInbound: c.RefreshInbound,
		Limits:   natcore.Limits{SessionsPerSubscriber: c.SessionsPerHost},
		Timeouts: natcore.Timeouts{UDP: c.UDPTimeout, TCPEstablished: c.TCPTimeout, ICMP: c.ICMPTimeout},
	}
	if c.Untranslated.IsValid() {
		cfg.Rules = []natcore.Rule{
			{Internal: c.Internal, Remote: c.Untranslated, Action: natcore.Exempt},
			{Internal: c.Internal, Pool: pool.Name},
		}
	}
	return cfg
}

// behaviourOf returns the engine's word for a behaviour; it is endpoint-independent by itself.
func behaviourOf(b nattest.Behaviour) natcore.Behaviour {
	switch b {
	case nattest.AddressDependent:
		return natcore.AddressDependent
	case nattest.AddressAndPortDependent:
		return natcore.AddressAndPortDependent
	}
	return natcore.EndpointIndependent
}

func (u *subject) Outbound(b []byte, now time.Time) []nattest.Packet {
	return u.process(b, natcore.Outbound, now)
}

func (u *subject) Inbound(b []byte, now time.Time) []nattest.Packet {
	return u.process(b, natcore.Inbound, now)
}

// process translates one packet. What waited for it as a fragment goes with it.
func (u *subject) process(b []byte, d natcore.Direction, now time.Time) []nattest.Packet {
	batch := []natcore.Packet{{Bytes: b, Direction: d}}
	u.engine.Process(batch, now)
	return sentBy(u.engine.Drain(batch))
}

func (u *subject) Advance(now time.Time) []nattest.Packet {
	for !u.engine.Expire(now, 1<<20) {
	}
	return sentBy(u.engine.Drain(nil))
}

// sentBy turns what goes on into what is sent.
func sentBy(packets []natcore.Packet) []nattest.Packet {
	var out []nattest.Packet
	for _, p := range packets {
		switch p.Verdict {
		case natcore.Forward, natcore.Bypass, natcore.Hairpin:
			inside := p.Direction == natcore.Inbound || p.Verdict == natcore.Hairpin
			out = append(out, nattest.Packet{Bytes: p.Bytes, Inside: inside})
		}
	}
	return out
}
