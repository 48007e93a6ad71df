package mapping

import "github.com/blocknat/blocknat/portblock"

// UDPLite tells mappings and sessions of UDP-Lite (RFC 3828) from those of UDP. It is a space of a table
// alone: their external ports are of the space portblock.UDP, so that no port serves both.
const UDPLite portblock.Space = portblock.NumSpaces

// spaces is the number of spaces that a table tells apart.
const spaces = portblock.NumSpaces + 1

// PortsOf returns the space that the ports of a table's space are of.
func PortsOf(s portblock.Space) portblock.Space {
	if s == UDPLite {
		return portblock.UDP
	}
	return s
}
