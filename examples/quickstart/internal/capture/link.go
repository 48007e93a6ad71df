package capture

import "encoding/binary"

// A strip takes the link layer off a frame. It returns the bytes from the IP
// header on, or the name under which the frame is counted as carrying none.
type strip func(frame []byte) (ip []byte, none string)

// Names of what is skipped.
const (
	noneARP   = "ARP"
	noneOther = "no IP inside"
	noneShort = "cut within the link header"
)

// linkTypes holds the link types that are read, by their LINKTYPE_ numbers
// (https://www.tcpdump.org/linktypes.html). 12 and 14 are DLT_RAW of BSD and
// OpenBSD, which old writers put into files.
var linkTypes = map[uint16]strip{
	0:   loopback,
	1:   ethernet,
	9:   ppp,
	12:  raw,
	14:  raw,
	50:  ppp,
	51:  pppoe,
	101: raw,
	108: loopback,
	113: cooked(14, 16),
	228: raw,
	229: raw,
	276: cooked(0, 20),
}

func raw(b []byte) ([]byte, string) { return b, "" }

func ethernet(b []byte) ([]byte, string) {
	if len(b) < 14 {
		return nil, noneShort
	}
	return byEtherType(binary.BigEndian.Uint16(b[12:]), b[14:])
}

// cooked strips a Linux cooked header of the given size, whose protocol field is at the given place.
func cooked(protocol, size int) strip {
	return func(b []byte) ([]byte, string) {
		if len(b) < size {
			return nil, noneShort
		}
		return byEtherType(binary.BigEndian.Uint16(b[protocol:]), b[size:])
	}
}

// byEtherType follows VLAN tags (802.1Q, 802.1ad and the older numbers for the outer tag) and PPPoE to the IP header.
func byEtherType(t uint16, b []byte) ([]byte, string) {
	for {
		switch t {
		case 0x0800, 0x86dd:
			return b, ""
		case 0x8100, 0x88a8, 0x9100, 0x9200:
			if len(b) < 4 {
				return nil, noneShort
			}
			t, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		case 0x8864:
			return pppoe(b)
		case 0x0806:
			return nil, noneARP
		default:
			return nil, noneOther
		}
	}
}

// loopback strips the address family of BSD's null and loop link types. Its
// byte order is the capturing machine's, and IPv6 has a number per system.
func loopback(b []byte) ([]byte, string) {
	if len(b) < 4 {
		return nil, noneShort
	}
	family := binary.LittleEndian.Uint32(b)
	if family > 0xffff {
		family = binary.BigEndian.Uint32(b)
	}
	switch family {
	case 2, 10, 24, 28, 30:
		return b[4:], ""
	}
	return nil, noneOther
}

// pppoe strips a PPPoE session header (RFC 2516).
func pppoe(b []byte) ([]byte, string) {
	if len(b) < 6 {
		return nil, noneShort
	}
	if b[1] != 0 { // discovery
		return nil, noneOther
	}
	return ppp(b[6:])
}

// ppp strips a PPP header: with or without the HDLC address and control field,
// with a protocol field of one or two bytes (RFC 1661 section 6.5), or Cisco HDLC.
func ppp(b []byte) ([]byte, string) {
	if len(b) >= 4 && (b[0] == 0x0f || b[0] == 0x8f) && b[1] == 0 {
		return byEtherType(binary.BigEndian.Uint16(b[2:]), b[4:])
	}
	if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 {
		b = b[2:]
	}
	if len(b) < 2 {
		return nil, noneShort
	}
	protocol, rest := uint16(b[0]), b[1:]
	if protocol&1 == 0 {
		protocol, rest = binary.BigEndian.Uint16(b), b[2:]
	}
	switch protocol {
	case 0x0021, 0x0057:
		return rest, ""
	}
	return nil, noneOther
}
