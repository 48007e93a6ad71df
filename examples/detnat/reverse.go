package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/mapping/deterministic"
)

// reverseAnswer is the JSON answer of detnat reverse.
type reverseAnswer struct {
	Command    string         `json:"command"`
	External   netip.AddrPort `json:"external"`
	At         *time.Time     `json:"at,omitempty"`
	Result     string         `json:"result"`
	Reason     string         `json:"reason,omitempty"`
	Ask        string         `json:"ask,omitempty"`
	Subscriber string         `json:"subscriber,omitempty"`
	*place
	Blocks []held `json:"blocks,omitempty"` // out of the log
}

// reverse answers who has an external port.
func reverse(o *options, w io.Writer) (int, error) {
	external, err := parseEndpoint(o.argument)
	if err != nil {
		return 0, err
	}
	bk, err := o.load()
	if err != nil {
		return 0, err
	}
	f, err := bk.ask(o, external.Addr().String(), bk.realms(func(c deterministic.Config) uint32 { return c.ExternalRealm }),
		func(realm uint32) finding { return bk.reverse(realm, external) })
	if err != nil {
		return 0, err
	}
	a := reverseAnswer{Command: "reverse", External: external, At: bk.stamp(), place: f.v.place(), Result: resultOf(f.err)}
	code := exitFound
	if f.err == nil {
		a.Subscriber = f.subscriber.String()
	} else {
		code = exitNobody
		a.Reason, a.Ask = bk.whyNobody(o, external, f)
		if o.log != "" && errors.Is(f.err, deterministic.ErrDynamic) {
			if code, err = a.fromLog(o, external); err != nil {
				return 0, err
			}
		}
	}
	if o.json {
		return code, writeJSON(w, a)
	}
	switch {
	case f.err == nil:
		fmt.Fprintf(w, "%v -> %s\n", external, who(f.subscriber))
	case a.Subscriber != "":
		fmt.Fprintf(w, "%v -> %s (by the log)\n", external, a.Subscriber)
	case a.Result == "ambiguous":
		fmt.Fprintf(w, "%v -> ambiguous\n", external)
	default:
		fmt.Fprintf(w, "%v -> nobody: %s\n", external, a.Result)
	}
	bk.rows(w, f.v)
	a.writeBlocks(w)
	if a.Reason != "" {
		row(w, "reason", a.Reason)
	}
	if a.Ask != "" {
		row(w, "ask", a.Ask)
	}
	return code, nil
}
