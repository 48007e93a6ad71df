package main

import (
	"encoding/binary"

	"github.com/blocknat/blocknat/examples/ipfwnat/internal/proof"
)

// An observer hands what happens to the proof, which works in a goroutine of its own, in the
// order in which it happens: packets and records are one stream, so that a packet which comes
// before its block's record is caught. Finish waits for the proof. An observer has one user at a time.
type observer struct {
	batch []byte
	full  chan []byte
	empty chan []byte
	done  chan struct{}
}

// Kinds of events; each begins with its kind, the time and two lengths.
const (
	eventOut = iota
	eventIn
	eventLostOut
	eventLostIn
	eventStranger
	eventRecord

	eventHead = 1 + 4 + 4 + 4
)

const (
	batchBytes = 256 << 10
	batches    = 8
)

func observe(p *proof.Proof) *observer {
	o := &observer{full: make(chan []byte, batches), empty: make(chan []byte, batches), done: make(chan struct{})}
	for range batches {
		o.empty <- make([]byte, 0, batchBytes)
	}
	o.batch = <-o.empty
	go func() {
		defer close(o.done)
		for b := range o.full {
			show(p, b)
			o.empty <- b[:0]
		}
	}()
	return o
}

// event adds an event with its two texts: a packet before and after, or what is lost and why.
func (o *observer) event(kind byte, ms int32, first, second []byte) {
	if len(o.batch)+eventHead+len(first)+len(second) > batchBytes && len(o.batch) > 0 {
		o.full <- o.batch
		o.batch = <-o.empty
	}
	b := append(o.batch, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(ms))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(first)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(second)))
	o.batch = append(append(b, first...), second...)
}

// Write takes block records, as an io.Writer.
func (o *observer) Write(b []byte) (int, error) {
	o.event(eventRecord, 0, b, nil)
	return len(b), nil
}

// finish waits until the proof has seen all.
func (o *observer) finish() {
	o.full <- o.batch
	close(o.full)
	<-o.done
}

// show hands a batch to the proof.
func show(p *proof.Proof, b []byte) {
	for len(b) > 0 {
		kind, ms := b[0], int32(binary.LittleEndian.Uint32(b[1:]))
		n, m := binary.LittleEndian.Uint32(b[5:]), binary.LittleEndian.Uint32(b[9:])
		first, second := b[eventHead:eventHead+n], b[eventHead+n:eventHead+n+m]
		b = b[eventHead+n+m:]
		switch kind {
		case eventOut:
			p.Outbound(ms, first, second)
		case eventIn:
			p.Inbound(ms, first, second)
		case eventStranger:
			p.Stranger(ms, first, second)
		case eventLostOut, eventLostIn:
			p.Lost(kind == eventLostOut, first, string(second))
		case eventRecord:
			_, _ = p.Write(first) // counts what it cannot read
		}
	}
}
