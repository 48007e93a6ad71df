package nattest

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Protocol numbers and ICMP types that the rows speak of.
const (
	protoICMP, protoTCP, protoUDP = 1, 6, 17

	echoReply, unreachable, sourceQuench, echoRequest   = 0, 3, 4, 8
	timeExceeded, parameterProblem, timestamp, tsAnswer = 11, 12, 13, 14
	informationRequest                                  = 15
)

// Flags of TCP.
const (
	fin byte = 1 << iota
	syn
	rst
	psh
	ack
)

// packet is an IPv4 packet in parts. bytes and parse go from it to bytes and back; they share nothing with any NAT.
type packet struct {
	tos, ttl byte
	id       uint16
	df, more bool
	offset   int // of a fragment, in bytes
	options  []byte
	proto    byte
	// The identifier of an ICMP query is the port of both ends, as it is with NATs; of an error it is 0.
	src, dst netip.AddrPort

	flags      byte   // of TCP
	seq, ack   uint32 // of TCP
	tcpOptions []byte
	icmp, code byte
	rest       uint32 // the second word of an ICMP header: identifier and sequence number of a query, the MTU of an error
	payload    []byte // behind the transport header: the quote of an ICMP error, all of a later fragment

	// What parse finds. zeroSum says that there is no UDP checksum; sumOK is true then.
	headerOK, sumOK, zeroSum bool
	sum                      uint16
}

// query reports whether an ICMP type has an identifier.
func query(icmp byte) bool {
	return icmp == echoRequest || icmp == echoReply || icmp >= timestamp && icmp <= 18
}

// bytes returns the packet with all checksums right.
func (p *packet) bytes() []byte {
	var b []byte
	switch {
	case p.offset > 0:
	case p.proto == protoUDP:
		b = binary.BigEndian.AppendUint16(b, p.src.Port())
		b = binary.BigEndian.AppendUint16(b, p.dst.Port())
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(p.payload)))
		b = append(b, 0, 0)
	case p.proto == protoTCP:
		b = binary.BigEndian.AppendUint16(b, p.src.Port())
		b = binary.BigEndian.AppendUint16(b, p.dst.Port())
		b = binary.BigEndian.AppendUint32(b, p.seq)
		b = binary.BigEndian.AppendUint32(b, p.ack)
		b = append(b, byte(20+len(p.tcpOptions))<<2, p.flags, 4, 0, 0, 0, 0, 0) // a window of 1024
		b = append(b, p.tcpOptions...)
	case p.proto == protoICMP:
		rest := p.rest
		if query(p.icmp) {
			rest = uint32(p.src.Port())<<16 | p.rest&0xffff
		}
		b = append(b, p.icmp, p.code, 0, 0)
		b = binary.BigEndian.AppendUint32(b, rest)
	}
	b = append(b, p.payload...)
	b = append(p.header(len(b)), b...)
	if p.offset == 0 && !p.more {
		setSum(b)
	}
	return b
}

// header returns the IPv4 header for a body of n bytes.
func (p *packet) header(n int) []byte {
	size := 20 + len(p.options)
	b := make([]byte, 20, size+n)
	b[0] = 0x40 | byte(size/4)
	b[1] = p.tos
	binary.BigEndian.PutUint16(b[2:], uint16(size+n))
	binary.BigEndian.PutUint16(b[4:], p.id)
	fragment := uint16(p.offset / 8)
	if p.df {
		fragment |= 0x4000
	}
	if p.more {
		fragment |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], fragment)
	b[8], b[9] = p.ttl, p.proto
	src, dst := p.src.Addr().As4(), p.dst.Addr().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	b = append(b, p.options...)
	setHeaderSum(b)
	return b
}

// setHeaderSum makes the header's checksum right.
func setHeaderSum(b []byte) {
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^sum(b[:headerLen(b)], 0))
}

// setSum makes the transport checksum of a whole packet right.
func setSum(b []byte) {
	at := sumAt(b)
	if at == 0 {
		return
	}
	b[at], b[at+1] = 0, 0
	s := ^sum(b[headerLen(b):], pseudo(b))
	if s == 0 && b[9] == protoUDP {
		s = 0xffff // RFC 768
	}
	binary.BigEndian.PutUint16(b[at:], s)
}

// sumAt returns where the transport checksum stands, or 0.
func sumAt(b []byte) int {
	switch b[9] {
	case protoUDP:
		return headerLen(b) + 6
	case protoTCP:
		return headerLen(b) + 16
	case protoICMP:
		return headerLen(b) + 2
	}
	return 0
}

func headerLen(b []byte) int { return int(b[0]&15) * 4 }

// pseudo returns the sum of the pseudo header; ICMP has none.
func pseudo(b []byte) uint32 {
	if b[9] == protoICMP {
		return 0
	}
	s := uint32(b[9]) + uint32(len(b)-headerLen(b))
	for i := 12; i < 20; i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return s
}

// sum is the one's complement sum of RFC 1071, one word at a time.
func sum(b []byte, s uint32) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		s += uint32(b[len(b)-1]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

var errNoPacket = errors.New("no IPv4 packet")

// parse reads a packet. A transport header that is not wholly there is read as far as the ports, as in the quote of an ICMP error.
func parse(b []byte) (*packet, error) {
	if len(b) < 20 || b[0]>>4 != 4 || headerLen(b) < 20 || len(b) < headerLen(b) {
		return nil, errNoPacket
	}
	size := headerLen(b)
	total := int(binary.BigEndian.Uint16(b[2:]))
	whole := total >= size && total <= len(b)
	if whole {
		b = b[:total]
	}
	fragment := binary.BigEndian.Uint16(b[6:])
	p := &packet{
		tos: b[1], id: binary.BigEndian.Uint16(b[4:]), ttl: b[8], proto: b[9], options: b[20:size],
		df: fragment&0x4000 != 0, more: fragment&0x2000 != 0, offset: int(fragment&0x1fff) * 8,
		headerOK: sum(b[:size], 0) == 0xffff,
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	p.src, p.dst = netip.AddrPortFrom(src, 0), netip.AddrPortFrom(dst, 0)
	t := b[size:]
	p.payload = t
	if p.offset > 0 || len(t) < 8 {
		return p, nil
	}
	if p.proto == protoTCP || p.proto == protoUDP {
		p.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(t))
		p.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(t[2:]))
	}
	if at := sumAt(b); at > 0 && at+2 <= len(b) {
		p.sum = binary.BigEndian.Uint16(b[at:])
		p.zeroSum = p.proto == protoUDP && p.sum == 0
		p.sumOK = whole && (p.zeroSum || sum(t, pseudo(b)) == 0xffff)
	}
	switch p.proto {
	case protoUDP:
		p.payload = t[8:]
	case protoICMP:
		p.icmp, p.code, p.rest, p.payload = t[0], t[1], binary.BigEndian.Uint32(t[4:]), t[8:]
		if query(p.icmp) {
			id := uint16(p.rest >> 16)
			p.src, p.dst = netip.AddrPortFrom(src, id), netip.AddrPortFrom(dst, id)
		}
	case protoTCP:
		p.seq = binary.BigEndian.Uint32(t[4:])
		if len(t) < 20 || int(t[12]>>4)*4 < 20 || int(t[12]>>4)*4 > len(t) {
			break
		}
		p.ack, p.flags = binary.BigEndian.Uint32(t[8:]), t[13]
		p.tcpOptions, p.payload = t[20:int(t[12]>>4)*4], t[int(t[12]>>4)*4:]
	}
	return p, nil
}

// cut cuts a packet into fragments of n bytes, a multiple of 8, behind the header. Options are in the first one only.
func cut(b []byte, n int) [][]byte {
	p, err := parse(b)
	if err != nil {
		return nil
	}
	body := b[headerLen(b):]
	var out [][]byte
	for at := 0; at < len(body); at += n {
		part := body[at:min(at+n, len(body))]
		f := packet{tos: p.tos, ttl: p.ttl, id: p.id, proto: p.proto, src: p.src, dst: p.dst, offset: at, more: at+n < len(body)}
		if at == 0 {
			f.options = p.options
		}
		out = append(out, append(f.header(len(part)), part...))
	}
	return out
}

// join puts fragments in any order together again; nil when some are missing.
func join(fragments [][]byte) []byte {
	var whole []byte
	have, end := 0, -1
	body := make([]byte, 65536)
	for _, b := range fragments {
		p, err := parse(b)
		if err != nil {
			return nil
		}
		part := b[headerLen(b):binary.BigEndian.Uint16(b[2:])]
		have += copy(body[p.offset:], part)
		if p.offset == 0 {
			whole = append(whole, b[:headerLen(b)]...)
		}
		if !p.more {
			end = p.offset + len(part)
		}
	}
	if whole == nil || have != end {
		return nil
	}
	whole = append(whole, body[:end]...)
	whole[6] &^= 0x20
	binary.BigEndian.PutUint16(whole[2:], uint16(len(whole)))
	setHeaderSum(whole)
	return whole
}
