package natcore_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/natcore"
)

func Example() {
	log := logging.NewMemory(0)
	cfg := natcore.Config{
		Log: log,
		Pools: []natcore.PoolConfig{{
			Name: "cgn", Addresses: alloc.MustParseRanges("203.0.113.0/29"),
		}},
	}
	rand.Read(cfg.Seed[:])
	nat, err := natcore.New(cfg, time.Now())
	if err != nil {
		fmt.Println(err) // every fault of the configuration at once
		return
	}

	// A UDP packet from 10.0.0.2:40000 to 198.51.100.10:53, as a TUN device delivers it.
	packet, _ := hex.DecodeString("450000261c4640004011ea410a000002c633640a" +
		"9c400035001243674e415420766563746f72")
	verdict, reason := nat.Outbound(packet, time.Now()) // rewritten in place
	source, _ := netip.AddrFromSlice(packet[12:16])
	fmt.Println(verdict, reason, nat.External(source))

	r := log.Records()[0] // one record for 256 ports of each protocol
	fmt.Println(r.Kind, r.Subscriber, r.External == source, r.Last-r.First)
	// Output:
	// forward none true
	// block-allocated 10.0.0.2 true 255
}

// A forwarder behind the engine: it counts hops and knows the MTU of its links, and tells senders what it
// cannot forward. The error about a packet that was translated goes back through the translation.
func ExampleEngine_Reject() {
	cfg := natcore.Config{
		Seed: [32]byte{1, 2, 3}, Log: logging.Discard,
		Pools: []natcore.PoolConfig{{Name: "cgn", Addresses: alloc.MustParseRanges("203.0.113.5")}},
		ICMP:  natcore.ICMPConfig{Internal: netip.MustParseAddr("10.0.0.1")},
	}
	now := time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)
	nat, err := natcore.New(cfg, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	packet, _ := hex.DecodeString("450000261c464000011129420a000002c633640a" +
		"9c400035001243674e415420766563746f72") // with a time to live of 1
	batch := []natcore.Packet{{Bytes: packet}}
	nat.Process(batch, now)

	const mtu = 1500
	for i := range batch {
		p := &batch[i]
		var h rewrite.Packet4
		switch rewrite.Parse4(p.Bytes, &h); {
		case p.Verdict == natcore.Drop || p.Verdict == natcore.Held:
		case !h.DecrementTTL(p.Bytes):
			nat.Reject(p, rewrite.TimeExceeded(), now)
		case len(p.Bytes) > mtu && h.Flags&rewrite.DontFragment != 0:
			nat.Reject(p, rewrite.FragmentationNeeded(mtu), now)
		default:
			// send it
		}
	}
	for _, p := range nat.Drain(nil) { // errors, and fragments that waited
		h := rewrite.IPv4Header(p.Bytes)
		m, quote := rewrite.ICMPHeader(p.Bytes[20:]), rewrite.IPv4Header(p.Bytes[28:])
		fmt.Println(p.Direction, h.Source(), ">", h.Destination(), "icmp", m.Type(), m.Code(), "about", quote.Source(), ">", quote.Destination())
	}
	// Output:
	// inbound 10.0.0.1 > 10.0.0.2 icmp 11 0 about 10.0.0.2 > 198.51.100.10
}

// A restart that loses nothing: the engine stops, writes down all that it has, and another one goes on from there.
func ExampleRestore() {
	cfg := natcore.Config{
		Seed: [32]byte{1, 2, 3}, // a secret that is kept: a snapshot fits engines with its seed
		Log:  logging.Discard,
		Pools: []natcore.PoolConfig{{
			Name: "cgn", Addresses: alloc.MustParseRanges("203.0.113.0/29"),
		}},
	}
	began := time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)
	before, err := natcore.New(cfg, began)
	if err != nil {
		fmt.Println(err)
		return
	}
	packet, _ := hex.DecodeString("450000261c4640004011ea410a000002c633640a" +
		"9c400035001243674e415420766563746f72")
	first := append([]byte(nil), packet...)
	before.Outbound(first, began)

	before.Stop()                          // packets are dropped from here on
	snapshot := before.AppendSnapshot(nil) // to a file
	later := began.Add(20 * time.Second)   // the time counts that it took
	after, err := natcore.Restore(cfg, snapshot, later)
	if err != nil {
		fmt.Println(err)
		return
	}
	second := append([]byte(nil), packet...)
	after.Outbound(second, later)
	fmt.Println("the same translation:", string(first) == string(second))
	fmt.Println("sessions:", after.Stats().Sessions)

	// Who does not come back closes: every block is released, with its record.
	if err := after.Close(later); err != nil {
		fmt.Println(err)
	}
	verdict, reason := after.Outbound(packet, later)
	fmt.Println(verdict, reason)
	// Output:
	// the same translation: true
	// sessions: 1
	// drop stopped
}

// Addresses are added and withdrawn under live sessions.
func ExampleEngine_Reconfigure() {
	began := time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)
	nat, err := natcore.New(natcore.Config{
		Seed: [32]byte{1, 2, 3}, Log: logging.Discard,
		Pools: []natcore.PoolConfig{{Name: "cgn", Addresses: alloc.MustParseRanges("203.0.113.0/30")}},
	}, began)
	if err != nil {
		fmt.Println(err)
		return
	}
	packet, _ := hex.DecodeString("450000261c4640004011ea410a000002c633640a" +
		"9c400035001243674e415420766563746f72")
	before := append([]byte(nil), packet...)
	nat.Outbound(before, began)

	cfg := nat.Config() // as it was given
	cfg.Pools[0].Addresses = alloc.MustParseRanges("198.18.0.0/24")
	cfg.Quotas.Subscriber.MappingRate = natcore.Rate{PerSecond: 50, Burst: 200}
	report, err := nat.Reconfigure(cfg, began)
	if err != nil {
		fmt.Println(err) // every fault at once, and nothing has changed
		return
	}
	fmt.Println("added", report.AddressesAdded, "withdrawn", report.AddressesWithdrawn, "still in use", report.Draining)

	after := append([]byte(nil), packet...)
	nat.Outbound(after, began)
	fmt.Println("the session goes on:", string(before) == string(after))
	fmt.Println("ended by hand:", nat.EndDisallowed(began))

	cfg.Shards = 64
	_, err = nat.Reconfigure(cfg, began)
	fmt.Println(err)
	// Output:
	// added 256 withdrawn 4 still in use 1
	// the session goes on: true
	// ended by hand: 1
	// natcore: Shards = 64: cannot change on a live engine: subscribers are spread over them
}
