package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/blocknat/blocknat/logging"
)

// held is a block that the log says somebody had.
type held struct {
	Subscriber string `json:"subscriber"`
	Ports      string `json:"ports"`
	From       string `json:"from"`
	Until      string `json:"until,omitempty"` // not written: no release is recorded
	Realm      string `json:"external_realm,omitempty"`
	Certainty  string `json:"certainty"` // inside, edge or near: see -tolerance
}

// askLog finds who had a port of a dynamic range in the block records of a file of
// JSON lines.
func askLog(o *options, external netip.AddrPort) ([]held, error) {
	f, err := os.Open(o.log)
	if err != nil {
		_, err = readFile("-log", o.log) // says what is wrong
		return nil, err
	}
	defer f.Close()
	index := logging.NewIndex()
	if _, err := index.Replay(f); err != nil {
		var faults []error // a line that cannot be read could have been the answer
		for _, one := range split(err) {
			faults = append(faults, &fault{File: o.log, Field: "-log", Text: one.Error(), Fix: "name a file of JSON lines, as logging.JSON writes them"})
		}
		return nil, errors.Join(faults...)
	}
	var out []held
	for _, c := range index.Who(logging.Query{External: external.Addr(), Port: external.Port(), At: o.at, Tolerance: o.tolerance}) {
		h := held{Subscriber: c.Subscriber.String(), Ports: fmt.Sprintf("%d-%d", c.First, c.Last), From: c.From.String(), Realm: c.ExternalRealm, Certainty: c.Certainty.String()}
		if p := netip.PrefixFrom(c.Subscriber, int(c.SubscriberBits)); c.SubscriberBits > 0 && !p.IsSingleIP() {
			h.Subscriber = p.String()
		}
		if !c.Open {
			h.Until = c.To.String()
		}
		out = append(out, h)
	}
	return out, nil
}

// fromLog completes the answer for a dynamic port: one subscriber is an answer;
// none, or several (two clocks, two realms, records that are missing), is not.
func (a *reverseAnswer) fromLog(o *options, external netip.AddrPort) (code int, err error) {
	if a.Blocks, err = askLog(o, external); err != nil {
		return 0, err
	}
	names := map[string]bool{}
	for _, h := range a.Blocks {
		names[h.Realm+" "+h.Subscriber] = true
	}
	switch len(names) {
	case 0:
		a.Reason, a.Ask = fmt.Sprintf("%s, and %s has no block with it at %s", a.Reason, o.log, utc(o.at)), ""
		return exitNobody, nil
	case 1:
		a.Result, a.Subscriber, a.Reason, a.Ask = "logged", a.Blocks[0].Subscriber, "", ""
		return exitFound, nil
	}
	a.Result, a.Ask = "ambiguous", ""
	a.Reason = fmt.Sprintf("%s has blocks of %d subscribers with it; compare clocks, realms and records", o.log, len(names))
	return exitNobody, nil
}

// writeBlocks writes the blocks that answered.
func (a *reverseAnswer) writeBlocks(w io.Writer) {
	for _, h := range a.Blocks {
		until := "until " + h.Until
		if h.Until == "" {
			until = "no release recorded"
		}
		row(w, "block", fmt.Sprintf("%s had %s from %s, %s (%s)", h.Subscriber, h.Ports, h.From, until, h.Certainty))
	}
}
