package journal_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/journal"
	"github.com/blocknat/blocknat/logging/loggingtest"
)

// TestConformance runs the suite for logs, and reads back what a Reader finds.
func TestConformance(t *testing.T) {
	for name, c := range map[string]journal.Config{
		"written":         {},
		"synced":          {Commit: journal.Synced},
		"synced together": {Commit: journal.Synced, Interval: time.Millisecond},
		"buffered":        {Commit: journal.Buffered, Interval: time.Millisecond},
		"no sync":         {NoSync: true},
	} {
		t.Run(name, func(t *testing.T) {
			loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
				dir := t.TempDir()
				j, err := journal.Open(dir, c)
				require.NoError(t, err)
				t.Cleanup(func() { j.Close() })
				return loggingtest.Harness{Log: j, Accepted: func() []logging.Record {
					require.NoError(t, j.Sync())
					r, err := journal.OpenReader(dir)
					require.NoError(t, err)
					defer r.Close()
					var all []logging.Record
					for rec, err := range r.Records() {
						require.NoError(t, err)
						all = append(all, rec)
					}
					return all
				}}
			})
		})
	}
}

// BenchmarkAppend measures one caller. commit=written pays a system call a
// record, commit=buffered one for each 64 KiB.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []journal.Commit{journal.Written, journal.Buffered} {
		b.Run("commit="+c.String(), func(b *testing.B) {
			j, err := journal.Open(b.TempDir(), journal.Config{Commit: c, NoSync: true, Pending: 1 << 28, WALSize: 1 << 30})
			require.NoError(b, err)
			defer j.Close()
			r := loggingtest.Records()[0]
			b.ReportAllocs()
			for b.Loop() {
				r.Time++
				if err := j.Append(&r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func records() []logging.Record { return loggingtest.Records() }
