package natcore

import (
	"fmt"
	"net/netip"
	"time"
)

// ICMPConfig says which ICMP errors the engine builds by itself and which it lets pass. What it builds is handed out
// by Drain for the caller to send; nothing of it is ever sent about an ICMP error, a later fragment, a RST,
// or an address that is no single host's (RFC 5508 REQ-10 E, RFC 1812 section 4.3.2.7). Zero fields mean the default.
type ICMPConfig struct {
	// Off makes the engine build no error by itself (RFC 5508 REQ-9); Reject still does. Default: it builds them.
	Off bool

	// Exhausted is the answer to a packet that gets no session because something has run out or a limit is
	// reached. Default: AnswerHost, a soft error that ends no connection attempt at once (RFC 6888 REQ-11 B, RFC 5461).
	Exhausted Answer
	// Refused is the answer to a packet that a rule refuses or no rule covers. Default: AnswerProhibited (RFC 5508 REQ-8).
	Refused Answer

	// SYNWait is how long a TCP SYN that arrives and is not admitted waits for the internal end to open the same
	// connection, before its sender gets "port unreachable" (RFC 5382 REQ-4). From 6 s, the default, to one minute; negative means that
	// such a SYN is dropped in silence.
	SYNWait time.Duration
	// SYNs bounds the SYNs that wait; more are dropped in silence (REQ-4 A). Default: 256.
	SYNs int
	// SYNsPerAddress bounds those of one remote address, and those to one external endpoint's subscriber or, where
	// nobody holds it, to one external address. At most SYNs; default: 16, or SYNs where that is less.
	SYNsPerAddress int

	// Internal is the source of errors that go to internal hosts: the address that this NAT has there. Default:
	// the lowest external address.
	Internal netip.Addr
	// External is the source of errors that go to remote hosts. Default: the external address that the packet was sent to.
	External netip.Addr

	// PerSecond bounds the errors that are built in a second, as a token bucket of that size. Default: 1000. PerReceiver
	// bounds those that one host gets; hosts share a bucket now and then, by a keyed hash. At most PerSecond; default: 10, or PerSecond where that is less. (RFC 1812 section 4.3.2.8, RFC 5508 REQ-10 F)
	PerSecond, PerReceiver int

	// LeastMTU is the lowest MTU in bytes that a host may report to the outside in ICMP 3/4: the receiver may count
	// it for all who share the external address (RFC 6269 section 10). Those below are dropped, and so is what exceeds PerReceiver. From
	// 69 to 1500; default: 576. From outside an MTU below 68, which no link has, is
	// dropped always (RFC 5927 section 7.2); 0, of routers older than RFC 1191, passes.
	LeastMTU int
	// QuotedWindow is how many bytes behind the highest one sent a TCP segment may lie that an ICMP error quotes; errors
	// about others are dropped (RFC 5927 section 4.1). From 4096 to 1 GiB, the largest window of TCP and the default. A smaller one is harder to
	// guess, and drops errors about connections that have more under way.
	QuotedWindow int
}

// Answer is what the sender of a packet is told that gets no session.
type Answer uint8

const (
	// AnswerDefault is the default of the field.
	AnswerDefault Answer = iota
	// AnswerNone: nothing.
	AnswerNone
	// AnswerHost: ICMP 3/1, host unreachable.
	AnswerHost
	// AnswerProhibited: ICMP 3/13, communication administratively prohibited.
	AnswerProhibited
)

// String returns the answer in lower case.
func (a Answer) String() string {
	return nameOf("Answer", []string{"default", "none", "host-unreachable", "prohibited"}, uint8(a))
}

// Bounds of ICMPConfig.
const (
	leastSYNWait     = 6 * time.Second
	mostSYNWait      = time.Minute
	mostWaitingSYNs  = 1 << 16
	mostPerSecond    = 1_000_000
	smallestMTU      = 68 // RFC 791: every link carries that
	mostLeastMTU     = 1500
	smallestWindow   = 4096
	largestTCPWindow = 1 << 30 // RFC 7323 section 2.3
)

func (c *ICMPConfig) complete(f *faults) {
	for _, a := range []struct {
		name  string
		value *Answer
		def   Answer
	}{{"Exhausted", &c.Exhausted, AnswerHost}, {"Refused", &c.Refused, AnswerProhibited}} {
		if *a.value == AnswerDefault {
			*a.value = a.def
		}
		if *a.value > AnswerProhibited {
			f.add("ICMP."+a.name, *a.value, "must be AnswerNone, AnswerHost or AnswerProhibited")
		}
	}
	if c.SYNWait == 0 {
		c.SYNWait = leastSYNWait
	}
	if c.SYNWait >= 0 && c.SYNWait < leastSYNWait || c.SYNWait > mostSYNWait {
		f.add("ICMP.SYNWait", c.SYNWait, fmt.Sprintf("must be from %v to %v (RFC 5382 REQ-4), or negative for no answer", leastSYNWait, mostSYNWait))
	}
	for _, v := range []struct {
		name             string
		value            *int
		def, least, most int
	}{
		{"SYNs", &c.SYNs, 256, 1, mostWaitingSYNs},
		{"PerSecond", &c.PerSecond, 1000, 1, mostPerSecond},
		{"LeastMTU", &c.LeastMTU, 576, smallestMTU + 1, mostLeastMTU},
		{"QuotedWindow", &c.QuotedWindow, largestTCPWindow, smallestWindow, largestTCPWindow},
	} {
		if *v.value == 0 {
			*v.value = v.def
		}
		if *v.value < v.least || *v.value > v.most {
			f.add("ICMP."+v.name, *v.value, fmt.Sprintf("must be from %d to %d; zero means the default", v.least, v.most))
		}
	}
	for _, v := range []struct {
		name, whole string
		value       *int
		of, def     int
	}{
		{"SYNsPerAddress", "SYNs", &c.SYNsPerAddress, c.SYNs, 16},
		{"PerReceiver", "PerSecond", &c.PerReceiver, c.PerSecond, 10},
	} {
		if *v.value == 0 {
			*v.value = min(v.def, max(v.of, 1))
		}
		if *v.value < 1 || *v.value > max(v.of, 1) {
			f.add("ICMP."+v.name, *v.value, fmt.Sprintf("must be from 1 to %s, which is %d: a share is no more than the whole; zero means %d, or the whole where that is less", v.whole, v.of, v.def))
		}
	}
	for _, a := range []struct {
		name  string
		value *netip.Addr
	}{{"Internal", &c.Internal}, {"External", &c.External}} {
		*a.value = a.value.Unmap()
		if a.value.IsValid() && (!a.value.Is4() || a.value.IsMulticast() || a.value.IsUnspecified()) {
			f.add("ICMP."+a.name, *a.value, "must be an IPv4 address of this NAT, or the zero address for the default")
		}
	}
}
