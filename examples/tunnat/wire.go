//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// ICMP types and codes (RFC 792) that the demo sends or waits for.
const (
	icmpEchoReply    = 0
	icmpUnreachable  = 3
	icmpEcho         = 8
	icmpTimeExceeded = 11

	codePortUnreachable = 3
)

// inetChecksum is the Internet checksum (RFC 1071) of b; over bytes that hold
// a right checksum it is 0.
func inetChecksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xFFFF {
		sum = sum>>16 + sum&0xFFFF
	}
	return ^uint16(sum)
}

// echoRequest returns an ICMP echo request.
func echoRequest(id, seq uint16, payload []byte) []byte {
	b := make([]byte, 8, 8+len(payload))
	b[0] = icmpEcho
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[2:], inetChecksum(b))
	return b
}

// quote is the packet that an ICMP error quotes.
type quote struct {
	protocol byte
	src, dst netip.AddrPort
}

// errQuote says that an ICMP error is no good.
var errQuote = errors.New("quoted packet is too short")

// parseQuote reads the packet in an ICMP error and checks both checksums that
// translation must keep right: that of the message and that of the quoted header.
func parseQuote(icmp []byte) (quote, error) {
	if inetChecksum(icmp) != 0 {
		return quote{}, errors.New("the message's checksum is wrong")
	}
	if len(icmp) < 8+20 {
		return quote{}, errQuote
	}
	ip := icmp[8:]
	head := int(ip[0]&15) * 4
	if ip[0]>>4 != 4 || head < 20 || len(ip) < head+8 {
		return quote{}, errQuote
	}
	if inetChecksum(ip[:head]) != 0 {
		return quote{}, errors.New("the quoted header's checksum is wrong")
	}
	endpoint := func(addr, port []byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addr)), binary.BigEndian.Uint16(port))
	}
	return quote{
		protocol: ip[9],
		src:      endpoint(ip[12:16], ip[head:]),
		dst:      endpoint(ip[16:20], ip[head+2:]),
	}, nil
}
