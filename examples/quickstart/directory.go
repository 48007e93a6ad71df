package main

import (
	"net/netip"
	"time"
)

// A directory is what the internet knows about internal endpoints: the external
// ones that it saw in packets from the NAT, or was told (as by PCP, RFC 6887).
// It trusts an entry as long as the mapping lives for certain; a reply to an
// older one could reach whoever has the port by then.
type directory struct {
	entries   map[endpoint]entry
	addresses map[netip.Addr]netip.Addr // subscriber to its external address (paired pooling)
	trust     map[uint8]time.Duration
}

// An endpoint is an internal one: the protocols have port spaces of their own.
type endpoint struct {
	protocol uint8
	at       netip.AddrPort
}

type entry struct {
	external netip.AddrPort
	until    time.Time
	closing  bool // a FIN or RST was seen: later packets do not prolong it
}

// margin is how long before the earliest end of a mapping the directory stops to trust it.
const margin = time.Second

func newDirectory(trust map[uint8]time.Duration) *directory {
	return &directory{map[endpoint]entry{}, map[netip.Addr]netip.Addr{}, trust}
}

// find returns the external endpoint of an internal one.
func (d *directory) find(e endpoint, now time.Time) (netip.AddrPort, bool) {
	known, ok := d.entries[e]
	if !ok || !now.Before(known.until) {
		return netip.AddrPort{}, false
	}
	return known.external, true
}

// address returns the external address of a subscriber.
func (d *directory) address(subscriber netip.Addr) (netip.Addr, bool) {
	a, ok := d.addresses[subscriber]
	return a, ok
}

// told notes a mapping that lives for the given time.
func (d *directory) told(e endpoint, external netip.AddrPort, now time.Time, lifetime time.Duration) {
	d.entries[e] = entry{external: external, until: now.Add(lifetime - margin)}
	d.addresses[e.at.Addr()] = external.Addr()
}

// learn takes the source of a packet before and after the NAT.
func (d *directory) learn(before, after ipv4, now time.Time) {
	if before.isError() {
		return // a router may have sent it
	}
	d.addresses[before.src] = after.src
	internal, ok := before.source()
	external, ok2 := after.source()
	if !ok || !ok2 {
		return
	}
	e := endpoint{before.protocol, internal}
	known := d.entries[e]
	until := now.Add(d.trust[before.protocol] - margin)
	switch {
	case known.external != external:
		known = entry{external: external, until: until}
	case !known.closing && until.After(known.until):
		known.until = until
	}
	d.entries[e] = known
	d.flags(e, before, now)
}

// flags looks at the TCP flags of a packet of an endpoint, either way: a FIN or
// RST starts the end of its mapping, a SYN a new life.
func (d *directory) flags(e endpoint, p ipv4, now time.Time) {
	known, ok := d.entries[e]
	if !ok || p.protocol != tcp || len(p.data()) < 14 {
		return
	}
	switch flags := p.data()[13]; {
	case flags&0x05 != 0 && !known.closing:
		known.closing = true
		if end := now.Add(d.trust[tcp] - margin); end.Before(known.until) {
			known.until = end
		}
	case flags&0x02 != 0:
		known.closing = false
	default:
		return
	}
	d.entries[e] = known
}
