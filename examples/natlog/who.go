package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/journal"
)

// who answers who held an external port at a time.
func who(_ context.Context, o *options, r *journal.Reader, out io.Writer) (int, error) {
	external, port, any, err := parseEndpoint(o.argument)
	if err != nil {
		return 0, err
	}
	q := logging.Query{
		External: external, Port: port, AnyPort: any, At: o.at, Tolerance: o.tolerance, Spaces: o.spaces,
		ExternalRealm: o.realm, ByRealm: o.byRealm,
	}
	found, err := r.Who(q)
	if err != nil {
		return 0, err
	}
	at := logging.MillisOf(o.at)
	holders := map[string]bool{}
	for i := range found {
		c := &found[i]
		holders[holder(&c.Interval)] = true
		if o.json {
			if err := writeJSON(out, candidateOf(c, at)); err != nil {
				return 0, err
			}
		}
	}
	if !o.json {
		what := o.argument + " at " + at.String()
		switch {
		case len(found) == 0:
			fmt.Fprintf(out, "%s: nobody, as far as these journals know\n", what)
		case len(holders) > 1 && !any:
			fmt.Fprintf(out, "%s: %d subscribers fit; the clocks or the records decide, not natlog\n", what, len(holders))
		}
		for i := range found {
			writeCandidate(out, &found[i], what, at, len(holders) == 1 && i == 0)
		}
	}
	if len(found) == 0 {
		return exitNothing, nil
	}
	return exitFound, nil
}

func writeCandidate(out io.Writer, c *journal.Candidate, what string, at logging.Millis, alone bool) {
	v := &c.Interval
	if alone {
		fmt.Fprintf(out, "%s: %s\n", what, holder(v))
	}
	row := func(name, format string, args ...any) {
		fmt.Fprintf(out, "  %-11s%s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(out)
	row("subscriber", "%s%s", holder(v), inRealm(v.Realm))
	row("ports", "%d-%d%s of %v, %v%s", v.First, v.Last, stepped(v.Step), v.External, v.Spaces, inRealm(v.ExternalRealm))
	row("from", "%v", v.From)
	row("to", "%s", ending(v, &c.Holding))
	row("certainty", "%s", certainty(c, at))
	row("source", "%s", sourceOf(c))
	if v.Pool != "" {
		if c.Source == logging.Static {
			row("mapping", "%s", v.Pool)
		} else {
			row("pool", "%s", v.Pool)
		}
	}
	if v.Host != "" {
		row("host", "%s, epoch %d", v.Host, v.Epoch)
	}
	if c.Journal != "" {
		row("journal", "%s", c.Journal)
	}
}

// holder names who holds an interval.
func holder(v *logging.Interval) string {
	name := v.SubscriberID
	if v.Subscriber.IsValid() {
		a := v.Subscriber.String()
		if v.SubscriberBits != 0 {
			a = netip.PrefixFrom(v.Subscriber, int(v.SubscriberBits)).String()
		}
		if name == "" {
			return a
		}
		return name + " (" + a + ")"
	}
	if name == "" {
		return v.Internal.String()
	}
	return name
}

func inRealm(realm string) string {
	if realm == "" {
		return ""
	}
	return ", realm " + realm
}

func stepped(step uint16) string {
	if step <= 1 {
		return ""
	}
	return fmt.Sprintf(" in steps of %d", step)
}

// ending says when the interval ended, or what is known instead.
func ending(v *logging.Interval, h *journal.Holding) string {
	switch h.End {
	case journal.Released:
		return v.To.String()
	case journal.Lost:
		return fmt.Sprintf("not recorded: last seen at %v, and something else is on record from %v on", v.Seen, h.Bound)
	}
	return fmt.Sprintf("still held, last recorded at %v", v.Seen)
}

func certainty(c *journal.Candidate, at logging.Millis) string {
	text := map[logging.Certainty]string{
		logging.Inside: "inside: the interval covers the time and the tolerance around it",
		logging.Edge:   "edge: the interval covers the time but not all of the tolerance around it",
		logging.Near:   "near: the interval lies within the tolerance only",
	}[c.Certainty]
	if c.Assumed(at) && c.Source != logging.Computed {
		text += "; that it was still held then is assumed"
	}
	return text
}

func sourceOf(c *journal.Candidate) string {
	switch {
	case c.Source == logging.Computed:
		return "computed from the configuration of that time"
	case c.Source == logging.Static:
		return "records of a static mapping"
	case c.Kind == logging.BlockAllocated:
		return "records of a block"
	case c.Kind == logging.MappingCreated:
		return "records of a mapping"
	}
	return "records of a session"
}

// candidate is the JSON form of an answer.
type candidate struct {
	Subscriber string `json:"subscriber"`
	Realm      string `json:"realm,omitempty"`
	interval
	Certainty string `json:"certainty"`
	Assumed   bool   `json:"assumed,omitempty"`
	Source    string `json:"source"`
}

// interval is the JSON form of an interval.
type interval struct {
	Kind          logging.Kind   `json:"kind"`
	External      netip.Addr     `json:"external"`
	First         uint16         `json:"first"`
	Last          uint16         `json:"last"`
	Step          uint16         `json:"step,omitempty"`
	Spaces        logging.Spaces `json:"spaces"`
	ExternalRealm string         `json:"external_realm,omitempty"`
	From          string         `json:"from"`
	To            string         `json:"to,omitempty"`
	Seen          string         `json:"seen,omitempty"`
	End           string         `json:"end"`
	Bound         string         `json:"bound,omitempty"`
	Pool          string         `json:"pool,omitempty"`
	Host          string         `json:"host,omitempty"`
	Epoch         uint64         `json:"epoch,omitempty"`
	Journal       string         `json:"journal,omitempty"`
}

func intervalOf(v *logging.Interval, h *journal.Holding) interval {
	i := interval{
		Kind: v.Kind, External: v.External, First: v.First, Last: v.Last, Step: v.Step, Spaces: v.Spaces, ExternalRealm: v.ExternalRealm,
		From: v.From.String(), End: h.End.String(), Pool: v.Pool, Host: v.Host, Epoch: v.Epoch, Journal: h.Journal,
	}
	for _, t := range []struct {
		at  logging.Millis
		dst *string
	}{{v.To, &i.To}, {v.Seen, &i.Seen}, {h.Bound, &i.Bound}} {
		if t.at != 0 {
			*t.dst = t.at.String()
		}
	}
	return i
}

func candidateOf(c *journal.Candidate, at logging.Millis) candidate {
	return candidate{
		holder(&c.Interval), c.Realm, intervalOf(&c.Interval, &c.Holding), c.Certainty.String(),
		c.Assumed(at) && c.Source != logging.Computed, c.Source.String(),
	}
}

// writeJSON writes a value as one line.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
