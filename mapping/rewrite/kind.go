package rewrite

// Kind says what the transport part of a packet is to a translator.
type Kind uint8

const (
	// KindOther is a protocol without ports: only addresses are translated.
	KindOther Kind = iota
	// KindTCP is TCP (6).
	KindTCP
	// KindUDP is UDP (17).
	KindUDP
	// KindUDPLite is UDP-Lite (136).
	KindUDPLite
	// KindQueryRequest is an ICMP query that asks: echo, timestamp, information,
	// address mask, extended echo. Its identifier belongs to the source.
	KindQueryRequest
	// KindQueryReply is the answer to one. Its identifier belongs to the
	// destination.
	KindQueryReply
	// KindICMPError is an ICMP message that quotes a packet: ICMP types 3, 4, 5,
	// 11, 12, ICMPv6 types 1 to 4.
	KindICMPError
	// KindICMPOther is any other ICMP message.
	KindICMPOther
	// KindFragment is a non-first fragment: it has no transport header, whatever
	// its protocol, so only addresses are translated.
	KindFragment

	kindCount
)

var kindNames = [kindCount]string{
	"other", "tcp", "udp", "udplite", "icmp-request", "icmp-reply", "icmp-error", "icmp-other", "fragment",
}

// String names the kind.
func (k Kind) String() string {
	if k < kindCount {
		return kindNames[k]
	}
	return "unknown"
}

// HasPorts reports whether packets of this kind carry ports or an identifier.
func (k Kind) HasPorts() bool { return k >= KindTCP && k <= KindQueryReply }

// Flags are properties of a parsed packet.
type Flags uint16

const (
	// MoreFragments is set on every fragment but the last one.
	MoreFragments Flags = 1 << iota
	// NonFirst is set on every fragment but the first one.
	NonFirst
	// DontFragment is the IPv4 DF bit.
	DontFragment
	// Truncated is set when the IP length exceeds the bytes present, as in a cut
	// capture, and on quoted packets that were quoted in part.
	Truncated
	// SourceRoute is set when the packet still has route to go: an IPv4 loose or
	// strict source route that is not used up, or an IPv6 routing header with
	// segments left. The transport checksum then covers the final destination, not
	// the one in the IP header (RFC 8200 section 8.1), so SetDestination leaves it.
	SourceRoute
	// HomeAddress is set when an IPv6 home address option stands in for the source
	// in the transport checksum (RFC 6275 section 11.3.1), so SetSource leaves it.
	HomeAddress
	// Quoted is set on packets parsed by ParseQuoted4, ParseEmbedded4 and their
	// IPv6 sisters.
	Quoted
	// PartialChecksum is set by the caller, after the parse, on packets whose TCP
	// or UDP checksum field holds only the folded sum of the pseudo header, not
	// complemented: what virtio-net calls VIRTIO_NET_HDR_F_NEEDS_CSUM and Linux
	// CHECKSUM_PARTIAL. The setters then add the change of address to that sum and
	// leave the rest to whoever completes it.
	PartialChecksum
)

// Check is the result of verifying a checksum.
type Check uint8

const (
	// CheckUnknown means that the checksum cannot be verified: the packet is cut,
	// is a fragment, has no checksum, or holds a partial one.
	CheckUnknown Check = iota
	// CheckRight means that the checksum is right.
	CheckRight
	// CheckWrong means that the checksum is wrong.
	CheckWrong
)

// String names the result.
func (c Check) String() string {
	switch c {
	case CheckRight:
		return "right"
	case CheckWrong:
		return "wrong"
	}
	return "unknown"
}
