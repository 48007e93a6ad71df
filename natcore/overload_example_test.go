package natcore_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
)

// A subscriber has one block of 16 ports, and each port serves one mapping towards each remote endpoint.
func ExamplePoolConfig_overload() {
	log := logging.NewMemory(0)
	now := time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)
	nat, err := natcore.New(natcore.Config{
		Seed: [32]byte{1, 2, 3}, Log: log, Events: natcore.Events{Off: true},
		Pools: []natcore.PoolConfig{{
			Name: "few", Addresses: alloc.MustParseRanges("203.0.113.5"),
			Blocks:  portblock.Config{BlockSize: 16, MaxBlocks: 1},
			Mapping: natcore.AddressAndPortDependent, Overload: true,
		}},
	}, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	udp, _ := hex.DecodeString("450000261c4640004011ea410a000002c633640a" + "9c400035001200006e415420766563746f72")
	send := func(from, to uint16) natcore.Reason {
		packet := append([]byte(nil), udp...)
		binary.BigEndian.PutUint16(packet[20:], from)
		binary.BigEndian.PutUint16(packet[22:], to)
		_, reason := nat.Outbound(packet, now)
		return reason
	}
	for to := range uint16(100) {
		for i := range uint16(16) {
			if why := send(40000+i, 1000+to); why != natcore.ReasonNone {
				fmt.Println(why)
			}
		}
	}
	st := nat.Stats()
	fmt.Println(st.Sessions, "sessions,", st.MappingsShared, "of", st.Mappings, "mappings share a port")
	fmt.Println(len(log.Records()), "record")
	fmt.Println("a 17th towards one of them:", send(50000, 1000))
	// Output:
	// 1600 sessions, 1584 of 1600 mappings share a port
	// 1 record
	// a 17th towards one of them: block limit
}
