package main

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/portblock"
)

// forwardAnswer is the JSON answer of detnat forward.
type forwardAnswer struct {
	Command    string     `json:"command"`
	Internal   netip.Addr `json:"internal"`
	At         *time.Time `json:"at,omitempty"`
	Result     string     `json:"result"`
	Reason     string     `json:"reason,omitempty"`
	Subscriber string     `json:"subscriber,omitempty"`
	*place
	Ports    int       `json:"ports,omitempty"`
	External []on      `json:"external,omitempty"`
	Overflow *overflow `json:"overflow,omitempty"`
	MAP      *edge     `json:"map_rule,omitempty"`
}

// overflow says what a subscriber may have beyond its own ports, by record.
type overflow struct {
	MaxPorts  int               `json:"max_ports,omitempty"`
	Dynamic   []portblock.Range `json:"dynamic"`
	BlockSize int               `json:"block_size,omitempty"`
	Blocks    int               `json:"blocks,omitempty"`
}

// edge is what RFC 7597 says about a customer edge.
type edge struct {
	Address netip.Addr `json:"address"` // section 6
	PSID    string     `json:"psid,omitempty"`
}

// forward answers what a subscriber has.
func forward(o *options, w io.Writer) (int, error) {
	internal, err := parseAddr(o.argument)
	if err != nil {
		return 0, err
	}
	bk, err := o.load()
	if err != nil {
		return 0, err
	}
	f, err := bk.ask(o, internal.String(), bk.realms(func(c deterministic.Config) uint32 { return c.Realm }),
		func(realm uint32) finding { return bk.forward(realm, internal) })
	if err != nil {
		return 0, err
	}
	a := forwardAnswer{Command: "forward", Internal: internal, At: bk.stamp(), place: f.v.place(), Result: resultOf(f.err)}
	if f.err != nil {
		a.Reason = bk.whyNotInside(o, internal, f.err)
		if o.json {
			return exitNobody, writeJSON(w, a)
		}
		fmt.Fprintf(w, "%v -> nothing: %s\n", internal, a.Result)
		bk.rows(w, f.v)
		row(w, "reason", a.Reason)
		return exitNobody, nil
	}
	a.Subscriber, a.Ports, a.External = f.subscriber.String(), f.ports.Len(), external(f.ports)
	a.Overflow = f.overflow(o.block)
	if f.v.rule != nil {
		ce, err := f.v.rule.CE(internal)
		if err != nil {
			return 0, err
		}
		a.MAP = &edge{Address: ce.Address}
		if ce.PSIDLen > 0 {
			a.MAP.PSID = fmt.Sprintf("%#x", ce.PSID)
		}
	}
	if o.json {
		return exitFound, writeJSON(w, a)
	}
	a.write(w, bk, f)
	return exitFound, nil
}

// external lists the ports by address.
func external(p deterministic.Ports) (out []on) {
	for a, r := range p.Ranges() {
		if n := len(out); n == 0 || out[n-1].Address != a.String() {
			out = append(out, on{Address: a.String()})
		}
		last := &out[len(out)-1]
		last.Ports += r.Len()
		last.Ranges = append(last.Ranges, r)
	}
	return out
}

// overflow is nil without a dynamic range. The range is that of the subscriber's
// first external address.
func (f finding) overflow(size int) *overflow {
	dynamic := slices.Collect(f.v.Dynamic(f.ports.External()))
	if len(dynamic) == 0 {
		return nil
	}
	v := &overflow{MaxPorts: f.v.Config().MaxPorts, Dynamic: dynamic, BlockSize: size}
	if size > 0 {
		v.Blocks = f.v.Overflow(f.ports.Len(), size)
	}
	return v
}

// write writes the answer as text.
func (a *forwardAnswer) write(w io.Writer, bk *book, f finding) {
	fmt.Fprintf(w, "%v -> %v\n", a.Internal, f.ports)
	if !f.subscriber.IsSingleIP() {
		row(w, "subscriber", who(f.subscriber))
	}
	bk.rows(w, f.v)
	for _, x := range a.External {
		ranges := words(x.Ranges)
		ranges[0] = fmt.Sprintf("%d on %s: %s", x.Ports, x.Address, ranges[0])
		row(w, "ports", ranges...)
	}
	if v := a.Overflow; v != nil {
		limit := "no limit of its own"
		if v.MaxPorts > 0 {
			limit = fmt.Sprintf("up to %d ports in all, %d more than its own", v.MaxPorts, v.MaxPorts-a.Ports)
		}
		if v.BlockSize > 0 {
			limit += fmt.Sprintf(": %s of %d ports", many(v.Blocks, "block"), v.BlockSize)
		}
		row(w, "dynamic", words(v.Dynamic)...)
		row(w, "", limit, "the block records say which")
	}
	if a.MAP != nil {
		row(w, "MAP address", a.MAP.Address.String())
		if a.MAP.PSID != "" {
			row(w, "PSID", a.MAP.PSID)
		}
	}
}
