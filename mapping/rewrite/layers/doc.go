// Package layers does what rewrite.Apply does, on decoded gopacket layers: it
// changes endpoints and keeps every checksum as right, or as wrong, as it was, so
// that serialising the layers without ComputeChecksums gives the bytes that
// rewrite.Apply makes of the packet's bytes.
//
// It is for programs that have gopacket layers anyway: inspection tools, tests,
// generators. It allocates, and takes several times as long as the bytes do. It is
// the only package of the library that imports gopacket.
//
// # What is changed
//
//	IPv4          SrcIP, DstIP, Checksum
//	IPv6          SrcIP, DstIP
//	TCP, UDP,
//	UDPLite       SrcPort, DstPort, Checksum
//	ICMPv4        Id (queries), Checksum
//	ICMPv6        Checksum
//	ICMPv6Echo    Identifier, and the same two bytes of the ICMPv6 payload
//	payload       in place: the packet that an ICMP error quotes (RFC 5508 REQ-4,
//	              REQ-5), and the transport header of a first fragment, which
//	              gopacket leaves undecoded
//
// The layers' Contents, and the flows that TCP and UDP layers answer with, stay
// as they were decoded: gopacket derives them from the original bytes.
//
// # Limits
//
// A decoded layer has passed gopacket's checks, so lengths are not judged again.
// IPv6 routing headers are known as far as gopacket decodes them (type 0).
// Tunnels are left alone: the outermost IP layer is translated.
//
// RFCs: 768, 1624, 3022, 4443, 4884, 5508, 8200.
package layers
