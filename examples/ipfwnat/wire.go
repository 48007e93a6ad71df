package main

import (
	"encoding/binary"
	"net/netip"
)

// Flags of a TCP segment.
const (
	flagFIN = 1
	flagSYN = 2
	flagACK = 16
)

const (
	udpLength = 28
	tcpLength = 40
)

// An end is an IPv4 endpoint.
type end struct {
	addr uint32
	port uint16
}

// appendPacket appends a packet without payload: IPv4, then TCP or UDP, all checksums computed.
func appendPacket(b []byte, proto uint8, from, to end, seq, ack uint32, flags byte) []byte {
	length := udpLength
	if proto == tcp {
		length = tcpLength
	}
	at := len(b)
	b = append(b, 0x45, 0, byte(length>>8), byte(length), 0, 0, 0x40, 0, 64, proto, 0, 0)
	b = binary.BigEndian.AppendUint32(b, from.addr)
	b = binary.BigEndian.AppendUint32(b, to.addr)
	b = binary.BigEndian.AppendUint16(b, from.port)
	b = binary.BigEndian.AppendUint16(b, to.port)
	if proto == tcp {
		b = binary.BigEndian.AppendUint32(b, seq)
		b = binary.BigEndian.AppendUint32(b, ack)
		b = append(b, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
	} else {
		b = append(b, 0, 8, 0, 0)
	}
	p := b[at:]
	binary.BigEndian.PutUint16(p[10:], ^checksum(0, p[:20]))
	pseudo := uint32(proto) + uint32(length-20)
	for i := 12; i < 20; i += 2 {
		pseudo += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	if proto == tcp {
		binary.BigEndian.PutUint16(p[36:], ^checksum(pseudo, p[20:]))
		return b
	}
	sum := ^checksum(pseudo, p[20:])
	if sum == 0 {
		sum = 0xffff // 0 is "none" (RFC 768)
	}
	binary.BigEndian.PutUint16(p[26:], sum)
	return b
}

func checksum(s uint32, b []byte) uint16 {
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// source reads the source endpoint of a packet, as the server sees it.
func source(b []byte) end {
	return end{binary.BigEndian.Uint32(b[12:]), binary.BigEndian.Uint16(b[20:])}
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func addr4(a uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}
