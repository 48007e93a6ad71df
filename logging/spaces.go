package logging

import (
	"fmt"
	"strings"
)

// Spaces is a set of port spaces. A block covers all three unless the NAT cuts
// blocks per protocol.
type Spaces uint8

// The port spaces. The zero Spaces is the empty set; in a query it means any.
const (
	TCP  Spaces = 1 << iota // TCP ports
	UDP                     // UDP ports
	ICMP                    // ICMP and ICMPv6 identifiers

	AllSpaces = TCP | UDP | ICMP
)

// SpaceOf returns the port space of an IP protocol number (1 and 58 ICMP,
// 6 TCP, 17 UDP), and the empty set for others.
func SpaceOf(protocol uint8) Spaces {
	switch protocol {
	case 6:
		return TCP
	case 17:
		return UDP
	case 1, 58:
		return ICMP
	}
	return 0
}

var spacesNames = [8]string{"none", "tcp", "udp", "tcp+udp", "icmp", "tcp+icmp", "udp+icmp", "tcp+udp+icmp"}

// String returns the spaces joined by "+", such as "tcp+udp", or "none".
func (s Spaces) String() string {
	if int(s) < len(spacesNames) {
		return spacesNames[s]
	}
	return fmt.Sprintf("spaces(%d)", uint8(s))
}

// AppendText appends the spaces as String writes them.
func (s Spaces) AppendText(dst []byte) ([]byte, error) {
	if int(s) >= len(spacesNames) {
		return dst, fmt.Errorf("logging: %d is no set of port spaces", uint8(s))
	}
	return append(dst, spacesNames[s]...), nil
}

// MarshalText returns the spaces as String writes them.
func (s Spaces) MarshalText() ([]byte, error) { return s.AppendText(nil) }

// UnmarshalText sets s to the spaces that text names, in any order.
func (s *Spaces) UnmarshalText(text []byte) error {
	var set Spaces
	if string(text) != "none" {
		for name := range strings.SplitSeq(string(text), "+") {
			one, ok := spaceNamed(name)
			if !ok || set&one != 0 {
				return fmt.Errorf("logging: %q is no set of port spaces", text)
			}
			set |= one
		}
	}
	*s = set
	return nil
}

func spaceNamed(name string) (Spaces, bool) {
	switch name {
	case "tcp":
		return TCP, true
	case "udp":
		return UDP, true
	case "icmp":
		return ICMP, true
	}
	return 0, false
}
