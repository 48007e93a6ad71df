package rewrite

import (
	"encoding/binary"
	"net/netip"
)

// The header views give names to the bytes of one header each. They do not check
// lengths: a view needs the fixed header's bytes. Setters write the field only
// and leave the checksum to the caller; Packet4 and Packet6 keep it.

// IPv4Header is a view on bytes that begin with an IPv4 header (RFC 791).
type IPv4Header []byte

// Version returns the version nibble.
func (h IPv4Header) Version() uint8 { return h[0] >> 4 }

// HeaderLength returns the header's length in bytes, options included.
func (h IPv4Header) HeaderLength() int { return int(h[0]&0xf) * 4 }

// TOS returns the type of service octet: DSCP and ECN.
func (h IPv4Header) TOS() uint8 { return h[1] }

// TotalLength returns the total length in bytes.
func (h IPv4Header) TotalLength() uint16 { return binary.BigEndian.Uint16(h[2:]) }

// ID returns the identification.
func (h IPv4Header) ID() uint16 { return binary.BigEndian.Uint16(h[4:]) }

// DontFragment reports the DF bit.
func (h IPv4Header) DontFragment() bool { return h[6]&0x40 != 0 }

// MoreFragments reports the MF bit.
func (h IPv4Header) MoreFragments() bool { return h[6]&0x20 != 0 }

// FragmentOffset returns the fragment offset in bytes.
func (h IPv4Header) FragmentOffset() int { return int(binary.BigEndian.Uint16(h[6:])&0x1fff) * 8 }

// TTL returns the time to live.
func (h IPv4Header) TTL() uint8 { return h[8] }

// Protocol returns the protocol number.
func (h IPv4Header) Protocol() uint8 { return h[9] }

// Checksum returns the header checksum field.
func (h IPv4Header) Checksum() uint16 { return binary.BigEndian.Uint16(h[10:]) }

// SetChecksum writes the header checksum field.
func (h IPv4Header) SetChecksum(c uint16) { binary.BigEndian.PutUint16(h[10:], c) }

// CalculateChecksum returns what the checksum field has to be: the checksum of
// the header with a field of zero.
func (h IPv4Header) CalculateChecksum() uint16 {
	n := h.HeaderLength()
	return ^Fold(Sum(h[12:n], Sum(h[:10], 0)))
}

// Source returns the source address.
func (h IPv4Header) Source() netip.Addr { return netip.AddrFrom4([4]byte(h[12:16])) }

// Destination returns the destination address.
func (h IPv4Header) Destination() netip.Addr { return netip.AddrFrom4([4]byte(h[16:20])) }

// IPv6Header is a view on bytes that begin with an IPv6 header (RFC 8200).
type IPv6Header []byte

// Version returns the version nibble.
func (h IPv6Header) Version() uint8 { return h[0] >> 4 }

// PayloadLength returns the payload length in bytes, extension headers included.
func (h IPv6Header) PayloadLength() uint16 { return binary.BigEndian.Uint16(h[4:]) }

// NextHeader returns the number of the header that follows.
func (h IPv6Header) NextHeader() uint8 { return h[6] }

// HopLimit returns the hop limit.
func (h IPv6Header) HopLimit() uint8 { return h[7] }

// Source returns the source address.
func (h IPv6Header) Source() netip.Addr { return netip.AddrFrom16([16]byte(h[8:24])) }

// Destination returns the destination address.
func (h IPv6Header) Destination() netip.Addr { return netip.AddrFrom16([16]byte(h[24:40])) }

// TCPHeader is a view on bytes that begin with a TCP header (RFC 9293).
type TCPHeader []byte

// SourcePort returns the source port.
func (h TCPHeader) SourcePort() uint16 { return binary.BigEndian.Uint16(h) }

// DestinationPort returns the destination port.
func (h TCPHeader) DestinationPort() uint16 { return binary.BigEndian.Uint16(h[2:]) }

// Sequence returns the sequence number.
func (h TCPHeader) Sequence() uint32 { return binary.BigEndian.Uint32(h[4:]) }

// Acknowledgment returns the acknowledgment number.
func (h TCPHeader) Acknowledgment() uint32 { return binary.BigEndian.Uint32(h[8:]) }

// DataOffset returns the header's length in bytes, options included.
func (h TCPHeader) DataOffset() int { return int(h[12]>>4) * 4 }

// Flags returns the flag bits, FIN lowest.
func (h TCPHeader) Flags() uint8 { return h[13] }

// Checksum returns the checksum field.
func (h TCPHeader) Checksum() uint16 { return binary.BigEndian.Uint16(h[16:]) }

// UDPHeader is a view on bytes that begin with a UDP (RFC 768) or UDP-Lite (RFC
// 3828) header.
type UDPHeader []byte

// SourcePort returns the source port.
func (h UDPHeader) SourcePort() uint16 { return binary.BigEndian.Uint16(h) }

// DestinationPort returns the destination port.
func (h UDPHeader) DestinationPort() uint16 { return binary.BigEndian.Uint16(h[2:]) }

// Length returns the UDP length, or the UDP-Lite checksum coverage, in bytes.
func (h UDPHeader) Length() uint16 { return binary.BigEndian.Uint16(h[4:]) }

// Checksum returns the checksum field.
func (h UDPHeader) Checksum() uint16 { return binary.BigEndian.Uint16(h[6:]) }

// ICMPHeader is a view on bytes that begin with an ICMP (RFC 792) or ICMPv6 (RFC
// 4443) header of 8 bytes.
type ICMPHeader []byte

// Type returns the message type.
func (h ICMPHeader) Type() uint8 { return h[0] }

// Code returns the message code.
func (h ICMPHeader) Code() uint8 { return h[1] }

// Checksum returns the checksum field.
func (h ICMPHeader) Checksum() uint16 { return binary.BigEndian.Uint16(h[2:]) }

// Identifier returns the identifier of a query.
func (h ICMPHeader) Identifier() uint16 { return binary.BigEndian.Uint16(h[4:]) }

// RestOfHeader returns the second 32-bit word: pointer, length, MTU or gateway.
func (h ICMPHeader) RestOfHeader() uint32 { return binary.BigEndian.Uint32(h[4:]) }
