package ipfix

import (
	"encoding/binary"
	"fmt"
)

// decoder is a collector in the plainest form: it takes templates and reads data
// by them, knows nothing of events, and shares no code with the exporter. It is
// strict about lengths.
type decoder struct {
	templates map[uint16][]field // per template id, scopes first
	seq       []uint32
	messages  int
	dataLens  []int // octets of each data record
}

type field struct{ id, length int }

// fields maps element numbers to their octets.
type fields map[int]string

func (f fields) uint(ie int) uint64 {
	v := uint64(0)
	for _, c := range []byte(f[ie]) {
		v = v<<8 | uint64(c)
	}
	return v
}

type decoded struct {
	version          int
	exported, domain uint32
	seq, uptime      uint32
	templates        []int // ids of templates in it
	data             []fields
	ids              []int // template id of each data record
}

func (d *decoder) message(b []byte) (m decoded, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("beyond the end: %v", p)
		}
	}()
	if d.templates == nil {
		d.templates = map[uint16][]field{}
	}
	d.messages++
	be := binary.BigEndian
	m.version = int(be.Uint16(b))
	count := -1
	switch m.version {
	case 10:
		if int(be.Uint16(b[2:])) != len(b) {
			return m, fmt.Errorf("length %d of %d", be.Uint16(b[2:]), len(b))
		}
		m.exported, m.seq, m.domain = be.Uint32(b[4:]), be.Uint32(b[8:]), be.Uint32(b[12:])
		b = b[16:]
	case 9:
		count = int(be.Uint16(b[2:]))
		m.uptime, m.exported, m.seq, m.domain = be.Uint32(b[4:]), be.Uint32(b[8:]), be.Uint32(b[12:]), be.Uint32(b[16:])
		if len(b)%4 != 0 {
			return m, fmt.Errorf("%d octets are no multiple of four", len(b))
		}
		b = b[20:]
	default:
		return m, fmt.Errorf("version %d", m.version)
	}
	d.seq = append(d.seq, m.seq)
	for len(b) > 0 {
		id, n := be.Uint16(b), int(be.Uint16(b[2:]))
		set := b[4:n]
		b = b[n:]
		switch {
		case m.version == 10 && id == 2 || m.version == 9 && id == 0:
			for len(set) > 0 {
				t, n := be.Uint16(set), int(be.Uint16(set[2:]))
				set = d.read(t, set[4:], n)
				m.templates = append(m.templates, int(t))
			}
		case m.version == 10 && id == 3:
			t, n := be.Uint16(set), int(be.Uint16(set[2:]))
			if be.Uint16(set[4:]) == 0 {
				return m, fmt.Errorf("options template without a scope")
			}
			if rest := d.read(t, set[6:], n); len(rest) > 0 {
				return m, fmt.Errorf("%d octets behind the options template", len(rest))
			}
			m.templates = append(m.templates, int(t))
		case m.version == 9 && id == 1:
			t, n := be.Uint16(set), int(be.Uint16(set[2:])+be.Uint16(set[4:]))/4
			d.read(t, set[6:], n)
			m.templates = append(m.templates, int(t))
		case id >= 256:
			t := d.templates[id]
			if t == nil {
				return m, fmt.Errorf("data of unknown template %d", id)
			}
			for len(set) > 0 {
				if m.version == 9 && len(set) < 4 {
					break // padding
				}
				f, n := fields{}, 0
				for _, e := range t {
					length := e.length
					if length == 0xffff {
						length = int(set[n])
						n++
						if length == 255 {
							length = int(be.Uint16(set[n:]))
							n += 2
						}
					}
					f[e.id] = string(set[n : n+length])
					n += length
				}
				set = set[n:]
				m.data = append(m.data, f)
				m.ids = append(m.ids, int(id))
				d.dataLens = append(d.dataLens, n)
			}
		default:
			return m, fmt.Errorf("set %d", id)
		}
	}
	if count >= 0 && count != len(m.data)+len(m.templates) {
		return m, fmt.Errorf("count %d, but %d records", count, len(m.data)+len(m.templates))
	}
	return m, nil
}

func (d *decoder) read(id uint16, b []byte, n int) (rest []byte) {
	var t []field
	for range n {
		t = append(t, field{int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))})
		b = b[4:]
	}
	d.templates[id] = t
	return b
}
