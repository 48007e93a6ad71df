package journal_test

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/journal"
)

// A NAT records a block in its journal; later, anybody who may read the
// directory learns who used a port at a time.
func Example() {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	j, err := journal.Open(dir, journal.Config{}) // a natcore.Config takes it as Log
	if err != nil {
		fmt.Println(err)
		return
	}
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	block := logging.Record{
		Kind: logging.BlockAllocated, Time: logging.MillisOf(noon), Spaces: logging.AllSpaces, Host: "cgn1",
		Subscriber: netip.MustParseAddr("100.64.1.10"), External: netip.MustParseAddr("198.51.100.7"), First: 20480, Last: 20735,
	}
	if err := j.Append(&block); err != nil {
		fmt.Println(err) // the block must not be used
		return
	}
	block.Kind, block.Allocated, block.Time = logging.BlockReleased, block.Time, logging.MillisOf(noon.AddDate(0, 0, 3))
	if err := j.Append(&block); err != nil {
		fmt.Println(err)
	}
	j.Close()

	r, err := journal.OpenReader(dir) // several directories for several hosts
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	found, err := r.Who(logging.Query{
		External: netip.MustParseAddr("198.51.100.7"), Port: 20481, At: noon.AddDate(0, 0, 2), Tolerance: 2 * time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range found {
		fmt.Println(c.Subscriber, c.First, c.Last, "from", c.From, "to", c.To)
		fmt.Println(c.Certainty, c.Source, c.End, "by", c.Host)
	}
	// Output:
	// 100.64.1.10 20480 20735 from 2026-05-01T12:00:00.000Z to 2026-05-04T12:00:00.000Z
	// inside recorded released by cgn1
}

// Subscriber answers the other way round.
func ExampleReader_Subscriber() {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	j, err := journal.Open(dir, journal.Config{Commit: journal.Synced})
	if err != nil {
		fmt.Println(err)
		return
	}
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for i := range 3 {
		block := logging.Record{
			Kind: logging.BlockAllocated, Time: logging.MillisOf(noon.Add(time.Duration(i) * time.Hour)), Spaces: logging.AllSpaces,
			Subscriber: netip.MustParseAddr("100.64.1.10"), External: netip.MustParseAddr("198.51.100.7"),
			First: uint16(1024 + i*256), Last: uint16(1279 + i*256),
		}
		if err := j.Append(&block); err != nil {
			fmt.Println(err)
		}
	}
	j.Close()
	r, err := journal.OpenReader(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	blocks, err := r.Subscriber(netip.MustParseAddr("100.64.1.10"), noon, noon.Add(time.Hour))
	if err != nil {
		fmt.Println(err)
	}
	for _, b := range blocks {
		fmt.Println(b.External, b.First, b.Last, b.End)
	}
	// Output:
	// 198.51.100.7 1024 1279 held
	// 198.51.100.7 1280 1535 held
}
