// Package rewrite changes endpoints of IP packets in place and keeps every
// checksum as right, or as wrong, as it was.
//
// It is the part of a NAT that touches bytes: parse a packet once into a small
// value, set addresses and ports, done. It decides nothing (no mapping, no
// filtering), fragments and reassembles nothing, and knows no application protocol;
// the only packets that it builds are ICMP errors (AppendICMPError4). Sub-package
// layers does the same on gopacket layers; this one imports the standard library only.
//
// # Use
//
// An engine calls Parse4 (Parse6), looks up what the packet becomes, and calls
// SetSource or SetDestination. Of an ICMP error it parses the quoted packet too,
// with ParseQuoted4, looks that up, and calls SetQuotedSource or
// SetQuotedDestination on the outer packet:
//
//	 b: | outer IP | ICMP | quoted IP | 8 bytes or more | RFC 4884 extensions |
//	    ^ Parse4          ^ ParseQuoted4                 ^ the quote ends here
//
//	inbound error:  SetDestination on the outer, SetQuotedSource      (5508 REQ-4)
//	outbound error: SetSource on the outer, SetQuotedDestination      (5508 REQ-5)
//
// A program without an engine calls Apply with the endpoints that it wants.
//
// # Theory
//
// The Internet checksum is a sum modulo 65,535, so it can follow a change without
// the rest of the packet: HC' = ~(~HC + ~m + m') (RFC 1624 equation 3). The change
// of an address is one 33-bit number; added to that of the port, it updates header
// and transport checksum with one fold each. Because only the difference is
// added, a checksum that was wrong by some amount (an offload's, a corrupt one)
// stays wrong by that amount: the error reaches the receiver instead of being
// covered up, and packets that are cut can be translated too.
//
// # Invariants
//
//   - Only addresses, ports, identifiers and checksums change, within the packet
//     that the IP length gives: an Ethernet trailer is not touched.
//   - Setting the old endpoint again restores the old bytes. The one exception: a
//     checksum field of 0xFFFF outside UDP comes back as 0x0000, which is the same
//     number in one's complement.
//   - IPv4 UDP checksum 0 stays 0, and no other becomes 0 (RFC 768).
//   - A packet that is refused is not changed. No input makes a parser panic; the
//     setters rely on being given the bytes that were parsed.
//   - Nothing allocates, not even a refusal: a Fault fits an error as it is.
//
// # What has which checksum
//
//	            header   transport         pseudo header   on translation
//	TCP         IPv4     over all          yes             address and port
//	UDP         IPv4     over all or none  yes             address and port; 0 stays
//	UDP-Lite    IPv4     over coverage     yes             address and port
//	ICMP        IPv4     over all          no              identifier, quote
//	ICMPv6      -        over all          yes             address, identifier, quote
//	fragment 2+ IPv4     in the first      -               addresses only
//	other       IPv4     not known here    -               addresses only
//
// Protocols that are not known here and that cover addresses with a checksum of
// their own (DCCP, the IPv6 mobility header) come out with a wrong one.
//
// # Costs
//
// A Packet4 is 44 bytes, a Packet6 84, both without pointers. Parsing, setting one
// endpoint and both together take nanoseconds; see the benchmarks.
//
// # Sources
//
// RFC 768, 791, 792, 793 and 9293, 950, 1071, 1122, 1191, 1624, 1812, 1858 and 3128 (tiny
// fragments), 2460, 2675, 3022, 3828, 4302, 4443, 4884, 5508, 6275, 6864, 6936,
// 6946, 7112, 8200, 8335, 8504, 8754.
package rewrite
