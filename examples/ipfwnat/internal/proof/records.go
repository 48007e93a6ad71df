package proof

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// records are the intervals of the block records: which client held which block when.
type records struct {
	intervals []interval
	nodes     []node
	heads     map[blockKey]int32 // the latest node of 16 neighbouring ports
	open      map[blockKey]int32 // the interval that holds a block's first port now
	rest      []byte             // the beginning of a line
	bad       int
	why       string
}

type interval struct {
	client      uint32
	first, last uint16
	from, to    int32 // ms, both included
}

// node links the intervals of the same ports, the latest first.
type node struct{ interval, before int32 }

// blockKey is 16 neighbouring ports of an external address in a class, or a first port.
type blockKey struct {
	external uint32
	class    uint16
	port     uint16
}

// record is what is read of a line.
type record struct {
	Kind       string    `json:"kind"`
	Time       time.Time `json:"time"`
	Class      uint16    `json:"class"`
	Subscriber string    `json:"subscriber"`
	External   string    `json:"external"`
	First      uint16    `json:"first"`
	Last       uint16    `json:"last"`
}

// Write takes block records as lines of JSON while they are written.
func (p *Proof) Write(b []byte) (int, error) {
	r := &p.records
	r.rest = append(r.rest, b...)
	for {
		i := bytes.IndexByte(r.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		r.take(r.rest[:i], p.start)
		r.rest = r.rest[:copy(r.rest, r.rest[i+1:])]
	}
}

// finish ends the records: a line that is not whole is one that cannot be read.
func (r *records) finish() {
	if len(r.rest) > 0 {
		r.fault("a record is cut: %s", r.rest)
		r.rest = nil
	}
}

func (r *records) fault(format string, args ...any) {
	if r.bad++; r.bad == 1 {
		r.why = fmt.Sprintf(format, args...)
	}
}

// take reads one line. Only blocks count.
func (r *records) take(line []byte, start time.Time) {
	var v record
	err := json.Unmarshal(line, &v)
	if err == nil && v.Kind != "" && v.Kind != "block-allocated" && v.Kind != "block-released" {
		return // an event, such as that ports are exhausted
	}
	client, err2 := address(v.Subscriber)
	external, err3 := address(v.External)
	if err != nil || err2 != nil || err3 != nil || v.First > v.Last {
		r.fault("a record cannot be read: %s", line)
		return
	}
	ms := int32(v.Time.Sub(start).Milliseconds())
	key := blockKey{external, v.Class, v.First}
	i, held := r.open[key]
	switch v.Kind {
	case "block-allocated":
		if held {
			r.fault("a block is allocated that is held: %s", line)
		}
		i = int32(len(r.intervals))
		r.intervals = append(r.intervals, interval{client, v.First, v.Last, ms, math.MaxInt32})
		r.open[key] = i
		for group := v.First >> 4; ; group++ {
			at := blockKey{external, v.Class, group}
			before, ok := r.heads[at]
			if !ok {
				before = -1
			}
			r.nodes = append(r.nodes, node{i, before})
			r.heads[at] = int32(len(r.nodes) - 1)
			if group == v.Last>>4 {
				return
			}
		}
	case "block-released":
		if !held || r.intervals[i].client != client || r.intervals[i].last != v.Last {
			r.fault("a block is released that is not held so: %s", line)
			return
		}
		r.intervals[i].to = ms
		delete(r.open, key)
	}
}

// who returns the client that the records name for an external port at a time, and how many they name.
func (r *records) who(external uint32, class, port uint16, ms int32) (client uint32, n int) {
	at, ok := r.heads[blockKey{external, class, port >> 4}]
	if !ok {
		at = -1
	}
	for ; at >= 0; at = r.nodes[at].before {
		v := &r.intervals[r.nodes[at].interval]
		if port >= v.first && port <= v.last && v.from <= ms && ms <= v.to {
			client = v.client
			n++
		}
	}
	return client, n
}

// logged checks that the records written so far name the client of a flow.
func (p *Proof) logged(f *flow, ms int32) { p.loggedAs(checkLog, f, ms) }

func (p *Proof) loggedAs(which int, f *flow, ms int32) {
	client, n := p.records.who(f.external, f.class, f.externalPort, ms)
	p.expect(which, n == 1 && client == f.client, func() string {
		named := "nobody"
		if n > 0 {
			named = fmt.Sprintf("%d clients, %v among them", n, ip(client))
		}
		return fmt.Sprintf("%s %s towards class %d at %.3f s was %v, the records name %s",
			protoName(f.proto), endpoint(f.external, f.externalPort), f.class, float64(ms)/1000, ip(f.client), named)
	})
}
