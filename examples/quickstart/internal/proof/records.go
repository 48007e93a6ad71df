package proof

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/gopacket/layers"
)

// record is what this package reads of a line of the block records.
type record struct {
	Kind       string    `json:"kind"`
	Time       time.Time `json:"time"`
	Subscriber string    `json:"subscriber"`
	External   string    `json:"external"`
	First      uint16    `json:"first"`
	Last       uint16    `json:"last"`
	Step       uint16    `json:"step"`
	Spaces     []string  `json:"spaces"`
}

// interval is one block in the hands of one subscriber.
type interval struct {
	sub, ext          netip.Addr
	first, last, step uint16
	spaces            []string
	from, to          int64 // ms; to is open while the block is held
}

const open = math.MaxInt64

func (v *interval) has(port uint16, space string) bool {
	return port >= v.first && port <= v.last && (port-v.first)%max(v.step, 1) == 0 && slices.Contains(v.spaces, space)
}

// blockIndex finds the intervals of an external address by port, in groups of 16 ports.
type blockIndex map[groupKey][]*interval

type groupKey struct {
	ext   netip.Addr
	group uint16
}

// Records reads the block records as JSON lines and tries every use of an
// external endpoint on them. It is called once, after the last packet.
func (p *Proof) Records(r io.Reader) error {
	blocks, err := p.readBlocks(r)
	if err != nil {
		return err
	}
	index := blockIndex{}
	for _, v := range blocks {
		for g := v.first >> 4; ; g++ {
			key := groupKey{v.ext, g}
			index[key] = append(index[key], v)
			if g == v.last>>4 {
				break
			}
		}
	}
	p.overlaps(index, blocks)
	for i := range p.uses {
		p.lookUp(index, &p.uses[i])
	}
	return nil
}

// readBlocks pairs allocations with releases. Equal lines count as one.
func (p *Proof) readBlocks(r io.Reader) ([]*interval, error) {
	var blocks []*interval
	held := map[string]*interval{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	var before []byte
	for n := 1; lines.Scan(); n++ {
		if bytes.Equal(lines.Bytes(), before) {
			continue
		}
		before = append(before[:0], lines.Bytes()...)
		var rec record
		if err := json.Unmarshal(before, &rec); err != nil {
			return nil, fmt.Errorf("line %d of the block records: %w", n, err)
		}
		if !strings.HasPrefix(rec.Kind, "block-") {
			continue
		}
		v := &interval{first: rec.First, last: rec.Last, step: rec.Step, spaces: rec.Spaces, from: rec.Time.UnixMilli(), to: open}
		var err1, err2 error
		v.sub, err1 = netip.ParseAddr(rec.Subscriber)
		v.ext, err2 = netip.ParseAddr(rec.External)
		if err1 != nil || err2 != nil || v.first > v.last {
			return nil, fmt.Errorf("line %d of the block records: no subscriber, external address or ports", n)
		}
		key := fmt.Sprint(v.sub, v.ext, v.first, v.last)
		switch rec.Kind {
		case "block-allocated":
			blocks = append(blocks, v)
			held[key] = v
		case "block-released":
			was := held[key]
			if was == nil {
				p.overlap.fail("line %d releases a block that %v does not hold", n, v.sub)
				continue
			}
			was.to = v.from
			delete(held, key)
		}
	}
	for _, v := range blocks {
		p.released.Cases++
		if v.to == open {
			p.released.fail("%v still holds %v ports %d-%d", v.sub, v.ext, v.first, v.last)
		}
	}
	return blocks, lines.Err()
}

// overlaps judges each pair of intervals with a port in common.
func (p *Proof) overlaps(index blockIndex, blocks []*interval) {
	p.overlap.Cases += len(blocks)
	type pair struct{ a, b *interval }
	judged := map[pair]bool{}
	for _, group := range index {
		slices.SortStableFunc(group, func(a, b *interval) int { return int(min(max(a.from-b.from, -1), 1)) })
		for i, b := range group {
			for _, a := range group[:i] {
				if judged[pair{a, b}] || !meet(a, b) {
					continue
				}
				judged[pair{a, b}] = true
				p.guard.Cases++
				switch {
				case a.to == open || b.from < a.to:
					p.overlap.fail("%v ports %d-%d are held by %v and %v at one time", a.ext, a.first, a.last, a.sub, b.sub)
				case b.from-a.to < p.times.GuardTime.Milliseconds():
					p.guard.fail("%v ports %d-%d went from %v to %v within %d ms", a.ext, a.first, a.last, a.sub, b.sub, b.from-a.to)
				}
			}
		}
	}
}

// meet reports whether two blocks of an address have a port in common.
func meet(a, b *interval) bool {
	for port := int(max(a.first, b.first)); port <= int(min(a.last, b.last)); port++ {
		for _, s := range a.spaces {
			if a.has(uint16(port), s) && b.has(uint16(port), s) {
				return true
			}
		}
	}
	return false
}

// lookUp asks the records who had the endpoint at the time: the subscriber, and nobody else.
func (p *Proof) lookUp(index blockIndex, u *use) {
	p.resolve.Cases++
	ext, sub := netip.AddrFrom4(u.ext), netip.AddrFrom4(u.sub)
	var who []netip.Addr
	for _, v := range index[groupKey{ext, u.port >> 4}] {
		if v.has(u.port, spaceName(u.space)) && v.from <= u.ms && u.ms <= v.to && !slices.Contains(who, v.sub) {
			who = append(who, v.sub)
		}
	}
	if len(who) != 1 || who[0] != sub {
		p.resolve.fail("packet %d: %v port %d at %s was %v, the records say %v", u.number, ext, u.port,
			time.UnixMilli(u.ms).UTC().Format("15:04:05.000"), sub, who)
	}
}

func spaceName(p layers.IPProtocol) string {
	switch p {
	case layers.IPProtocolTCP:
		return "tcp"
	case layers.IPProtocolUDP:
		return "udp"
	}
	return "icmp"
}
