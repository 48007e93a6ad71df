package nattest

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// NAT is a NAT under test, behind an adapter. It is used by one goroutine, with times that never go back.
//
// A packet begins at its IPv4 header. The NAT may keep and change the bytes that it is given. What it sends because of them
// is returned in the order in which it is sent: the packet itself, translated; fragments that waited; an ICMP
// error to the sender; nothing. A NAT that is an io.Closer is closed at the end of its row.
type NAT interface {
	// Outbound takes a packet that an internal host sends.
	Outbound(packet []byte, now time.Time) []Packet
	// Inbound takes a packet that arrives from the external side.
	Inbound(packet []byte, now time.Time) []Packet
	// Advance lets all end, and be sent, that is due at now.
	Advance(now time.Time) []Packet
}

// Packet is a packet that a NAT sends.
type Packet struct {
	// Bytes begin at the IPv4 header.
	Bytes []byte
	// Inside says that the packet goes to an internal host; otherwise it leaves to the external side.
	Inside bool
}

// Config says what a row needs of a NAT. In each field the zero value leaves the choice to the NAT, as it is without
// configuration; the fields Now, External and Internal always have a value.
type Config struct {
	// Now is the time at which the clock starts.
	Now time.Time
	// External are the external addresses, one at least; they need not follow one another.
	External []netip.Addr
	// Internal holds the internal hosts.
	Internal netip.Prefix

	// Mapping and Filtering are the behaviours of RFC 4787 sections 4.1 and 5, for all protocols.
	Mapping, Filtering Behaviour
	// FirstPort and LastPort bound the external ports and identifiers of every address, both inclusive.
	FirstPort, LastPort uint16
	// PortsPerHost bounds the ports of a protocol that one internal host holds at a time (RFC 6888 REQ-4).
	PortsPerHost int
	// SessionsPerHost bounds the sessions of one internal host (RFC 6888 REQ-5).
	SessionsPerHost int
	// UDPTimeout, TCPTimeout (of established connections) and ICMPTimeout (of queries) are idle times.
	UDPTimeout, TCPTimeout, ICMPTimeout time.Duration
	// RefreshInbound makes packets that arrive keep a session alive (RFC 4787 REQ-6a).
	RefreshInbound bool
	// KeepParity maps even ports to even ones and odd to odd (RFC 4787 REQ-4).
	KeepParity bool
	// KeepClass maps ports below 1024 to such, and the others to others (RFC 4787 REQ-3a).
	KeepClass bool
	// Untranslated is a prefix of remote addresses that packets go to and come from untouched (RFC 6888 REQ-6).
	Untranslated netip.Prefix
}

// Behaviour is a mapping or a filtering behaviour of RFC 4787.
type Behaviour uint8

const (
	// Unset leaves the behaviour to the NAT.
	Unset Behaviour = iota
	// EndpointIndependent: any remote endpoint.
	EndpointIndependent
	// AddressDependent: each remote address on its own.
	AddressDependent
	// AddressAndPortDependent: each remote endpoint on its own.
	AddressAndPortDependent
)

// String returns the behaviour as the RFC writes it.
func (b Behaviour) String() string {
	names := [...]string{"unset", "endpoint-independent", "address-dependent", "address-and-port-dependent"}
	if int(b) < len(names) {
		return names[b]
	}
	return fmt.Sprintf("Behaviour(%d)", b)
}

// ErrNotOffered says that a NAT has no way to do what a Config asks for. Subject.New wraps it with a word on what that is.
var ErrNotOffered = errors.New("not offered")

// Feature is what a NAT may lack altogether. Rows that need it count as not offered.
type Feature uint16

const (
	// TCP is translated.
	TCP Feature = 1 << iota
	// Queries are: ICMP echo and its like are translated.
	Queries
	// Errors are: ICMP errors are translated.
	Errors
	// Hairpin is: an internal host reaches another by its external endpoint.
	Hairpin
	// Fragments are translated.
	Fragments
	// Bytes says that the NAT sees packets as they are. One that sees addresses, ports and payload only (a simulation,
	// a proxy) has no say in the rest of the headers, which its adapter makes up.
	Bytes
	// Clock says that Advance moves the clock that the NAT's timers run on.
	Clock
	// Answers are: the NAT sends ICMP errors of its own to hosts whose packets it refuses.
	Answers
)

var featureNames = [...]string{"TCP", "ICMP queries", "ICMP errors", "hairpinning", "fragments", "packets as bytes", "a clock", "answers by ICMP"}

// String lists the features.
func (f Feature) String() string {
	var names []string
	for i, name := range featureNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// Subject is a kind of NAT that is put under test.
type Subject struct {
	// New returns a NAT that does what the configuration says. Every row has a NAT of its own. An error that wraps ErrNotOffered makes the
	// row count as not offered, any other makes it fail.
	New func(Config) (NAT, error)
	// Lacks lists what the NAT does not do by its nature.
	Lacks Feature
	// Hops is by how much the NAT decrements the TTL of packets that it forwards. Default: 0, the caller routes.
	Hops uint8
	// Deviates names rows that the NAT does not meet on purpose, each with the reason. A row that is
	// met all the same is an error of Run, so that the list stays true.
	Deviates map[string]string
}

// Level is the keyword of RFC 2119 with which a row is required. What must not happen is a Must too.
type Level uint8

const (
	Must Level = iota
	Should
	May
)

// String returns "MUST", "SHOULD" or "MAY".
func (l Level) String() string {
	names := [...]string{"MUST", "SHOULD", "MAY"}
	if int(l) < len(names) {
		return names[l]
	}
	return fmt.Sprintf("Level(%d)", l)
}

// Row is one requirement.
type Row struct {
	// ID is the requirement's RFC and number, such as "4787-08b"; "/tcp" and the like tell several rows of one requirement apart.
	ID string
	// Level is how strongly the source asks for it.
	Level Level
	// Source is the section and the requirement of the RFC, such as "5 REQ-8".
	Source string
	// Title says in a sentence what a NAT does that meets the row.
	Title string
	// Needs are the features without which the row says nothing.
	Needs Feature
}

// Outcome is how a NAT stands to a row.
type Outcome uint8

const (
	// Passed: the NAT meets the row.
	Passed Outcome = iota
	// Failed: it does not.
	Failed
	// Deviates: it does not, as its Subject says.
	Deviates
	// NotOffered: it lacks what the row is about, as its Subject says.
	NotOffered
)

// String returns the outcome in lower case.
func (o Outcome) String() string {
	names := [...]string{"passed", "failed", "deviates", "not offered"}
	if int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("Outcome(%d)", o)
}

// Result is the outcome of one row.
type Result struct {
	Row
	Outcome Outcome
	// Detail says what went wrong, why the NAT deviates, or what it does not offer. It is empty where the row passed.
	Detail string
}
