package rewrite

import (
	"encoding/binary"
	"net/netip"
)

// golden is the model: a translator that is right by reading and calls nothing of
// the code under test. It finds fields by walking the packet, writes them, and
// then gives each checksum the value that leaves its covered sum, modulo 65,535,
// what it was. A sum that was right stays right and a wrong one stays wrong by the
// same amount. Nothing in it is incremental.

// region is one IP packet within the bytes: the outer one or the quoted one.
type region struct {
	v6                   bool
	ip, l4, end          int // offsets: header, transport, first byte beyond
	proto                byte
	later                bool // non-first fragment
	src, dst             int  // offsets of the addresses
	pseudoSrc, pseudoDst int  // offsets of the addresses the checksum covers
	alen                 int
	sport, dport         int // offsets, 0 if there are none
	ident                int // offset of an ICMP identifier, 0 if there is none
	request              bool
	check                int // offset of the transport checksum, 0 if absent
	udp, pseudo          bool
	coverage             int // end of what the transport checksum covers
	quote                int // offset of a quoted packet, 0 if none
	quoteEnd             int
}

func be16(b []byte, o int) int { return int(b[o])<<8 | int(b[o+1]) }

// walk finds the fields of the packet at ip, which ends before end. It is only
// asked about packets that were accepted.
func walk(b []byte, ip, end int) region {
	r := region{ip: ip}
	if b[ip]>>4 == 4 {
		r.l4, r.end, r.proto = ip+int(b[ip]&15)*4, min(end, ip+be16(b, ip+2)), b[ip+9]
		r.src, r.dst, r.alen = ip+12, ip+16, 4
		r.pseudoSrc, r.pseudoDst = r.src, r.dst
		r.later = be16(b, ip+6)&0x1fff != 0
		for o := ip + 20; o < r.l4 && b[o] != 0; {
			if b[o] == 1 {
				o++
				continue
			}
			if o+1 >= r.l4 || b[o+1] < 2 || o+int(b[o+1]) > r.l4 {
				break
			}
			if n := int(b[o+1]); (b[o] == 131 || b[o] == 137) && n >= 7 && int(b[o+2]) <= n-3 {
				r.pseudoDst = o + n - 4
				break
			}
			o += int(b[o+1])
		}
	} else {
		r.v6 = true
		r.l4, r.end, r.proto = ip+40, min(end, ip+40+be16(b, ip+4)), b[ip+6]
		r.src, r.dst, r.alen = ip+8, ip+24, 16
		r.pseudoSrc, r.pseudoDst = r.src, r.dst
		for !r.later {
			o := r.l4
			switch r.proto {
			case 0, 60:
				if r.proto == 60 {
					for i, e := o+2, o+8+8*int(b[o+1]); i+1 < e; {
						if b[i] == 0 {
							i++
							continue
						}
						if b[i] == 0xc9 && b[i+1] == 16 && i+18 <= e {
							r.pseudoSrc = i + 2
							break
						}
						i += 2 + int(b[i+1])
					}
				}
				r.l4 += 8 + 8*int(b[o+1])
			case 43:
				n := 8 + 8*int(b[o+1])
				if b[o+3] != 0 {
					r.pseudoDst = -1
					if b[o+2] == 0 && n >= 24 {
						r.pseudoDst = o + 8 + (int(b[o+1])/2-1)*16
					} else if (b[o+2] == 2 || b[o+2] == 4) && n >= 24 {
						r.pseudoDst = o + 8
					}
				}
				r.l4 += n
			case 44:
				r.later = be16(b, o+2)&0xfff8 != 0
				r.l4 += 8
			case 51:
				r.l4 += 8 + 4*int(b[o+1])
			default:
				r.transport(b)
				return r
			}
			r.proto = b[o]
		}
	}
	r.transport(b)
	return r
}

func (r *region) transport(b []byte) {
	if r.later {
		return
	}
	n := r.end - r.l4
	r.coverage = r.end
	switch r.proto {
	case 6:
		r.sport, r.dport, r.pseudo = r.l4, r.l4+2, true
		if n >= 18 {
			r.check = r.l4 + 16
		}
	case 17, 136:
		r.sport, r.dport, r.check, r.pseudo, r.udp = r.l4, r.l4+2, r.l4+6, true, true
		if c := be16(b, r.l4+4); r.proto == 136 && c != 0 {
			r.coverage = min(r.end, r.l4+max(c, 8)) // less than the header is illegal
		}
	case 1:
		if r.v6 {
			return
		}
		switch b[r.l4] {
		case 8, 13, 15, 17, 42:
			r.ident, r.request, r.check = r.l4+4, true, r.l4+2
		case 0, 14, 16, 18, 43:
			r.ident, r.check = r.l4+4, r.l4+2
		case 3, 4, 5, 11, 12:
			r.check = r.l4 + 2
			r.quote, r.quoteEnd = r.l4+8, r.end
			if w := int(b[r.l4+5]); w != 0 && b[r.l4] != 4 && b[r.l4] != 5 {
				r.quoteEnd = min(r.quoteEnd, r.quote+4*w)
			}
		}
	case 58:
		if !r.v6 {
			return
		}
		r.check, r.pseudo = r.l4+2, true
		switch b[r.l4] {
		case 128, 160:
			r.ident, r.request = r.l4+4, true
		case 129, 161:
			r.ident = r.l4 + 4
		case 1, 2, 3, 4:
			r.quote, r.quoteEnd = r.l4+8, r.end
			if w := int(b[r.l4+4]); w != 0 && (b[r.l4] == 1 || b[r.l4] == 3) {
				r.quoteEnd = min(r.quoteEnd, r.quote+8*w)
			}
		}
	}
}

// sum16 adds up 16-bit words one by one.
func sum16(b []byte) (s int) {
	for i, c := range b {
		if i%2 == 0 {
			s += int(c) << 8
		} else {
			s += int(c)
		}
	}
	return s % 65535
}

// residues returns the sums that the header checksum and the transport checksum
// judge, modulo 65,535: 0 is right.
func (r *region) residues(b []byte) (header, transport int) {
	if !r.v6 {
		header = sum16(b[r.ip:r.l4])
	}
	if r.check != 0 {
		transport = sum16(b[r.l4:r.coverage])
		if r.pseudo {
			transport += sum16(b[r.pseudoSrc : r.pseudoSrc+r.alen])
			if r.pseudoDst >= 0 {
				transport += sum16(b[r.pseudoDst : r.pseudoDst+r.alen])
			}
			transport += int(r.proto) + (r.end - r.l4)
		}
	}
	return header, transport % 65535
}

// keep changes the checksum field at o until the sum is back at what it was.
func keep(b []byte, o, was, is int, udp bool) {
	if udp && be16(b, o) == 0 {
		return
	}
	v := ((be16(b, o)+was-is)%65535 + 65535) % 65535
	if v == 0 && udp {
		v = 65535
	}
	binary.BigEndian.PutUint16(b[o:], uint16(v))
}

// set writes the endpoints of one region and keeps its checksums.
func (r *region) set(b []byte, src, dst netip.AddrPort) {
	h, t := r.residues(b)
	if src.IsValid() {
		copy(b[r.src:r.src+r.alen], src.Addr().AsSlice())
		if r.sport != 0 {
			binary.BigEndian.PutUint16(b[r.sport:], src.Port())
		}
		if r.ident != 0 && r.request {
			binary.BigEndian.PutUint16(b[r.ident:], src.Port())
		}
	}
	if dst.IsValid() {
		copy(b[r.dst:r.dst+r.alen], dst.Addr().AsSlice())
		if r.dport != 0 {
			binary.BigEndian.PutUint16(b[r.dport:], dst.Port())
		}
		if r.ident != 0 && !r.request {
			binary.BigEndian.PutUint16(b[r.ident:], dst.Port())
		}
	}
	r.mend(b, h, t)
}

func (r *region) mend(b []byte, h, t int) {
	h2, t2 := r.residues(b)
	if !r.v6 {
		keep(b, r.ip+10, h, h2, false)
	}
	if r.check != 0 {
		keep(b, r.check, t, t2, r.udp)
	}
}

// goldenApply returns what Apply has to make of an accepted packet.
func goldenApply(in []byte, t Translation) []byte {
	b := append([]byte(nil), in...)
	r := walk(b, 0, len(b))
	if r.quote != 0 {
		h, tr := r.residues(b)
		q := walk(b, r.quote, r.quoteEnd)
		q.set(b, t.Destination, t.Source)
		r.mend(b, h, tr)
	}
	r.set(b, t.Source, t.Destination)
	return b
}
