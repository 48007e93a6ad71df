package rewrite

import "encoding/binary"

// CheckHeader verifies the IP header checksum. On a packet from ParseQuoted4 this
// is RFC 5508 REQ-3a: an ICMP error whose embedded IP header checksum is wrong
// should be dropped.
func (p *Packet4) CheckHeader(b []byte) Check {
	return checkSum(Sum(b[p.Offset:p.Transport], 0))
}

// CheckTransport verifies the transport checksum over the packet's bytes: on an
// ICMP error this is RFC 5508 REQ-3. It is CheckUnknown for cut packets,
// fragments, partial checksums, UDP without a checksum and protocols without
// one that is known here.
func (p *Packet4) CheckTransport(b []byte) Check {
	if p.Flags&(Truncated|MoreFragments|NonFirst|PartialChecksum) != 0 {
		return CheckUnknown
	}
	t := b[p.Transport:p.end]
	switch p.Kind {
	case KindQueryRequest, KindQueryReply, KindICMPError, KindICMPOther:
		return checkSum(Sum(t, 0))
	case KindTCP, KindUDP, KindUDPLite:
	default:
		return CheckUnknown
	}
	dst := p.Dst
	if p.Flags&SourceRoute != 0 {
		if last := sourceRoute4(b[int(p.Offset)+ipv4Min : p.Transport]); last != nil {
			dst = binary.BigEndian.Uint32(last)
		}
	}
	return checkPorts(t, p.Kind, PseudoSum4(p.Src, dst, p.Proto, 0), true)
}

// checkSum judges a sum over data with their checksum: right is all ones, in
// either form of zero.
func checkSum(sum uint64) Check {
	if Fold(sum) == 0xffff {
		return CheckRight
	}
	return CheckWrong
}

// checkPorts verifies TCP, UDP or UDP-Lite. pseudo is the pseudo header's sum
// without the length. noneIsLegal says that a UDP checksum of 0 means none.
func checkPorts(t []byte, k Kind, pseudo uint64, noneIsLegal bool) Check {
	length := uint64(len(t))
	switch k {
	case KindUDP:
		n := int(binary.BigEndian.Uint16(t[4:]))
		if binary.BigEndian.Uint16(t[6:]) == 0 {
			if noneIsLegal {
				return CheckUnknown
			}
			return CheckWrong
		}
		if n > len(t) {
			return CheckUnknown
		}
		t, length = t[:n], uint64(n)
	case KindUDPLite:
		// The pseudo header holds the whole length, the sum ends with the coverage
		// (RFC 3828 section 3.1).
		if binary.BigEndian.Uint16(t[6:]) == 0 {
			return CheckWrong
		}
		if n := int(binary.BigEndian.Uint16(t[4:])); n != 0 && n <= len(t) {
			t = t[:n]
		}
	}
	return checkSum(Sum(t, addSum(pseudo, length)))
}
