package rewrite

// Packet6 is Packet4 for IPv6.
type Packet6 struct {
	// Src and Dst are the addresses in network order.
	Src, Dst [16]byte
	// SrcPort and DstPort are as in Packet4.
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	PayloadLength    uint16
	ID               uint32
	FragmentOffset   uint16
	Offset           uint32
	Transport        uint32
	checksum         uint32
	end              uint32
	Flags            Flags
	Kind             Kind
	Proto            uint8
	HopLimit         uint8
	ICMPType         uint8
	ICMPCode         uint8
	TCPFlags         uint8
}

// Parse6 fills p from the IPv6 packet that b begins with.
func Parse6(b []byte, p *Packet6) Fault { return FaultVersion }

// ParseQuoted6 is ParseQuoted4 for ICMPv6 errors.
func ParseQuoted6(b []byte, outer, inner *Packet6) Fault { return FaultNotError }

// ParseEmbedded6 is ParseEmbedded4 for IPv6.
func ParseEmbedded6(quote []byte, p *Packet6) Fault { return FaultVersion }

// SetSource is Packet4.SetSource for IPv6.
func (p *Packet6) SetSource(b []byte, addr [16]byte, port uint16) {}

// SetDestination is Packet4.SetDestination for IPv6.
func (p *Packet6) SetDestination(b []byte, addr [16]byte, port uint16) {}

// SetQuotedSource is Packet4.SetQuotedSource for IPv6.
func (p *Packet6) SetQuotedSource(b []byte, q *Packet6, addr [16]byte, port uint16) {}

// SetQuotedDestination is Packet4.SetQuotedDestination for IPv6.
func (p *Packet6) SetQuotedDestination(b []byte, q *Packet6, addr [16]byte, port uint16) {}

// CheckTransport is Packet4.CheckTransport for IPv6.
func (p *Packet6) CheckTransport(b []byte) Check { return CheckUnknown }
