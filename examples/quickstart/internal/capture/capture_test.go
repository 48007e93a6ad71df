package capture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/examples/quickstart/internal/testpacket"
)

var (
	at     = time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	packet = testpacket.UDP("100.64.0.1:5000", "198.18.0.1:53", "query")
)

// pcapFile writes a classic capture of one packet by hand.
func pcapFile(order binary.ByteOrder, nanos bool, link uint32, frame []byte, length int) []byte {
	magic, fraction := uint32(0xa1b2c3d4), uint32(at.Nanosecond()/1000)
	if nanos {
		magic, fraction = 0xa1b23c4d, uint32(at.Nanosecond())
	}
	b := make([]byte, 40)
	order.PutUint32(b, magic)
	order.PutUint16(b[4:], 2)
	order.PutUint16(b[6:], 4)
	order.PutUint32(b[16:], 96) // less than some packets have
	order.PutUint32(b[20:], link)
	order.PutUint32(b[24:], uint32(at.Unix()))
	order.PutUint32(b[28:], fraction)
	order.PutUint32(b[32:], uint32(len(frame)))
	order.PutUint32(b[36:], uint32(length))
	return append(b, frame...)
}

// ngFile writes a pcapng file of one packet by hand, with a link type of 16 bits.
func ngFile(order binary.ByteOrder, link uint16, resolution byte, ticks uint64, frame []byte, length int) []byte {
	var out []byte
	block := func(typ uint32, body []byte) {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		n := make([]byte, 4)
		order.PutUint32(n, typ)
		out = append(out, n...)
		order.PutUint32(n, uint32(len(body)+12))
		out = append(append(append(out, n...), body...), n...)
	}
	section := make([]byte, 16)
	order.PutUint32(section, 0x1a2b3c4d)
	order.PutUint16(section[4:], 1)
	order.PutUint64(section[8:], ^uint64(0))
	block(ngSection, section)
	face := make([]byte, 20)
	order.PutUint16(face, link)
	order.PutUint16(face[8:], 9)
	order.PutUint16(face[10:], 1)
	face[12] = resolution
	block(ngInterface, face)
	pkt := make([]byte, 20)
	order.PutUint32(pkt[4:], uint32(ticks>>32))
	order.PutUint32(pkt[8:], uint32(ticks))
	order.PutUint32(pkt[12:], uint32(len(frame)))
	order.PutUint32(pkt[16:], uint32(length))
	block(0xbad, []byte("unknown")) // a block to skip
	block(ngEnhanced, append(pkt, frame...))
	return out
}

func file(t *testing.T, b []byte) string {
	path := filepath.Join(t.TempDir(), "x.pcap")
	require.NoError(t, os.WriteFile(path, b, 0o644))
	return path
}

func readAll(t *testing.T, path string) ([]Packet, *File, error) {
	f, err := Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	var ps []Packet
	for {
		p, err := f.Next()
		if errors.Is(err, io.EOF) {
			return ps, f, nil
		}
		if err != nil {
			return ps, f, err
		}
		ps = append(ps, p)
	}
}

func TestFormats(t *testing.T) {
	sll2 := append(append([]byte{8, 0}, make([]byte, 18)...), packet...)
	micros := uint64(at.UnixMicro())
	for name, b := range map[string][]byte{
		"pcap, little endian":            pcapFile(binary.LittleEndian, false, 101, packet, 1500),
		"pcap, big endian":               pcapFile(binary.BigEndian, false, 101, packet, 1500),
		"pcap, nanoseconds":              pcapFile(binary.LittleEndian, true, 101, packet, 1500),
		"pcap, nanoseconds, big endian":  pcapFile(binary.BigEndian, true, 101, packet, 1500),
		"pcap, frame check sequence":     pcapFile(binary.LittleEndian, false, 0x44000000|101, packet, 1500),
		"pcap, SLL2":                     pcapFile(binary.LittleEndian, false, 276, sll2, 1520),
		"pcapng":                         ngFile(binary.LittleEndian, 101, 6, micros, packet, 1500),
		"pcapng, big endian":             ngFile(binary.BigEndian, 101, 6, micros, packet, 1500),
		"pcapng, nanoseconds":            ngFile(binary.LittleEndian, 101, 9, uint64(at.UnixNano()), packet, 1500),
		"pcapng, SLL2, a link beyond 8b": ngFile(binary.LittleEndian, 276, 6, micros, sll2, 1520),
	} {
		t.Run(name, func(t *testing.T) {
			ps, f, err := readAll(t, file(t, b))
			require.NoError(t, err)
			require.Equal(t, []Packet{{Number: 1, Time: at, Bytes: packet, Length: 1500}}, ps)
			require.Empty(t, f.Warning())
			require.Equal(t, 1.0, f.Progress())
		})
	}
	t.Run("pcapng, powers of two", func(t *testing.T) {
		ps, _, err := readAll(t, file(t, ngFile(binary.LittleEndian, 101, 0x80|20, uint64(at.Unix())<<20|1<<19, packet, 1500)))
		require.NoError(t, err)
		require.Equal(t, at.Truncate(time.Second).Add(time.Second/2), ps[0].Time)
	})
}

func TestTimestampOffset(t *testing.T) {
	n := &ng{order: binary.BigEndian}
	option := append([]byte{0, 14, 0, 8}, make([]byte, 8)...)
	binary.BigEndian.PutUint64(option[4:], 1000)
	require.NoError(t, n.iface(append(make([]byte, 8), option...)))
	require.Equal(t, time.Unix(1002, 500000000).UTC(), n.ifs[0].at(2_500_000))
}

// TestAgainstGopacket writes a pcapng file with gopacket and reads it here.
func TestAgainstGopacket(t *testing.T) {
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeRaw)
	require.NoError(t, err)
	eth, err := w.AddInterface(pcapgo.NgInterface{Name: "eth", LinkType: layers.LinkTypeEthernet, OS: "x", SnapLength: 65535})
	require.NoError(t, err)
	frame := append(append(make([]byte, 12), 8, 0), packet...)
	for i := range 10 {
		ci := gopacket.CaptureInfo{Timestamp: at.Add(time.Duration(i) * time.Second), CaptureLength: len(packet), Length: 999}
		data := packet
		if i%2 == 1 {
			ci.InterfaceIndex, ci.CaptureLength, ci.Length, data = eth, len(frame), 999+14, frame
		}
		require.NoError(t, w.WritePacket(ci, data))
	}
	require.NoError(t, w.Flush())
	ps, _, err := readAll(t, file(t, b.Bytes()))
	require.NoError(t, err)
	require.Len(t, ps, 10)
	for i, p := range ps {
		require.Equal(t, Packet{Number: i + 1, Time: at.Add(time.Duration(i) * time.Second), Bytes: packet, Length: 999}, p)
	}
}

func TestOpenSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, path, fault, advice string }{
		{"missing", filepath.Join(dir, "none.pcap"), "no such file", "check the name"},
		{"directory", dir, "directory", "pcap or pcapng"},
		{"empty", file(t, nil), "empty", "pcap or pcapng"},
		{"text", file(t, []byte("This is no capture file.")), "no capture", "pcap or pcapng"},
		{"three bytes", file(t, []byte("abc")), "too short", "pcap or pcapng"},
		{"gzip", file(t, []byte{0x1f, 0x8b, 8, 0, 0}), "gzip", "gunzip"},
		{"zstd", file(t, []byte{0x28, 0xb5, 0x2f, 0xfd, 0}), "zstd", "unzstd"},
		{"header only half", file(t, pcapFile(binary.LittleEndian, false, 101, nil, 0)[:20]), "header is cut", "pcap or pcapng"},
		{"other version", file(t, append([]byte{0xd4, 0xc3, 0xb2, 0xa1, 9, 0}, make([]byte, 40)...)), "version", "pcap or pcapng"},
		{"pcapng, header half", file(t, ngFile(binary.LittleEndian, 101, 6, 0, packet, 0)[:14]), "section header", "pcap or pcapng"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(c.path)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.path, e.Path)
			require.Contains(t, e.Fault, c.fault)
			require.Contains(t, e.Advice, c.advice)
			require.True(t, strings.HasPrefix(err.Error(), c.path+": "))
		})
	}
	t.Run("unknown link type", func(t *testing.T) {
		_, _, err := readAll(t, file(t, pcapFile(binary.LittleEndian, false, 105, packet, 60)))
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Contains(t, e.Fault, "link type 105")
	})
}

// TestCutAnywhere cuts files at every byte: what is whole is read, and a
// warning is given unless the cut lies between two frames.
func TestCutAnywhere(t *testing.T) {
	for name, b := range map[string][]byte{
		"pcap":   append(pcapFile(binary.LittleEndian, false, 101, packet, 60), pcapFile(binary.LittleEndian, false, 101, packet, 60)[24:]...),
		"pcapng": ngFile(binary.BigEndian, 101, 6, 1, packet, 60),
	} {
		t.Run(name, func(t *testing.T) {
			for n := range b {
				src, err := open(bufio.NewReader(bytes.NewReader(b[:n])))
				for err == nil {
					_, err = src.next()
				}
			}
		})
	}
	ps, f, err := readAll(t, file(t, pcapFile(binary.LittleEndian, false, 101, packet, 60)[:50]))
	require.NoError(t, err)
	require.Empty(t, ps)
	require.Contains(t, f.Warning(), "damaged or cut behind frame 0")
}

// TestProjectCaptures reads every capture of the project, some of which are
// malformed on purpose, and compares the frames with gopacket's own reader.
func TestProjectCaptures(t *testing.T) {
	paths, err := filepath.Glob("../../../../data/*/*.pcap*")
	require.NoError(t, err)
	require.Greater(t, len(paths), 50)
	for _, path := range append(paths, "../../../../data/subscribers.pcap") {
		_, f, err := readAll(t, path)
		require.NoError(t, err, path)
		require.Empty(t, f.Warning(), path)
		require.Equal(t, framesByGopacket(t, path), f.Frames(), path)
	}
}

func framesByGopacket(t *testing.T, path string) int {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var r gopacket.PacketDataSource
	if r, err = pcapgo.NewReader(bytes.NewReader(b)); err != nil {
		r, err = pcapgo.NewNgReader(bytes.NewReader(b), pcapgo.DefaultNgReaderOptions)
	} else {
		r.(*pcapgo.Reader).SetSnaplen(1 << 20)
	}
	require.NoError(t, err)
	for n := 0; ; n++ {
		if _, _, err := r.ReadPacketData(); err != nil {
			return n
		}
	}
}

// FuzzRead feeds any bytes: nothing panics, ends in a loop or asks for memory beyond its bounds.
func FuzzRead(f *testing.F) {
	f.Add(pcapFile(binary.LittleEndian, false, 1, packet, 60))                // a classic file
	f.Add(pcapFile(binary.BigEndian, true, 276, packet, 60))                  // big endian, nanoseconds, SLL2
	f.Add(ngFile(binary.LittleEndian, 113, 6, 1, packet, 60))                 // pcapng, cooked
	f.Add(ngFile(binary.BigEndian, 101, 0xff, 1, packet, 60))                 // pcapng, a resolution that is too fine
	f.Add(append(ngFile(binary.BigEndian, 9, 19, ^uint64(0), packet, 60), 1)) // pcapng, PPP, the last tick, trailing byte
	f.Fuzz(func(t *testing.T, b []byte) {
		src, err := open(bufio.NewReader(bytes.NewReader(b)))
		for frames := 0; err == nil; frames++ {
			var fr frame
			if fr, err = src.next(); err != nil {
				break
			}
			if frames > len(b) {
				t.Fatal("more frames than bytes")
			}
			if strip, ok := linkTypes[fr.link]; ok {
				if ip, none := strip(fr.bytes); none == "" && len(ip) > len(fr.bytes) {
					t.Fatal("the packet is longer than its frame")
				}
			}
		}
	})
}
