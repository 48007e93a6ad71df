package natcore_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
)

// A NAT in a few lines: one pool, all defaults. A real program fills Seed from
// crypto/rand and logs to a file or a collector; this one keeps its records in memory.
func Example() {
	log := logging.NewMemory(0)
	nat, err := natcore.New(natcore.Config{
		Seed:  [32]byte{1}, // crypto/rand.Read(cfg.Seed[:])
		Log:   log,
		Pools: []natcore.PoolConfig{{Name: "cgn", Addresses: alloc.MustParseRanges("203.0.113.0/29")}},
	}, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}

	// A UDP packet from 10.0.0.2:40000 to 198.51.100.10:53, as a TUN device delivers it.
	packet, _ := hex.DecodeString("450000261c4640004011ea410a000002c633640a9c400035001243674e415420766563746f72")
	verdict, _ := nat.Outbound(packet, time.Now())
	source, _ := netip.AddrFromSlice(packet[12:16])

	fmt.Println(verdict, nat.External(source))
	for _, r := range log.Records() {
		fmt.Println(r.Kind, r.Subscriber, "holds", int(r.Last)-int(r.First)+1, "ports of", r.External == source)
	}
	// Output:
	// forward true
	// block-allocated 10.0.0.2 holds 256 ports of true
}
