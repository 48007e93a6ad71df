// Package capture reads the IP packets out of capture files.
//
// It takes pcap and pcapng files and strips the link layer: raw IP, Ethernet
// with any number of VLAN tags (IEEE 802.1Q, 802.1ad) and PPPoE, Linux cooked
// captures in both versions, BSD loopback and PPP. A frame that carries no IP
// is counted under a name and skipped. Packets that were cut when they were
// captured keep their original length.
//
// What it does not do: reassembly, decryption, tunnels. A packet inside a
// tunnel stays inside.
package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// A Packet is one IP packet of a capture. Its bytes belong to the caller.
type Packet struct {
	// Number is the place of the frame in the file, from 1, as Wireshark counts.
	Number int
	// Time is the capture time. It is the time of the packet before where the file gives none.
	Time time.Time
	// Bytes start at the IP header. They may be fewer than a whole header.
	Bytes []byte
	// Length is how many bytes there were from the IP header on before the
	// packet was cut; it is never less than len(Bytes).
	Length int
}

// An Error says what is wrong with a capture file and what to do about it.
type Error struct {
	Path   string
	Fault  string
	Advice string
	Err    error // the cause, or nil
}

func (e *Error) Error() string { return e.Path + ": " + e.Fault + "; " + e.Advice }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// frame is what a file format yields: one captured frame with its link type.
type frame struct {
	link   uint16
	time   time.Time // zero: not given
	bytes  []byte
	length int
}

// A source is a file format. next returns io.EOF at the end, and another error
// where the file is damaged and nothing behind that can be read.
type source interface {
	next() (frame, error)
}

// A File is an open capture. It is not safe for concurrent use.
type File struct {
	path    string
	f       *os.File
	size    int64
	count   *countingReader
	src     source
	frames  int
	last    time.Time
	skipped map[string]int
	warning string
}

const advice = "give a pcap or pcapng file, as tcpdump -w or Wireshark write them"

// Open opens a capture and reads its header. Its errors are of type *Error.
func Open(path string) (*File, error) {
	fail := func(fault, advice string, err error) (*File, error) {
		return nil, &Error{Path: path, Fault: fault, Advice: advice, Err: err}
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fail("there is no such file", "check the name", err)
	case errors.Is(err, os.ErrPermission):
		return fail("it may not be read", "give yourself the permission to read it (chmod, or run as its owner)", err)
	case err != nil:
		return fail(err.Error(), "check the name and the permissions", err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		f.Close()
		return fail(err.Error(), "check the file system", err)
	case info.IsDir():
		f.Close()
		return fail("it is a directory", advice, nil)
	case info.Mode().IsRegular() && info.Size() == 0:
		f.Close()
		return fail("the file is empty", advice, nil)
	}
	c := &File{path: path, f: f, size: info.Size(), count: &countingReader{r: f}, skipped: map[string]int{}}
	if c.src, err = open(bufio.NewReaderSize(c.count, 1<<16)); err != nil {
		f.Close()
		var e *Error
		if errors.As(err, &e) {
			e.Path = path
			return nil, e
		}
		return fail(err.Error(), advice, err)
	}
	return c, nil
}

// open chooses the format by the first bytes.
func open(r *bufio.Reader) (source, error) {
	head, err := r.Peek(4)
	if err != nil {
		return nil, errors.New("the file is too short for a capture")
	}
	switch {
	case binary.BigEndian.Uint32(head) == ngSection:
		return newNG(r)
	case head[0] == 0x1f && head[1] == 0x8b:
		return nil, &Error{Fault: "it is compressed with gzip", Advice: "unpack it first: gunzip -k FILE"}
	case head[0] == 0x28 && head[1] == 0xb5 && head[2] == 0x2f && head[3] == 0xfd:
		return nil, &Error{Fault: "it is compressed with zstd", Advice: "unpack it first: unzstd FILE"}
	}
	return newClassic(r)
}

// Next returns the next IP packet, and io.EOF at the end. A file that is
// damaged or cut ends where it cannot be read further; Warning then says so.
// An unknown link type is an error of type *Error.
func (c *File) Next() (Packet, error) {
	for {
		fr, err := c.src.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.warning = fmt.Sprintf("the file is damaged or cut behind frame %d (%v); the frames before it were read", c.frames, err)
			}
			return Packet{}, io.EOF
		}
		c.frames++
		if !fr.time.IsZero() {
			c.last = fr.time
		}
		strip, ok := linkTypes[fr.link]
		if !ok {
			return Packet{}, &Error{Path: c.path,
				Fault:  fmt.Sprintf("frame %d has link type %d, which is not read here", c.frames, fr.link),
				Advice: "capture on an Ethernet, PPP, loopback, \"any\" or TUN interface, or convert the file to raw IP or Ethernet"}
		}
		ip, none := strip(fr.bytes)
		if none != "" {
			c.skipped[none]++
			continue
		}
		length := max(fr.length-(len(fr.bytes)-len(ip)), len(ip))
		return Packet{Number: c.frames, Time: c.last, Bytes: ip, Length: length}, nil
	}
}

// Frames is the number of frames read so far, with IP or without.
func (c *File) Frames() int { return c.frames }

// Skipped returns how many frames carried no IP, by name. The map belongs to the File.
func (c *File) Skipped() map[string]int { return c.skipped }

// Warning says in a sentence that the file ended early, or is empty.
func (c *File) Warning() string { return c.warning }

// Progress returns the part of the file that was read, from 0 to 1.
func (c *File) Progress() float64 {
	if c.size <= 0 {
		return 0
	}
	return min(1, float64(c.count.n)/float64(c.size))
}

// Close closes the file.
func (c *File) Close() error { return c.f.Close() }

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
