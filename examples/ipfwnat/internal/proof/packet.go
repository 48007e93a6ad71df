package proof

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Protocol numbers.
const (
	TCP = 6
	UDP = 17
)

// packet is what an observer reads of an IPv4 packet without options.
type packet struct {
	src, dst         uint32
	srcPort, dstPort uint16
	proto            uint8
	flags            uint8 // of TCP
}

const (
	fin = 1
	syn = 2
	rst = 4
	ack = 16
)

// parse reads a packet; ok is false for what is no whole TCP or UDP packet.
func parse(b []byte) (p packet, ok bool) {
	if len(b) < 28 || b[0] != 0x45 || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
		return p, false
	}
	p = packet{
		src: binary.BigEndian.Uint32(b[12:]), dst: binary.BigEndian.Uint32(b[16:]), proto: b[9],
		srcPort: binary.BigEndian.Uint16(b[20:]), dstPort: binary.BigEndian.Uint16(b[22:]),
	}
	if p.proto == TCP && len(b) >= 40 {
		p.flags = b[33]
		return p, true
	}
	return p, p.proto == UDP
}

// sumsRight computes both checksums of a packet in full (RFC 791, RFC 768, RFC 9293).
func sumsRight(b []byte) bool {
	pseudo := sum(0, b[12:20]) + uint32(b[9]) + uint32(len(b)-20)
	return fold(sum(0, b[:20])) == 0xffff && fold(sum(pseudo, b[20:])) == 0xffff
}

func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint32 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return s
}

// changedElsewhere reports whether two packets differ in a byte that a NAT has no reason to
// change: all but the endpoint (addresses from at, ports from portAt) and the checksums.
func changedElsewhere(before, after []byte, at, portAt int) bool {
	if len(before) != len(after) {
		return true
	}
	check := 26 // of UDP
	if before[9] == TCP {
		check = 36
	}
	for i := range before {
		if before[i] == after[i] {
			continue
		}
		switch {
		case i >= at && i < at+4, i == portAt, i == portAt+1, i == 10, i == 11, i == check, i == check+1:
		default:
			return true
		}
	}
	return false
}

func ip(a uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}

func endpoint(a uint32, port uint16) string { return fmt.Sprintf("%v:%d", ip(a), port) }

func protoName(p uint8) string {
	if p == TCP {
		return "TCP"
	}
	return "UDP"
}
