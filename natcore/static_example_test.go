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

// Port forwarding: who connects to port 80 of the external address reaches the internal server's port 8080, while all other ports of the
// address serve subscribers.
func ExampleStatic() {
	began := time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)
	nat, err := natcore.New(natcore.Config{
		Seed: [32]byte{1, 2, 3}, // a secret: fill it from crypto/rand
		Log:  logging.Discard,
		Pools: []natcore.PoolConfig{{
			Name: "cgn", Addresses: alloc.MustParseRanges("203.0.113.5"),
		}},
		Static: []natcore.Static{{
			Name: "web", Protocol: 6,
			External: netip.MustParseAddr("203.0.113.5"), ExternalPort: 80,
			Internal: netip.MustParseAddr("10.0.0.2"), InternalPort: 8080,
		}},
	}, began)
	if err != nil {
		fmt.Println(err) // every fault of the configuration at once
		return
	}
	// A SYN from 198.51.100.10:40000 to 203.0.113.5:80.
	packet, _ := hex.DecodeString("45000028000040004006b7b9c633640acb007105" +
		"9c400050000000010000000050020400000000000000")
	verdict, reason := nat.Inbound(packet, began)
	destination, _ := netip.AddrFromSlice(packet[16:20])
	fmt.Println(verdict, reason, destination, int(packet[22])<<8|int(packet[23]))
	for s := range nat.Sessions() {
		fmt.Println(s.Static, s.Remote, s.External, s.Internal)
	}
	// Output:
	// forward none 10.0.0.2 8080
	// web 198.51.100.10:40000 203.0.113.5:80 10.0.0.2:8080
}

// A 1:1 address: the host has an external address of its own, with all ports and all protocols, in both directions. It is added while packets flow.
func ExampleEngine_AddStatic() {
	now := time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)
	nat, err := natcore.New(natcore.Config{
		Seed: [32]byte{1, 2, 3}, Log: logging.Discard,
		Pools: []natcore.PoolConfig{{Name: "cgn", Addresses: alloc.MustParseRanges("203.0.113.5")}},
	}, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = nat.AddStatic([]natcore.Static{{
		Name: "mail", External: netip.MustParseAddr("192.0.2.9"), Internal: netip.MustParseAddr("10.0.0.2"),
	}}, natcore.RefuseConflicts, now)
	fmt.Println(err, nat.External(netip.MustParseAddr("192.0.2.9")))

	// A UDP packet from 10.0.0.2:40000 to 198.51.100.10:53 leaves with the address and keeps its port.
	packet, _ := hex.DecodeString("450000261c4640004011ea410a000002c633640a" +
		"9c400035001243674e415420766563746f72")
	nat.Outbound(packet, now)
	source, _ := netip.AddrFromSlice(packet[12:16])
	fmt.Println(source, int(packet[20])<<8|int(packet[21]))

	// A second mapping of the same address is refused, and the error says why.
	err = nat.AddStatic([]natcore.Static{{
		Name: "web", External: netip.MustParseAddr("192.0.2.9"), ExternalPort: 80, Internal: netip.MustParseAddr("10.0.0.3"),
	}}, natcore.RefuseConflicts, now)
	fmt.Println(err)
	// Output:
	// <nil> true
	// 192.0.2.9 40000
	// natcore: Static[0].External = 192.0.2.9 ports 80: overlaps "mail", which has 192.0.2.9: give each external endpoint once
}

// Two realms with the same internal addresses reach each other: hosts of realm 1 write to 172.20.2.0/24 for those of realm 2, and are seen there
// as 172.20.1.0/24.
func ExamplePeering() {
	now := time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)
	lan := netip.MustParsePrefix("10.0.0.0/24")
	nat, err := natcore.New(natcore.Config{
		Seed: [32]byte{1, 2, 3}, Log: logging.Discard,
		Pools: []natcore.PoolConfig{{Name: "cgn", Addresses: alloc.MustParseRanges("203.0.113.5")}},
		Peerings: []natcore.Peering{{
			Name: "one to two", From: 1, To: 2,
			Source: lan, SourceAs: netip.MustParsePrefix("172.20.1.0/24"),
			Destination: netip.MustParsePrefix("172.20.2.0/24"), Target: lan,
		}},
	}, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	// A UDP packet from 10.0.0.2:40000 to 172.20.2.9:53.
	packet, _ := hex.DecodeString("450000260000400040117a890a000002ac140209" +
		"9c400035001200004e415420766563746f72")
	batch := []natcore.Packet{{Bytes: packet, Realm: 1}}
	nat.Process(batch, now)
	source, _ := netip.AddrFromSlice(packet[12:16])
	destination, _ := netip.AddrFromSlice(packet[16:20])
	fmt.Println(batch[0].Verdict, batch[0].Realm, source, destination)
	// Output: hairpin 2 172.20.1.2 10.0.0.9
}
