package journal

import (
	"errors"
	"fmt"
	"time"
)

// Commit says when Append returns, which is when a record is accepted.
type Commit uint8

const (
	// Written returns when the operating system has the record. It survives
	// the death of the process at once and a loss of power after the next
	// synchronisation, which comes every Interval.
	Written Commit = iota
	// Synced returns when the disk has the record (fsync). Callers that come
	// at the same time share one synchronisation; with an Interval they wait
	// for the next one, so that more of them share it.
	Synced
	// Buffered returns when the record is in the memory of the process, which
	// is written and synchronised every Interval. The death of the process
	// loses the records of at most Interval and the time that a
	// synchronisation takes.
	Buffered
)

// String returns the commit's name.
func (c Commit) String() string {
	switch c {
	case Written:
		return "written"
	case Synced:
		return "synced"
	case Buffered:
		return "buffered"
	}
	return fmt.Sprintf("commit(%d)", uint8(c))
}

// Config says how a Journal works. The zero Config is ready.
type Config struct {
	// Commit says what Append waits for. The default is Written.
	Commit Commit

	// Interval is the time between two synchronisations of Written and
	// Buffered, 100 ms if it is 0. With Synced, 0 synchronises at once.
	Interval time.Duration

	// NoSync leaves it to the operating system when records reach the disk:
	// Written and Buffered never synchronise the write-ahead log. Segments are
	// synchronised all the same before the log that they replace is removed.
	NoSync bool

	// WALSize is the size in bytes at which a write-ahead log becomes a
	// segment, 64 KiB to 1 GiB; 0 means 16 MiB. The memory that sealing takes
	// is about ten times as much, for a second or two.
	WALSize int

	// Pending bounds the bytes of records that wait in memory for a disk that
	// is slow or full; what comes beyond is refused with logging.ErrFull. 64
	// KiB to 1 GiB; 0 means 4 MiB.
	Pending int

	// Backlog bounds the write-ahead logs that wait to become segments, 2 to
	// 1024; beyond that Append refuses with logging.ErrFull. 0 means 16.
	Backlog int

	// SegmentSpan bounds the time that the records of one merged segment cover,
	// and with it how exactly MaxAge can delete. 0 means 7 days; at least one
	// minute.
	SegmentSpan time.Duration

	// MaxAge deletes segments whose records, and ends of intervals, are all
	// older than that. 0 keeps them for ever. Open intervals are always kept, and
	// so are damaged segments, of which nobody knows how old their records are.
	MaxAge time.Duration

	// MaxBytes deletes the oldest segments while all files together take more.
	// 0 means no limit. The write-ahead logs and the open intervals are never
	// deleted, so they count but may exceed it.
	MaxBytes int64

	// Now is the clock of MaxAge; nil means time.Now. Records bring their own
	// times.
	Now func() time.Time

	// OnError, if not nil, is told errors of the work in the background:
	// synchronising, making segments, merging, deleting. That work is tried
	// again. It is called from the journal's goroutine and must not call the
	// journal.
	OnError func(error)

	manual bool // no goroutine: tests do the work of the background themselves
	fanout int  // of merges; 0 means 8
}

// A ConfigError says what is wrong with a Config and what is right.
type ConfigError struct{ Field, Rule string }

func (e *ConfigError) Error() string { return "journal: Config." + e.Field + " " + e.Rule }

// complete fills in defaults and reports all faults together.
func (c Config) complete() (Config, error) {
	var errs []error
	between := func(field string, v *int, least, most, standard int) {
		if *v == 0 {
			*v = standard
		}
		if *v < least || *v > most {
			errs = append(errs, &ConfigError{field, fmt.Sprintf("is %d and must be between %d and %d, or 0 for %d", *v, least, most, standard)})
		}
	}
	between("WALSize", &c.WALSize, 1<<16, 1<<30, 16<<20)
	between("Pending", &c.Pending, 1<<16, 1<<30, 4<<20)
	between("Backlog", &c.Backlog, 2, 1024, 16)
	if c.Commit > Buffered {
		errs = append(errs, &ConfigError{"Commit", "must be Written, Synced or Buffered"})
	}
	if c.NoSync && c.Commit == Synced {
		errs = append(errs, &ConfigError{"NoSync", "contradicts Commit Synced; choose Written or Buffered, or leave NoSync out"})
	}
	if c.Interval < 0 || c.Interval > time.Hour {
		errs = append(errs, &ConfigError{"Interval", "must be between 0 and one hour"})
	}
	if c.Interval == 0 && c.Commit != Synced {
		c.Interval = 100 * time.Millisecond
	}
	if c.SegmentSpan == 0 {
		c.SegmentSpan = 7 * 24 * time.Hour
	}
	if c.SegmentSpan < time.Minute {
		errs = append(errs, &ConfigError{"SegmentSpan", "must be a minute or more, or 0 for 7 days"})
	}
	if c.MaxAge < 0 {
		errs = append(errs, &ConfigError{"MaxAge", "must not be negative"})
	}
	if c.MaxBytes < 0 {
		errs = append(errs, &ConfigError{"MaxBytes", "must not be negative"})
	}
	if c.fanout == 0 {
		c.fanout = fanout
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, errors.Join(errs...)
}
