package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// row writes a line of an answer: a word and what it says. Lines break between
// items where they get long.
func row(w io.Writer, word string, items ...string) {
	const width = 96
	line := fmt.Sprintf("  %-12s", word)
	for i, s := range items {
		if i < len(items)-1 {
			s += ","
		}
		if len(line)+len(s) > width && strings.TrimSpace(line) != "" && i > 0 {
			fmt.Fprintln(w, strings.TrimRight(line, " "))
			line = strings.Repeat(" ", 14)
		}
		line += s + " "
	}
	fmt.Fprintln(w, strings.TrimRight(line, " "))
}

// rows writes which map an answer is from and for when.
func (bk *book) rows(w io.Writer, v version) {
	if v.Map != nil {
		cfg := v.Config()
		row(w, "map", fmt.Sprintf("%s (realm %d, external realm %d)", quoteName(cfg.Name), cfg.Realm, cfg.ExternalRealm))
	}
	if v.epoch != nil {
		row(w, "epoch", fmt.Sprintf("%d, in force %s", v.epoch.Number, interval(v.epoch.From, v.epoch.Until)))
	}
	if bk.history != nil {
		row(w, "at", bk.when())
	}
}

// when is the time asked for, in UTC, and as it was written if that differs.
func (bk *book) when() string {
	utc := utc(bk.at)
	switch bk.asked {
	case utc:
		return utc
	case "":
		return utc + " (now)"
	}
	return fmt.Sprintf("%s (asked as %s)", utc, bk.asked)
}

// utc writes a time with its zone.
func utc(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// interval writes when an epoch is in force.
func interval(from, until time.Time) string {
	if until.IsZero() {
		return "since " + utc(from)
	}
	return fmt.Sprintf("from %s until %s", utc(from), utc(until))
}

// who writes a subscriber: a bare address if it is one.
func who(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// words writes ranges.
func words(ranges []portblock.Range) (out []string) {
	for _, r := range ranges {
		out = append(out, r.String())
	}
	return out
}

// many writes a number with its noun.
func many[N int | uint64](n N, noun string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, noun)
	}
	if strings.HasSuffix(noun, "s") {
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
