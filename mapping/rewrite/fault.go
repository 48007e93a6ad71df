package rewrite

// Fault says why a packet cannot be translated. FaultNone (zero) means that
// nothing is wrong. A Fault is an error too, so errors.Is(err,
// FaultTinyFragment) works on what Apply returns; use Err to turn a Fault into
// an error, because FaultNone in an error interface is not nil.
type Fault uint8

const (
	// FaultNone means that the packet was parsed.
	FaultNone Fault = iota
	// FaultShort means that the bytes do not hold a fixed IP header.
	FaultShort
	// FaultVersion means that the version nibble is not the expected one.
	FaultVersion
	// FaultHeaderLength means that the IPv4 header length is below 20 bytes, or
	// above the total length.
	FaultHeaderLength
	// FaultTotalLength means that the IP length field cannot hold the headers. An
	// IPv4 total length of 0 (segmentation offload beyond 65,535 bytes) is one.
	FaultTotalLength
	// FaultTruncated means that the header which translation needs is not in the
	// bytes: by the IP length, or because the capture ends before it.
	FaultTruncated
	// FaultTinyFragment means a fragment that is made to slip past filters: a
	// first fragment without the whole fixed transport header, or a TCP fragment
	// at offset 8 (RFC 1858 section 3, RFC 3128).
	FaultTinyFragment
	// FaultFragment means that a fragment ends beyond 65,535 bytes.
	FaultFragment
	// FaultTCPOffset means that the TCP data offset is below 20 bytes, or above
	// the segment's length.
	FaultTCPOffset
	// FaultUDPLength means that the UDP length is below 8 or above the IP payload,
	// or that the UDP-Lite coverage is 1 to 7 or above the payload (RFC 3828
	// section 3.1).
	FaultUDPLength
	// FaultExtension means an IPv6 extension header chain that does not fit its
	// packet.
	FaultExtension
	// FaultNotError means that the outer packet is no ICMP error, or is a non-first
	// fragment of one, so it quotes nothing.
	FaultNotError
	// FaultNestedError means that an ICMP error quotes an ICMP error, which no
	// conforming host sends (RFC 1122 section 3.2.2, RFC 4443 section 2.4).
	FaultNestedError

	faultCount
)

var faultNames = [faultCount]string{
	FaultNone:         "none",
	FaultShort:        "packet shorter than an IP header",
	FaultVersion:      "wrong IP version",
	FaultHeaderLength: "bad IP header length",
	FaultTotalLength:  "bad IP total length",
	FaultTruncated:    "transport header truncated",
	FaultTinyFragment: "tiny fragment",
	FaultFragment:     "fragment beyond 65535 bytes",
	FaultTCPOffset:    "bad TCP data offset",
	FaultUDPLength:    "bad UDP length",
	FaultExtension:    "bad IPv6 extension header",
	FaultNotError:     "not an ICMP error",
	FaultNestedError:  "ICMP error quotes an ICMP error",
}

// String names the fault in a few words.
func (f Fault) String() string {
	if f < faultCount {
		return faultNames[f]
	}
	return "unknown fault"
}

// Error is String with the package's name, for use as an error.
func (f Fault) Error() string { return "rewrite: " + f.String() }

// Err returns nil for FaultNone and f otherwise.
func (f Fault) Err() error {
	if f == FaultNone {
		return nil
	}
	return f
}
