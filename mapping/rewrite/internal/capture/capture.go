// Package capture reads the IP packets of capture files for tests. It knows pcap
// and pcapng, and the link types of the captures in the repository's data folder:
// raw IP, Ethernet (with VLAN tags), Linux cooked, PPP. It is not a general
// reader: what it does not know is left out.
package capture

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Packet is one packet of a capture.
type Packet struct {
	// File is the name of the capture, Index the packet's position in it, from 0.
	File  string
	Index int
	// Data are the bytes from the IP header on, trailer included.
	Data []byte
}

// All returns the IP packets of all captures below dir, in the files' order.
func All(dir string) ([]Packet, error) {
	var ps []Packet
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !strings.HasSuffix(path, ".pcap") && !strings.HasSuffix(path, ".pcapng") {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		ps = append(ps, read(filepath.Base(path), raw)...)
		return nil
	})
	if err == nil && len(ps) == 0 {
		err = errors.New("capture: no packets below " + dir)
	}
	return ps, err
}

// read returns the packets of one file, as far as its records go.
func read(name string, raw []byte) (ps []Packet) {
	add := func(i int, link uint32, b []byte) {
		if ip := strip(link, b); len(ip) > 0 {
			ps = append(ps, Packet{File: name, Index: i, Data: ip})
		}
	}
	if len(raw) < 24 {
		return nil
	}
	switch {
	case binary.LittleEndian.Uint32(raw) == 0x0a0d0d0a:
		readNG(raw, add)
	default:
		readPcap(raw, add)
	}
	return ps
}

func readPcap(raw []byte, add func(int, uint32, []byte)) {
	var o binary.ByteOrder = binary.LittleEndian
	if m := o.Uint32(raw); m != 0xa1b2c3d4 && m != 0xa1b23c4d {
		o = binary.BigEndian
	}
	link := o.Uint32(raw[20:]) & 0xffff
	b := raw[24:]
	for i := 0; len(b) >= 16; i++ {
		n := int(o.Uint32(b[8:]))
		if n < 0 || n > len(b)-16 {
			return
		}
		add(i, link, b[16:16+n])
		b = b[16+n:]
	}
}

func readNG(raw []byte, add func(int, uint32, []byte)) {
	var o binary.ByteOrder = binary.LittleEndian
	if o.Uint32(raw[8:]) != 0x1a2b3c4d {
		o = binary.BigEndian
	}
	var links []uint32
	i := 0
	for len(raw) >= 12 {
		n := int(o.Uint32(raw[4:]))
		if n < 12 || n > len(raw) {
			return
		}
		body := raw[8 : n-4]
		switch o.Uint32(raw) {
		case 1: // interface description
			if len(body) >= 2 {
				links = append(links, uint32(o.Uint16(body)))
			}
		case 6: // enhanced packet
			if len(body) >= 20 {
				id, size := int(o.Uint32(body)), int(o.Uint32(body[12:]))
				if id < len(links) && size >= 0 && 20+size <= len(body) {
					add(i, links[id], body[20:20+size])
				}
				i++
			}
		}
		raw = raw[n:]
	}
}

// strip removes the link header and returns nil for what is not IP.
func strip(link uint32, b []byte) []byte {
	switch link {
	case 12, 14, 101, 228, 229: // raw IP
		return b
	case 9: // PPP
		if len(b) >= 4 && b[0] == 0xff && b[1] == 3 {
			b = b[2:]
		}
		if len(b) < 2 || b[1] != 0x21 && b[1] != 0x57 {
			return nil
		}
		return b[2:]
	case 113: // Linux cooked
		if len(b) < 16 {
			return nil
		}
		return etherType(binary.BigEndian.Uint16(b[14:]), b[16:])
	case 1: // Ethernet
		if len(b) < 14 {
			return nil
		}
		return etherType(binary.BigEndian.Uint16(b[12:]), b[14:])
	}
	return nil
}

func etherType(t uint16, b []byte) []byte {
	for (t == 0x8100 || t == 0x88a8) && len(b) >= 4 {
		t, b = binary.BigEndian.Uint16(b[2:]), b[4:]
	}
	if t == 0x0800 || t == 0x86dd {
		return b
	}
	return nil
}
