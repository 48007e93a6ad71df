package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"github.com/blocknat/blocknat/logging/journal"
)

// subscriber tells what a subscriber held.
func subscriber(_ context.Context, o *options, r *journal.Reader, out io.Writer) (int, error) {
	var found []journal.Block
	var err error
	if o.id {
		found, err = r.SubscriberID(o.argument, o.from, o.to)
	} else {
		a, perr := netip.ParseAddr(o.argument)
		if perr != nil {
			return 0, fmt.Errorf("%s is no address; write 100.64.1.10 or 2001:db8::1, or add -id for a name", strconv.Quote(clip(o.argument)))
		}
		found, err = r.Subscriber(a, o.from, o.to)
	}
	if err != nil {
		return 0, err
	}
	if len(found) == 0 {
		if !o.json {
			fmt.Fprintf(out, "%s held nothing then, as far as these journals know\n", o.argument)
		}
		return exitNothing, nil
	}
	for i := range found {
		b := &found[i]
		if o.json {
			if err := writeJSON(out, struct {
				Subscriber string `json:"subscriber"`
				interval
			}{holder(&b.Interval), intervalOf(&b.Interval, &b.Holding)}); err != nil {
				return 0, err
			}
			continue
		}
		fmt.Fprintf(out, "%v  %-15v %5d-%-5d  %s\n", b.From, b.External, b.First, b.Last, ending(&b.Interval, &b.Holding))
	}
	return exitFound, nil
}
