package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// parseTime reads a time of RFC 3339. A time without a zone is refused: who guesses
// the zone names the wrong subscriber.
func parseTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	f := &fault{Field: "-at", Value: strconv.Quote(clip(text)), Text: "is no time of RFC 3339", Fix: "write 2025-02-01T12:00:00Z, or 2025-02-01T13:00:00+01:00"}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			f.Text = "has no zone"
			f.Fix = fmt.Sprintf("write %sZ if it is UTC, or its offset as in %[1]s+01:00", t.Format("2006-01-02T15:04:05"))
		}
	}
	return time.Time{}, f
}

// parseAddr reads ADDR.
func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err == nil && a.Zone() == "" {
		return a.Unmap(), nil
	}
	f := &fault{Field: "ADDR", Value: strconv.Quote(clip(text)), Text: "is no address", Fix: "write 198.51.100.1 or 2001:db8::1"}
	if _, err := netip.ParsePrefix(text); err == nil {
		f.Text, f.Fix = "is a prefix", "write one address of it, such as "+strings.Split(text, "/")[0]
	} else if _, err := netip.ParseAddrPort(text); err == nil {
		f.Text, f.Fix = "has a port", "write the address alone; for an external endpoint use detnat reverse"
	} else if a.Zone() != "" {
		f.Text, f.Fix = "has a zone", "write the address without %"+a.Zone()
	}
	return netip.Addr{}, f
}

// parseEndpoint reads ADDR:PORT.
func parseEndpoint(text string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(text)
	if err == nil && ap.Addr().Zone() == "" {
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
	}
	f := &fault{Field: "ADDR:PORT", Value: strconv.Quote(clip(text)), Text: "is no address with a port", Fix: "write 192.0.2.1:2001 or [2001:db8::1]:2001"}
	if err == nil {
		f.Text, f.Fix = "has a zone", "write the address without %"+ap.Addr().Zone()
	} else if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		f.Text = "has no port, and an address is shared: without the port nobody can be named (RFC 6302)"
		f.Fix = "ask for the source port and write " + netip.AddrPortFrom(a.WithZone(""), 2001).String()
	}
	return netip.AddrPort{}, f
}
