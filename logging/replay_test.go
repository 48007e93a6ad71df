package logging_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blocknat/blocknat/logging"
)

// TestReplayRebuildsEveryInstant plays an engine that keeps to the rule "record,
// then use" on a file that fails now and then, midway too. Replaying the file
// alone then tells for every block and every millisecond who held it, as an
// array that was filled during the run does, and no two holders come closer
// than the guard time.
func TestReplayRebuildsEveryInstant(t *testing.T) {
	const (
		blocks = 6
		end    = 400
		guard  = 7
		epoch  = logging.Millis(1700000000000)
	)
	rapid.Check(t, func(t *rapid.T) {
		var owner [blocks][end]int // subscriber, or 0
		var held [blocks]struct {
			subscriber int
			since      logging.Millis
			freed      int // when it was released; -guard: never held
		}
		for b := range held {
			held[b].freed = -guard
		}
		g := newGate()
		w := logging.NewWriter(errWrite{g}, logging.JSON{})
		spare := logging.NewMemory(0)
		log := logging.Multi(w, spare) // the second one refuses at times, so that allocations are taken back
		record := func(k logging.Kind, b, subscriber int, now logging.Millis) bool {
			r := logging.Record{
				Kind: k, Time: now, Spaces: logging.AllSpaces, Subscriber: netip.AddrFrom4([4]byte{100, 64, 0, byte(subscriber)}),
				External: netip.AddrFrom4([4]byte{198, 51, 100, byte(b / 3)}), First: uint16(1024 + b%3*256), Last: uint16(1024 + b%3*256 + 255),
			}
			if k != logging.BlockAllocated {
				r.Allocated = held[b].since
			}
			g.fail, g.accept = rapid.IntRange(0, 4).Draw(t, "fails") == 0, rapid.IntRange(0, 400).Draw(t, "written")
			spare.Refuse(nil)
			// A cancellation that fails would leave a block too many in the file,
			// so only one of the two logs fails at a time here.
			if !g.fail && k == logging.BlockAllocated && rapid.IntRange(0, 4).Draw(t, "refuses") == 0 {
				spare.Refuse(errGate)
			}
			return log.Append(&r) == nil
		}
		now := 0
		mark := func(to int) { // the blocks stay with their owners until to
			for ; now < to; now++ {
				for b := range held {
					if held[b].subscriber != 0 {
						owner[b][now] = held[b].subscriber
					}
				}
			}
		}
		for now < end-20 {
			b := rapid.IntRange(0, blocks-1).Draw(t, "block")
			h := &held[b]
			at := epoch + logging.Millis(now)
			switch what := rapid.IntRange(0, 2).Draw(t, "what"); {
			case h.subscriber == 0 && now-h.freed >= guard:
				if s := rapid.IntRange(1, 9).Draw(t, "subscriber"); record(logging.BlockAllocated, b, s, at) {
					h.subscriber, h.since = s, at
				}
			case h.subscriber != 0 && what == 0:
				record(logging.BlockInterim, b, h.subscriber, at)
			case h.subscriber != 0:
				if record(logging.BlockReleased, b, h.subscriber, at) {
					owner[b][now] = h.subscriber // the last millisecond is its own
					h.subscriber, h.freed = 0, now
				}
			}
			mark(now + rapid.IntRange(0, 12).Draw(t, "pause"))
		}
		mark(end)

		x := logging.NewIndex()
		_, _ = x.Replay(bytes.NewReader(g.b.Bytes())) // torn lines are reported; nothing accepted is in them
		for b := range owner {
			for ms := range end {
				got := x.Who(logging.Query{
					External: netip.AddrFrom4([4]byte{198, 51, 100, byte(b / 3)}), Port: uint16(1024 + b%3*256 + ms%256),
					At: (epoch + logging.Millis(ms)).Time(),
				})
				want := owner[b][ms]
				if len(got) > 1 || (len(got) == 1) != (want != 0) || want != 0 && got[0].Subscriber.As4()[3] != byte(want) {
					t.Fatalf("block %d at %d: got %v, want %d\n%s", b, ms, got, want, g.b.String())
				}
			}
		}
		if c := x.Verify(guard * time.Millisecond); len(c) > 0 {
			t.Fatal(c)
		}
	})
}
