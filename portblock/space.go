package portblock

// Space is one port space of an external address. The three spaces are
// independent: the same number can be in use in each of them at once.
//
// The zero value is TCP, so that a Space indexes an array of NumSpaces.
type Space uint8

const (
	// TCP is the space of TCP ports.
	TCP Space = iota
	// UDP is the space of UDP ports.
	UDP
	// ICMP is the space of ICMP query identifiers. Identifier 0 is legal
	// here, port 0 is not in the other two.
	ICMP

	// NumSpaces is the number of spaces.
	NumSpaces = 3
)

// IsValid says whether s is one of the three spaces.
func (s Space) IsValid() bool { return s < NumSpaces }

// Set returns the set that holds s only; it is empty when s is not valid.
func (s Space) Set() SpaceSet {
	if !s.IsValid() {
		return 0
	}
	return 1 << s
}

// String returns "tcp", "udp", "icmp" or "invalid".
func (s Space) String() string {
	switch s {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case ICMP:
		return "icmp"
	}
	return "invalid"
}

// SpaceSet is a set of spaces, one bit each. What the empty set means is
// said where it is used.
type SpaceSet uint8

// AllSpaces holds TCP, UDP and ICMP.
const AllSpaces SpaceSet = 1<<NumSpaces - 1

// Has says whether the set holds s.
func (x SpaceSet) Has(s Space) bool { return s.IsValid() && x>>s&1 != 0 }

// String lists the spaces, joined by "+", or "none".
func (x SpaceSet) String() string {
	out := ""
	for s := range Space(NumSpaces) {
		if x.Has(s) {
			if out != "" {
				out += "+"
			}
			out += s.String()
		}
	}
	if out == "" {
		return "none"
	}
	return out
}
