package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/journal"
	"github.com/blocknat/blocknat/portblock"
)

// journalName is the journal among the encodings. What it packs depends on how dense the records are, so no thin sample is measured but
// all block records of the run, and the session records of all connections that begin within a while of the busiest hour.
const journalName = "journal"

// denseSessions is about how many connections' records the journal of sessions gets.
const denseSessions = 200_000

// journalBytes writes records to a journal in a temporary directory and returns its bytes on disk, sealed, for each.
func journalBytes(write func(log logging.Log) error) (each float64, err error) {
	dir, err := os.MkdirTemp("", "blocknat-volume-*")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	j, err := journal.Open(dir, journal.Config{Commit: journal.Buffered, NoSync: true})
	if err != nil {
		return 0, err
	}
	records := 0
	err = write(logging.LogFunc(func(r *logging.Record) error {
		records++
		for {
			err := j.Append(r)
			if !errors.Is(err, logging.ErrFull) {
				return err
			}
			if err := j.Sync(); err != nil { // it does not keep up: wait for it
				return err
			}
		}
	}))
	if err := errors.Join(err, j.Seal(), j.Close()); err != nil {
		return 0, err
	}
	if records == 0 {
		return 0, errors.New("no records for the journal")
	}
	var bytes int64
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	return float64(bytes) / float64(records), err
}

// journalOfBlocks plays the moves of a block size on as many addresses as they need, and writes all records.
func (r *run) journalOfBlocks(i int, moves []move, addresses int) (float64, error) {
	return journalBytes(func(log logging.Log) error {
		f, err := newFleet(r.layouts[i], addresses, r.Subscribers)
		if err != nil {
			return err
		}
		began := map[[2]uint32]int64{}
		f.moved = func(m *move, b portblock.Block, held int) error {
			rec := record(m.at, m.subscriber)
			set := r.layouts[i].SetOf(b)
			rec.External = f.pool.Address(b.Address())
			rec.Kind, rec.Reason, rec.Spaces = logging.BlockAllocated, logging.ReasonOutbound, logging.AllSpaces
			rec.First, rec.Last, rec.Used, rec.Max = set.First(), set.Last(), uint32(held), uint32(r.maxBlocks(r.Sizes[i]))
			key := [2]uint32{m.subscriber, uint32(m.slot)}
			if m.take {
				began[key] = m.at
			} else {
				rec.Kind, rec.Reason, rec.Allocated = logging.BlockReleased, logging.ReasonIdle, epoch+logging.Millis(began[key])
			}
			return log.Append(&rec)
		}
		return f.replay(moves, true)
	})
}

// journalOfSessions writes both records of the connections of a while, in the order of their times. Each subscriber has an
// external address of its own here, so that no port is held twice.
func (t *totals) journalOfSessions() (float64, error) {
	return journalBytes(func(log logging.Log) error {
		var records []logging.Record
		for _, r := range recordsOf(t.dense) {
			b := r.Subscriber.As4()
			r.External = netip.AddrFrom4([4]byte{198, 18 + b[1]&1, b[2], b[3]})
			records = append(records, r)
		}
		slices.SortStableFunc(records, func(a, b logging.Record) int { return int(a.Time - b.Time) })
		for i := range records {
			if err := log.Append(&records[i]); err != nil {
				return fmt.Errorf("record %d: %w", i, err)
			}
		}
		return nil
	})
}
