package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/blocknat/blocknat/examples/internal/cli"
	"github.com/blocknat/blocknat/examples/quickstart/internal/capture"
	"github.com/blocknat/blocknat/examples/quickstart/internal/proof"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/journal"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
)

const poolName = "cgn"

// quickstart plays the capture, writes the results and proves them.
func quickstart(o options, bar *cli.Progress) (*summary, error) {
	r, err := newRun(o)
	if err != nil {
		return nil, err
	}
	defer r.close()
	if err := r.play(bar); err != nil {
		return nil, err
	}
	return r.prove()
}

// A quickRun is one run of the program: open files, an engine and its player.
type quickRun struct {
	options
	file   *capture.File
	first  capture.Packet
	files  *results
	log    *logging.Writer
	keep   *journal.Journal // or nil
	proof  *proof.Proof
	player *player
	report *summary
}

// newRun opens the capture, makes the engine, and then the files, so that wrong use leaves nothing behind.
func newRun(o options) (_ *quickRun, err error) {
	if o.capture == "" {
		if o.capture, err = findCapture(); err != nil {
			return nil, err
		}
	}
	file, err := capture.Open(o.capture)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	r := &quickRun{options: o, file: file}
	if r.first, err = r.file.Next(); errors.Is(err, io.EOF) {
		return nil, noPackets(o.capture, r.file)
	} else if err != nil {
		return nil, err
	}
	start := r.first.Time
	if start.Before(epoch) {
		start = epoch
	}
	if _, err = natcore.New(config(o, logging.Discard), start); err != nil {
		return nil, cli.ByFlag(err, fieldFlags)
	}
	if o.journal != "" {
		if r.keep, err = openJournal(o.journal); err != nil {
			return nil, err
		}
	}
	if r.files, err = createResults(o.out); err != nil {
		if r.keep != nil {
			r.keep.Close()
		}
		return nil, err
	}
	r.log = logging.NewWriter(r.files.blocks, logging.JSON{})
	var log logging.Log = r.log
	if r.keep != nil {
		log = logging.Multi(r.keep, r.log)
	}
	engine, err := natcore.New(config(o, log), start)
	if err != nil {
		return nil, err
	}
	r.proof = proof.New(proof.Times{
		HoldDown: portblock.DefaultHoldDown, GuardTime: portblock.DefaultGuardTime,
		UDP: idleUDP, ICMP: idleICMP, TCP: idleTCP,
	})
	r.player = newPlayer(engine, o, r.proof)
	r.player.emit = r.files.packet
	return r, nil
}

// openJournal opens an empty journal: the records of two runs in one would name
// two holders of the same ports.
func openJournal(dir string) (*journal.Journal, error) {
	const advice = "; choose another directory with -journal DIR"
	if _, err := os.Stat(dir); err == nil {
		r, err := journal.OpenReader(dir)
		if err != nil {
			return nil, fmt.Errorf("%w%s", err, advice)
		}
		defer r.Close()
		for _, err := range r.Records() {
			if err == nil {
				err = errors.New("it holds the records of another run, which would contradict these")
			}
			return nil, fmt.Errorf("the journal in %s cannot be used: %w; delete it, or choose another directory with -journal DIR", dir, err)
		}
	}
	j, err := journal.Open(dir, journal.Config{})
	if err != nil {
		return nil, fmt.Errorf("the journal cannot be written: %w%s", err, advice)
	}
	return j, nil
}

func (r *quickRun) close() {
	r.file.Close()
	r.files.close()
	if r.keep != nil {
		r.keep.Close()
	}
}

// play plays all packets, lets time pass until the engine is at rest, and closes the files.
func (r *quickRun) play(bar *cli.Progress) error {
	s := &summary{Capture: r.capture, Seed: r.seed, Pool: r.poolText, Internal: prefixes(r.internal), Block: r.block}
	r.report = s
	p := r.player
	if err := p.playAll(r.file, r.first, bar); err != nil {
		return err
	}
	p.sample()
	s.End = stateOf(p.engine.Stats())
	var err error
	if s.RestAfter, err = p.finish(); err != nil {
		return err
	}
	s.Rest = stateOf(p.engine.Stats())
	s.take(p)
	s.Notes = notes(r.file, p, r.options)
	s.NoIP = sorted(r.file.Skipped())
	stats := r.log.Stats()
	s.BlockRecords, s.BlockBytes = stats.Records, stats.Bytes
	if r.keep != nil {
		if err := r.keep.Close(); err != nil {
			return fmt.Errorf("the journal cannot be written: %w; make room, or choose another directory with -journal DIR", err)
		}
	}
	if err := r.files.close(); err != nil {
		return fmt.Errorf("the results cannot be written: %w; make room, or choose another directory with -out DIR", err)
	}
	return nil
}

// prove has the proof read the files that were written, adds them to the
// report, and writes that into a file too.
func (r *quickRun) prove() (*summary, error) {
	s := r.report
	for _, read := range []struct {
		name string
		by   func(io.Reader) error
	}{{blocksName, r.proof.Records}, {pcapName, r.proof.Pcap}} {
		path := r.files.path(read.name)
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil {
			s.Files = append(s.Files, line{path, int(info.Size())})
			err = read.by(f)
		}
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s cannot be read back: %w", path, err)
		}
	}
	s.Checks = r.proof.Checks()
	var report bytes.Buffer
	s.write(&report)
	return s, os.WriteFile(r.files.path(reportName), report.Bytes(), 0o644)
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
func (p *player) playAll(file *capture.File, pkt capture.Packet, line *cli.Progress) error {
	defer line.Done()
	for {
		if err := p.play(pkt); err != nil {
			return fmt.Errorf("the translated packets cannot be written: %w; make room, or choose another directory with -out DIR", err)
		}
		if line.Due() {
			part := file.Progress()
			line.Show("[%s] %3.0f %%  %s packets, %s sessions", bar(part, 1, 30, '.'), 100*part, count(p.tally.packets), count(len(p.sessions.seen)))
		}
		var err error
		if pkt, err = file.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
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
	if p.tally.played == [3]int{} {
		ns = append(ns, fmt.Sprintf("nothing was translated, so the proof shows nothing: no packet that can be translated comes from or goes to a "+
			"subscriber in %s; name the subscribers with -internal, "+
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
