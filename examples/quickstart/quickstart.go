package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/blocknat/blocknat/examples/quickstart/internal/capture"
	"github.com/blocknat/blocknat/examples/quickstart/internal/proof"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
)

const poolName = "cgn"

// quickstart plays the capture, writes the results and proves them.
func quickstart(o options, bar *progress) (*summary, error) {
	path := o.capture
	if path == "" {
		var err error
		if path, err = findCapture(); err != nil {
			return nil, err
		}
	}
	file, err := capture.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	first, err := file.Next()
	if errors.Is(err, io.EOF) {
		return nil, noPackets(path, file)
	} else if err != nil {
		return nil, err
	}

	start := first.Time
	if start.Before(epoch) {
		start = epoch
	}
	// The configuration is tried before any file is made.
	if _, err := natcore.New(config(o, logging.Discard), start); err != nil {
		return nil, err
	}
	files, err := createResults(o.out)
	if err != nil {
		return nil, err
	}
	defer files.close()
	log := logging.NewWriter(files.blocks, logging.JSON{})
	engine, err := natcore.New(config(o, log), start)
	if err != nil {
		return nil, err
	}
	pr := proof.New(proof.Times{
		HoldDown: portblock.DefaultHoldDown, GuardTime: portblock.DefaultGuardTime,
		UDP: idleUDP, ICMP: idleICMP, TCP: idleTCP,
	})
	p := newPlayer(engine, o, pr)
	p.emit = files.packet

	s := &summary{Capture: path, Seed: o.seed, Pool: o.poolText, Internal: prefixes(o.internal), Block: o.block}
	if err := p.playAll(file, first, bar); err != nil {
		return nil, err
	}
	p.sample()
	s.End = stateOf(engine.Stats())
	if s.RestAfter, err = p.finish(); err != nil {
		return nil, err
	}
	s.Rest = stateOf(engine.Stats())
	s.take(p)
	s.Notes = notes(file, p, o)
	s.NoIP = sorted(file.Skipped())
	stats := log.Stats()
	s.BlockRecords, s.BlockBytes = stats.Records, stats.Bytes
	if err := files.close(); err != nil {
		return nil, fmt.Errorf("the results cannot be written: %w; make room, or choose another directory with -out DIR", err)
	}
	return s, finish(s, files, pr)
}

// config is a carrier-grade NAT by the defaults of the library: 256-port blocks,
// endpoint-independent mapping and filtering, paired pooling, hairpinning.
func config(o options, log logging.Log) natcore.Config {
	c := natcore.Config{
		Seed:        o.key(),
		Pools:       []natcore.PoolConfig{{Name: poolName, Addresses: o.pool, Blocks: portblock.Config{BlockSize: o.block}}},
		Log:         log,
		AdmitNonSYN: !o.strictTCP,
	}
	for _, prefix := range o.internal {
		c.Rules = append(c.Rules, natcore.Rule{Internal: prefix, Pool: poolName})
	}
	return c
}

// playAll plays the packets from the first on.
func (p *player) playAll(file *capture.File, pkt capture.Packet, bar *progress) error {
	defer bar.done()
	for {
		if err := p.play(pkt); err != nil {
			return fmt.Errorf("the translated packets cannot be written: %w; make room, or choose another directory with -out DIR", err)
		}
		bar.show(file.Progress(), p.tally.packets, len(p.sessions.seen))
		var err error
		if pkt, err = file.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// finish has the proof read the files that were written, adds them to the
// summary, and writes the report into a file too.
func finish(s *summary, files *results, pr *proof.Proof) error {
	for _, read := range []struct {
		name string
		by   func(io.Reader) error
	}{{blocksName, pr.Records}, {pcapName, pr.Pcap}} {
		f, err := os.Open(files.path(read.name))
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil {
			s.Files = append(s.Files, line{files.path(read.name), int(info.Size())})
			err = read.by(f)
		}
		f.Close()
		if err != nil {
			return fmt.Errorf("%s cannot be read back: %w", files.path(read.name), err)
		}
	}
	s.Checks = pr.Checks()
	var report bytes.Buffer
	s.write(&report)
	return os.WriteFile(files.path(reportName), report.Bytes(), 0o644)
}

func noPackets(path string, file *capture.File) error {
	e := &capture.Error{Path: path, Fault: "it holds no IP packets", Advice: "capture IP traffic of subscribers, as with tcpdump -w FILE ip"}
	if w := file.Warning(); w != "" {
		e.Fault = w
		e.Advice = "give a pcap or pcapng file, as tcpdump -w or Wireshark write them"
	}
	return e
}

// notes are remarks on the capture that its reader should know.
func notes(file *capture.File, p *player, o options) []string {
	var ns []string
	if w := file.Warning(); w != "" {
		ns = append(ns, w)
	}
	if p.tally.unplayed[noSubscriber] == p.tally.packets {
		ns = append(ns, fmt.Sprintf("no packet comes from or goes to a subscriber in %s; name the subscribers with -internal, "+
			"such as -internal %s/32 for the sender of the first packet", prefixes(o.internal), p.tally.firstSource))
	}
	return ns
}

func prefixes(ps []netip.Prefix) string {
	var s []string
	for _, p := range ps {
		s = append(s, p.String())
	}
	return strings.Join(s, ", ")
}
