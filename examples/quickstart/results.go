package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// results are the files that a run writes.
type results struct {
	dir     string
	pcap    *os.File
	buffer  *bufio.Writer
	packets *pcapgo.Writer
	blocks  *os.File
	closed  bool
}

// Names of the files.
const (
	pcapName   = "translated.pcap"
	blocksName = "blocks.jsonl"
	reportName = "report.txt"
)

// maxPacket is the longest IP packet, with room for segments that a network card put together.
const maxPacket = 262144

// createResults makes the directory and the files, empty.
func createResults(dir string) (*results, error) {
	const advice = "; choose another directory with -out DIR"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("the results cannot be written: %w%s", err, advice)
	}
	r := &results{dir: dir}
	var err error
	if r.pcap, err = os.Create(r.path(pcapName)); err != nil {
		return nil, fmt.Errorf("the results cannot be written: %w%s", err, advice)
	}
	if r.blocks, err = os.Create(r.path(blocksName)); err != nil {
		r.pcap.Close()
		return nil, fmt.Errorf("the results cannot be written: %w%s", err, advice)
	}
	r.buffer = bufio.NewWriterSize(r.pcap, 1<<16)
	r.packets = pcapgo.NewWriterNanos(r.buffer)
	return r, r.packets.WriteFileHeader(maxPacket, layers.LinkTypeRaw)
}

func (r *results) path(name string) string { return filepath.Join(r.dir, name) }

// packet writes a translated packet. length is what it had before the capture cut it.
func (r *results) packet(t time.Time, b []byte, length int) error {
	ci := gopacket.CaptureInfo{Timestamp: t, CaptureLength: len(b), Length: max(length, len(b))}
	return r.packets.WritePacket(ci, b)
}

// close writes what is buffered. A second call does nothing.
func (r *results) close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	err := r.buffer.Flush()
	for _, f := range []*os.File{r.pcap, r.blocks} {
		if e := f.Close(); err == nil {
			err = e
		}
	}
	return err
}
