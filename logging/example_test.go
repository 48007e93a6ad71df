package logging_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/blocknat/blocknat/logging"
)

func exampleRecord() logging.Record {
	return logging.Record{
		Kind: logging.BlockAllocated, Reason: logging.ReasonOutbound, Time: logging.MillisOf(time.Date(2026, 11, 21, 2, 30, 10, 123e6, time.UTC)),
		Pool: "cgn", Subscriber: netip.MustParseAddr("100.64.1.10"), External: netip.MustParseAddr("198.51.100.7"),
		First: 20480, Last: 20735, Spaces: logging.AllSpaces, Used: 1, Max: 4,
	}
}

// A log of JSON lines in a file or, here, on the terminal.
func ExampleWriter() {
	log := logging.NewWriter(os.Stdout, logging.JSON{})
	r := exampleRecord()
	if err := log.Append(&r); err != nil {
		fmt.Println("no block may be used:", err)
	}
	// Output:
	// {"kind":"block-allocated","time":"2026-11-21T02:30:10.123Z","pool":"cgn","subscriber":"100.64.1.10","external":"198.51.100.7","first":20480,"last":20735,"spaces":["tcp","udp","icmp"],"reason":"outbound","used":1,"max":4}
}

// Who used an external address and port at an instant, from a stream of JSON
// lines.
func ExampleIndex_Who() {
	lines := `{"kind":"block-allocated","time":"2026-05-01T08:00:00.000Z","subscriber":"100.64.1.10","external":"198.51.100.7","first":20480,"last":20735,"spaces":["tcp","udp","icmp"]}
{"kind":"block-released","time":"2026-05-03T17:00:00.000Z","allocated":"2026-05-01T08:00:00.000Z","subscriber":"100.64.1.10","external":"198.51.100.7","first":20480,"last":20735,"spaces":["tcp","udp","icmp"]}
`
	x := logging.NewIndex()
	if _, err := x.Replay(strings.NewReader(lines)); err != nil {
		fmt.Println(err)
	}
	for _, c := range x.Who(logging.Query{
		External:  netip.MustParseAddr("198.51.100.7"),
		Port:      20481,
		At:        time.Date(2026, 5, 2, 2, 30, 10, 0, time.UTC),
		Tolerance: time.Second,
	}) {
		fmt.Println(c.Subscriber, "from", c.From, "to", c.To, c.Certainty)
	}
	// Output: 100.64.1.10 from 2026-05-01T08:00:00.000Z to 2026-05-03T17:00:00.000Z inside
}

// What one subscriber held, and whether any two blocks came too close.
func ExampleIndex_Verify() {
	x := logging.NewIndex()
	r := exampleRecord()
	begin := r.Time
	_ = x.Append(&r)
	r.Kind, r.Allocated, r.Time = logging.BlockReleased, begin, begin+60000
	_ = x.Append(&r)
	r.Kind, r.Allocated, r.Time = logging.BlockAllocated, 0, begin+90000
	r.Subscriber = netip.MustParseAddr("100.64.1.11")
	_ = x.Append(&r)
	for _, v := range x.Subscriber(netip.MustParseAddr("100.64.1.10"), time.Time{}, time.Time{}) {
		fmt.Println(v.External, v.First, v.Last, v.From, v.To)
	}
	for _, c := range x.Verify(2 * time.Minute) {
		fmt.Println(c)
	}
	// Output:
	// 198.51.100.7 20480 20735 2026-11-21T02:30:10.123Z 2026-11-21T02:31:10.123Z
	// 198.51.100.7 ports 20480-20735: 100.64.1.11 from 2026-11-21T02:31:40.123Z follows after 30s 100.64.1.10 from 2026-11-21T02:30:10.123Z
}

// A file that must have every record and a collector that may miss some: the
// queue goes on when the collector does not answer and counts what it drops.
func ExampleFanout() {
	file := logging.NewWriter(os.Stdout, logging.CSV{})
	collector := logging.NewQueue(logging.Discard, logging.QueueConfig{Policy: logging.DropNew})
	log := logging.NewLimiter(logging.NewFanout(
		logging.Member{Log: file},
		logging.Member{Log: collector, Optional: true},
	), logging.LimiterConfig{})
	r := exampleRecord()
	fmt.Println(log.Append(&r))
	// Output:
	// kind,time,allocated,instance,host,epoch,pool_id,pool,realm,subscriber,subscriber_id,internal,external_realm,external,first,last,step,class,spaces,protocol,remote,reason,resource,used,max,suppressed,detail
	// block-allocated,2026-11-21T02:30:10.123Z,,,,,,cgn,,100.64.1.10,,,,198.51.100.7,20480,20735,,,tcp+udp+icmp,,,outbound,,1,4,,
	// <nil>
}

func ExampleParseJSON() {
	r, n, err := logging.ParseJSON([]byte(`{"kind":"block-allocated","time":"2026-05-01T08:00:00Z","first":70000}` + "\n"))
	fmt.Println(r.Kind, n, err)
	// Output: kind(0) 71 logging: byte 64: expected an integer from 0 to 65535
}
