//go:build linux

package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/natcore"
)

const (
	// tick is the time between two calls of Expire.
	tick = time.Second
	// expireBudget is the number of table entries that one call looks at.
	expireBudget = 4096
)

// translator is the part of natcore.Engine that a forwarder calls.
type translator interface {
	Process(batch []natcore.Packet, now time.Time)
	Drain(dst []natcore.Packet) []natcore.Packet
	Reject(p *natcore.Packet, why rewrite.ICMPError, now time.Time) bool
	Expire(now time.Time, budget int) bool
}

// forwarder moves packets from a TUN device through a translator and back to the
// device. One goroutine runs it.
type forwarder struct {
	dev      *tun
	nat      translator
	internal []netip.Prefix
	pathMTU  int // 0: the kernel sees to it
	frames   []frame
	packets  []natcore.Packet
	drained  []natcore.Packet
	counts   forwarderCounts
	// onTick is called about each second by the goroutine of run; it may be nil.
	onTick func(now time.Time)
}

// forwarderCounts count since the start.
type forwarderCounts struct {
	Batches      uint64 // calls of Process
	PacketsIn    uint64 // read from the device; a segment of several packets counts once
	PacketsOut   uint64 // written to the device
	BytesIn      uint64
	BytesOut     uint64
	Segments     uint64 // read packets that were longer than the MTU
	WriteErrors  uint64 // packets that the kernel did not take
	TooLarge     uint64 // packets that were answered by the path MTU
	LargestBatch int
}

func newForwarder(dev *tun, nat translator, internal []netip.Prefix, batch int) *forwarder {
	return &forwarder{
		dev: dev, nat: nat, internal: internal,
		frames:  newFrames(batch),
		packets: make([]natcore.Packet, batch),
	}
}

// run forwards until ctx ends, which is no error, or the device fails.
func (f *forwarder) run(ctx context.Context, mtu int) error {
	stop := context.AfterFunc(ctx, f.dev.interrupt)
	defer stop()
	next := time.Now().Add(tick)
	if err := f.dev.setDeadline(next); err != nil {
		return err
	}
	for {
		n, err := f.dev.readBatch(f.frames)
		now := time.Now() // the only reading of the clock for the batch
		if n > 0 {
			if err := f.translate(n, mtu, now); err != nil {
				return err
			}
		}
		if !now.Before(next) {
			f.nat.Expire(now, expireBudget)
			if err := f.drain(); err != nil {
				return err
			}
			if f.onTick != nil {
				f.onTick(now)
			}
			next = now.Add(tick)
			if err := f.dev.setDeadline(next); err != nil {
				return err
			}
		}
		// ctx is looked at behind setDeadline, which may have undone the
		// interrupt.
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// translate sends n frames through the translator and writes what goes on.
func (f *forwarder) translate(n, mtu int, now time.Time) error {
	for i := range n {
		fr := &f.frames[i]
		b := fr.buf[f.dev.header:fr.n]
		p := natcore.Packet{Bytes: b, Direction: f.direction(b)}
		if f.dev.header > 0 && fr.buf[0]&vnetNeedsCsum != 0 {
			p.Flags |= natcore.PartialChecksum
		}
		f.packets[i] = p
		f.counts.BytesIn += uint64(len(b))
		if len(b) > mtu {
			f.counts.Segments++
		}
	}
	f.counts.Batches++
	f.counts.PacketsIn += uint64(n)
	f.counts.LargestBatch = max(f.counts.LargestBatch, n)

	f.nat.Process(f.packets[:n], now)
	for i := range n {
		if !goesOn(f.packets[i].Verdict) {
			continue
		}
		if f.tooLarge(&f.frames[i], f.packets[i].Bytes) {
			// The error goes back through the translation: its receiver reads about the packet that it sent.
			f.nat.Reject(&f.packets[i], rewrite.FragmentationNeeded(f.pathMTU), now)
			f.counts.TooLarge++
			continue
		}
		if err := f.sent(f.dev.write(&f.frames[i]), len(f.packets[i].Bytes)); err != nil {
			return err
		}
	}
	return f.drain()
}

// tooLarge reports whether a packet does not fit the networks behind and may not be cut. Segments that the
// kernel cuts by itself do.
func (f *forwarder) tooLarge(fr *frame, b []byte) bool {
	segments := f.dev.header > 0 && fr.buf[1] != vnetGSONone
	return f.pathMTU > 0 && len(b) > f.pathMTU && !segments && rewrite.IPv4Header(b).DontFragment()
}

// drain writes the fragments that the translator has let go.
func (f *forwarder) drain() error {
	f.drained = f.nat.Drain(f.drained[:0])
	for i := range f.drained {
		p := &f.drained[i]
		if !goesOn(p.Verdict) {
			continue
		}
		if err := f.sent(f.dev.writePacket(p.Bytes), len(p.Bytes)); err != nil {
			return err
		}
	}
	clear(f.drained) // the translator made their bytes; the collector may have them
	return nil
}

// goesOn reports whether a packet is given back to the kernel, whose routing
// table knows the way for every direction.
func goesOn(v natcore.Verdict) bool {
	return v == natcore.Forward || v == natcore.Hairpin || v == natcore.Bypass
}

// sent counts a write. A packet that the kernel refuses, or that meets a device
// that is down, is lost, as on any link; only a device that is gone ends the
// forwarding.
func (f *forwarder) sent(err error, n int) error {
	switch {
	case err == nil:
		f.counts.PacketsOut++
		f.counts.BytesOut += uint64(n)
		return nil
	case errors.Is(err, errTUNGone):
		return err
	}
	f.counts.WriteErrors++
	return nil
}

// direction tells by its source which way a packet travels: what internal
// hosts send is outbound. Bytes that are no IPv4 packet are left to the
// translator to refuse.
func (f *forwarder) direction(b []byte) natcore.Direction {
	if len(b) < 20 || b[0]>>4 != 4 {
		return natcore.Outbound
	}
	src := netip.AddrFrom4([4]byte(b[12:16]))
	for _, p := range f.internal {
		if p.Contains(src) {
			return natcore.Outbound
		}
	}
	return natcore.Inbound
}
