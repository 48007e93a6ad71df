package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/blocknat/blocknat/mapping/deterministic"
)

// results are the words for refusals in answers.
var results = []struct {
	err  error
	word string
}{
	{deterministic.ErrReserved, "reserved"},
	{deterministic.ErrDynamic, "dynamic"},
	{deterministic.ErrUnused, "unused"},
	{deterministic.ErrNotInPool, "not-in-pool"},
	{deterministic.ErrNotSubscriber, "not-subscriber"},
	{deterministic.ErrNoEpoch, "no-epoch"},
	{deterministic.ErrRealm, "no-map"},
}

// resultOf returns the word for a refusal, "mapped" for none.
func resultOf(err error) string {
	for _, r := range results {
		if errors.Is(err, r.err) {
			return r.word
		}
	}
	if err != nil {
		return "refused"
	}
	return "mapped"
}

// whyNobody says why an external port has no subscriber by the formula, and who
// knows instead.
func (bk *book) whyNobody(o *options, external netip.AddrPort, f finding) (reason, ask string) {
	port := external.Port()
	switch {
	case errors.Is(f.err, deterministic.ErrReserved):
		return fmt.Sprintf("port %d is reserved: %s; no subscriber ever has it", port, f.v.reservedBy(port)), ""
	case errors.Is(f.err, deterministic.ErrDynamic):
		reason = fmt.Sprintf("port %d is in the dynamic range", port)
		for r := range f.v.Dynamic(external.Addr()) {
			if r.Contains(port) {
				reason = fmt.Sprintf("port %d is in the dynamic range %v", port, r)
			}
		}
		at := "at the time in question"
		if bk.history != nil {
			at = "at " + utc(bk.at)
		}
		return reason + ": the formula does not say who had it",
			fmt.Sprintf("the block records (the log; -log FILE) for the block of %v that was allocated %s", external, at)
	case errors.Is(f.err, deterministic.ErrUnused):
		return f.v.unusedBy(external), ""
	}
	return bk.whyNot(o, external.Addr(), f.err, "external"), ""
}

// whyNotInside says why an internal address has nothing.
func (bk *book) whyNotInside(o *options, internal netip.Addr, err error) string {
	for _, v := range bk.versions {
		cfg := v.Config()
		if o.realm != nil && *o.realm != cfg.Realm {
			continue
		}
		for _, x := range cfg.InternalExclude {
			if x.Contains(internal) {
				return fmt.Sprintf("map %q excludes %v", cfg.Name, x)
			}
		}
		for _, s := range cfg.Internal {
			if s.Contains(internal) {
				return fmt.Sprintf("%v is a boundary address of %v in map %q; include-boundary-addresses counts it as a subscriber", internal, s, cfg.Name)
			}
		}
	}
	return bk.whyNot(o, internal, err, "internal")
}

// whyNot says why no map in force has an address, and which epochs do.
func (bk *book) whyNot(o *options, a netip.Addr, err error, side string) string {
	var b strings.Builder
	in := ""
	if o.realm != nil {
		in = fmt.Sprintf(" in the %s realm %d", side, *o.realm)
	}
	switch {
	case errors.Is(err, deterministic.ErrNoEpoch) && bk.history != nil:
		fmt.Fprintf(&b, "no epoch of %s was in force at %s%s", bk.file, utc(bk.at), in)
	case errors.Is(err, deterministic.ErrRealm):
		fmt.Fprintf(&b, "%s has no map of that family%s", bk.file, in)
	default:
		fmt.Fprintf(&b, "%v is no %s address of a map in %s%s", a, side, bk.file, in)
	}
	if bk.history == nil {
		return b.String()
	}
	n := 0
	for e := range bk.history.Epochs() {
		spans, holes, realm := e.Config.External, e.Config.ExternalExclude, e.Config.ExternalRealm
		if side == "internal" {
			spans, holes, realm = e.Config.Internal, e.Config.InternalExclude, e.Config.Realm
		}
		if o.realm != nil && *o.realm != realm || inForce(e, bk.at) || !within(spans, a) || within(holes, a) {
			continue
		}
		if n++; n > 4 {
			b.WriteString("; and more")
			break
		}
		fmt.Fprintf(&b, "; epoch %d of map %q has it, %s", e.Number, e.Config.Name, interval(e.From, e.Until))
	}
	return b.String()
}

func within(spans []deterministic.Span, a netip.Addr) bool {
	for _, s := range spans {
		if s.Contains(a) {
			return true
		}
	}
	return false
}

// reservedBy says what reserves a port.
func (v version) reservedBy(port uint16) string {
	cfg := v.Config()
	for _, r := range cfg.Reserved {
		if r.Contains(port) {
			return fmt.Sprintf("the map reserves %v", r)
		}
	}
	if cfg.Algorithm == deterministic.MAP && cfg.PSIDOffset > 0 {
		return fmt.Sprintf("PSID offset %d keeps the ports below %d out (RFC 7597 section 5.1)", cfg.PSIDOffset, 1<<(16-cfg.PSIDOffset))
	}
	return "port 0 is nobody's"
}

// unusedBy tells apart the two reasons for an unused port: the slot of no
// subscriber, and the rest that the division leaves.
func (v version) unusedBy(external netip.AddrPort) string {
	if number, ok := v.nobody(external); ok {
		return fmt.Sprintf("port %d belongs to subscriber number %d: there is room for %d, but the map has %s", external.Port(), number, v.room(), many(v.Subscribers(), "subscriber"))
	}
	s := v.Stats()
	return fmt.Sprintf("port %d is left over: the division gives it to no slot (%s of %d on %s)", external.Port(), many(s.Remainder, "port"), s.Ports, many(s.Externals, "address"))
}

// room is the number of slots. Stats has it, too, but may walk all subscribers.
func (v version) room() uint64 { return uint64(v.Ratio()) * v.Externals() }

// nobody finds the number of the subscriber that a port waits for, counted from 1,
// by asking the same map with as many subscribers as it has room for.
func (v version) nobody(external netip.AddrPort) (uint64, bool) {
	cfg := v.Config()
	base := netip.MustParseAddr("2001:db8::")
	last := base.As16()
	room := v.room() - 1
	for i := range 8 {
		last[15-i] = byte(room >> (8 * i))
	}
	cfg.Internal = []deterministic.Span{deterministic.RangeSpan(base, netip.AddrFrom16(last))}
	cfg.InternalExclude, cfg.SubscriberBits, cfg.IncludeBoundaryAddresses = nil, 128, false
	full, err := deterministic.New(cfg)
	if err != nil {
		return 0, false
	}
	p, err := full.Reverse(external.Addr(), external.Port())
	if err != nil {
		return 0, false
	}
	n, err := full.Number(p.Addr())
	return n + 1, err == nil
}
