package rewrite

import (
	"encoding/binary"
	"math/bits"
)

// clampMSS lowers the MSS option of the TCP header that t begins with. With
// partial the checksum field is left alone: whoever completes it sums the option.
func clampMSS(t []byte, mss uint16, partial bool) bool {
	if len(t) < tcpMin {
		return false
	}
	end := min(int(t[12]>>4)*4, len(t))
	for i := tcpMin; i < end; {
		if t[i] == 0 {
			return false
		}
		if t[i] == 1 {
			i++
			continue
		}
		if i+1 >= end || t[i+1] < 2 || i+int(t[i+1]) > end {
			return false
		}
		if t[i] == 2 && t[i+1] == 4 {
			old := binary.BigEndian.Uint16(t[i+2:])
			if old <= mss {
				return false
			}
			binary.BigEndian.PutUint16(t[i+2:], mss)
			if partial {
				return true
			}
			// At an odd offset the option's bytes lie in the low half of one word and
			// the high half of the next: swapped (RFC 1071 section 2 B).
			was, is := old, mss
			if i%2 != 0 {
				was, is = bits.ReverseBytes16(was), bits.ReverseBytes16(is)
			}
			c := t[16:18]
			binary.BigEndian.PutUint16(c, Delta(0).Word16(was, is).Update(binary.BigEndian.Uint16(c)))
			return true
		}
		i += int(t[i+1])
	}
	return false
}
