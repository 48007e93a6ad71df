package rewrite

import "encoding/binary"

// IPv6 extension headers that are walked (RFC 8200 section 4, RFC 4302). ESP and
// No Next Header end the chain, as every unknown number does.
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extAH          = 51
	extDestination = 60

	// maxExtensions bounds the walk. RFC 8504 section 5.3 lets nodes limit the
	// number of headers; real chains have fewer than five.
	maxExtensions = 32
)

// extensions walks the chain that begins at off and returns where the transport
// header begins. b is what is there of total bytes.
func (p *Packet6) extensions(b []byte, off, total int) (int, Fault) {
	for range maxExtensions {
		switch p.Proto {
		case extHopByHop, extRouting, extFragment, extAH, extDestination:
		default:
			if off > len(b) {
				return 0, FaultTruncated
			}
			return off, FaultNone
		}
		if off+8 > len(b) {
			return 0, p.shortChain(off+8, total)
		}
		n := (int(b[off+1]) + 1) * 8
		switch p.Proto {
		case extFragment:
			if f := p.fragment(b[off:off+8:off+8], total-off-8); f != FaultNone {
				return 0, f
			}
			n = 8
		case extAH:
			n = (int(b[off+1]) + 2) * 4
		}
		if off+n > len(b) {
			return 0, p.shortChain(off+n, total)
		}
		h := b[off : off+n : off+n]
		switch p.Proto {
		case extRouting:
			p.routing(h, off)
		case extDestination:
			p.homeAddress(h, off)
		}
		p.Proto = h[0]
		off += n
		if p.Flags&NonFirst != 0 {
			return off, FaultNone
		}
	}
	return 0, FaultExtension
}

// shortChain is the fault of a header that should end at need: cut off, or a lie.
// A first fragment must hold the whole chain (RFC 7112).
func (p *Packet6) shortChain(need, total int) Fault {
	switch {
	case need <= total || p.Flags&Quoted != 0:
		return FaultTruncated
	case p.Flags&MoreFragments != 0:
		return FaultTinyFragment
	}
	return FaultExtension
}

// fragment reads a fragment header; length is that of what follows it.
func (p *Packet6) fragment(h []byte, length int) Fault {
	w := binary.BigEndian.Uint16(h[2:])
	p.ID = binary.BigEndian.Uint32(h[4:])
	if w&1 != 0 {
		p.Flags |= MoreFragments
	}
	at := int(w &^ 7)
	if at == 0 {
		return FaultNone
	}
	if at+length > 65535 {
		return FaultFragment
	}
	if at == 8 && h[0] == ProtoTCP && p.Flags&Quoted == 0 {
		return FaultTinyFragment
	}
	p.FragmentOffset = uint16(at)
	p.Flags |= NonFirst
	return FaultNone
}

// routing notes where the final destination lies while segments are left: that is
// what the transport checksum covers (RFC 8200 section 8.1).
func (p *Packet6) routing(h []byte, off int) {
	if h[3] == 0 {
		return
	}
	p.Flags |= SourceRoute
	p.pseudoDst = unknownAddress
	last := 0
	switch h[2] {
	case 0: // RFC 2460: the last address of the list
		last = 8 + (int(h[1])/2-1)*16
	case 2, 4: // RFC 6275: the only one; RFC 8754: the list is reversed
		last = 8
	}
	if last >= 8 && last+16 <= len(h) {
		p.pseudoDst = uint32(off + last)
	}
}

// homeAddress notes a home address option, which stands for the source in the
// transport checksum (RFC 6275 section 11.3.1).
func (p *Packet6) homeAddress(h []byte, off int) {
	for i := 2; i < len(h); {
		if h[i] == 0 {
			i++
			continue
		}
		if i+1 >= len(h) {
			return
		}
		if h[i] == 0xc9 && h[i+1] == 16 && i+18 <= len(h) {
			p.Flags |= HomeAddress
			p.pseudoSrc = uint32(off + i + 2)
			return
		}
		i += 2 + int(h[i+1])
	}
}
