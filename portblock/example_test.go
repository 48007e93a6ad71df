package portblock_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/blocknat/blocknat/portblock"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A subscriber gets a port: from a block that it holds, else from another
// block of its address.
func Example() {
	layout, err := portblock.NewLayout(portblock.Config{
		OrderKey: [16]byte{'k', 'e', 'y'}, // from crypto/rand in a program
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	address := layout.NewAddress(0)
	holding := layout.NewHolding()
	source := rand.NewChaCha8([32]byte{1}) // from crypto/rand in a program
	const subscriber = 42
	now := start

	take := func(s portblock.Space, internal uint16) (portblock.Port, error) {
		port, err := holding.TakePort(s, internal, source, now)
		if !errors.Is(err, portblock.ErrNeedBlock) {
			return port, err
		}
		block, err := address.TakeBlockOf(subscriber, holding.Want(s), now)
		if err != nil {
			return holding.TakeHeldPort(s, internal, source, now)
		}
		fmt.Println("record: subscriber", subscriber, "holds", layout.SetOf(block))
		if err := holding.AddBlock(block, now); err != nil {
			return portblock.Port{}, err
		}
		return holding.TakePort(s, internal, source, now)
	}

	a, _ := take(portblock.UDP, 5353)
	b, _ := take(portblock.TCP, 40000)
	owner := address.Owner(a.Number, now)
	fmt.Println("owner:", owner.Owner, owner.State)

	// The ports are returned; after the idle timeout the block goes, and after
	// its guard time it is free.
	_ = holding.ReturnPort(portblock.UDP, a.Address, a.Number, now)
	_ = holding.ReturnPort(portblock.TCP, b.Address, b.Number, now)
	now = now.Add(portblock.DefaultIdleTimeout)
	for _, block := range holding.AppendIdle(nil, now) {
		if err := holding.RemoveBlock(block, now); err != nil {
			fmt.Println(err)
		}
		if err := address.CoolBlock(block, now); err != nil {
			fmt.Println(err)
		}
		fmt.Println("record: released", layout.SetOf(block))
	}
	free, _ := address.NextFree()
	fmt.Println("free again after", free.Sub(now))
	// Output:
	// record: subscriber 42 holds 15616-15871
	// owner: 42 heating
	// record: released 15616-15871
	// free again after 2m0s
}

// All faults of a configuration come together.
func ExampleNewLayout_faults() {
	_, err := portblock.NewLayout(portblock.Config{BlockSize: 300, HoldDown: time.Hour, GuardTime: time.Minute})
	fmt.Println(err)
	// Output:
	// portblock: Config.BlockSize = 300: want a power of two from 16 to 4096, or zero for 256
	// portblock: Config.GuardTime = 1m0s: must not be shorter than HoldDown
}

// The port set of RFC 7597 appendix A, example 1.
func ExamplePSIDSet() {
	set, err := portblock.PSIDSet(6, 8, 0x34)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(set, set.Len(), set.First(), set.Last(), set.Run(), set.Step(), set.Contains(1233))
	// Output: psid=52/6/8 252 1232 64723 4 1024 true
}

// The port set of RFC 6431 figure 4.
func ExampleMaskSet() {
	set, err := portblock.MaskSet(80, 496)
	if err != nil {
		fmt.Println(err)
		return
	}
	n := 0
	for r := range set.Ranges() {
		if n++; n <= 3 {
			fmt.Println(r)
		}
	}
	fmt.Println(n, "ranges")
	// Output:
	// 80-95
	// 592-607
	// 1104-1119
	// 128 ranges
}

// An address whose blocks are scattered by a key (RFC 6431 section 2.2).
func ExampleCryptoSet() {
	cipher := portblock.NewCipher([16]byte{}) // a secret key in a program
	set, err := portblock.CryptoSet(cipher, 1024, 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range set.Len() {
		p, _ := set.At(i)
		fmt.Println(p)
	}
	// Output:
	// 25297
	// 63061
	// 36280
	// 36928
}

// A scattered layout is used as a contiguous one is.
func ExampleConfig_psid() {
	layout, err := portblock.NewLayout(portblock.Config{
		Scheme: portblock.PSID, PSIDOffset: 6, PSIDLength: 8, Order: portblock.OrderSequential, Choice: portblock.ChooseLinear,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	address, holding := layout.NewAddress(0), layout.NewHolding()
	block, _ := address.TakeBlock(1, start)
	_ = holding.AddBlock(block, start)
	for range 5 {
		p, _ := holding.TakePort(portblock.TCP, 0, nil, start)
		fmt.Println(p.Number)
	}
	// Output:
	// 1024
	// 1025
	// 1026
	// 1027
	// 2048
}

// A port by name, for a subscriber that asked for it.
func ExampleAddress_TakeBlockAt() {
	layout, _ := portblock.NewLayout(portblock.Config{Reserved: []portblock.Reservation{{Ports: portblock.MustParseRange("8080")}}})
	address, holding := layout.NewAddress(0), layout.NewHolding()
	_, err := address.TakeBlockAt(8080, 7, holding.Want(portblock.TCP), start)
	fmt.Println(err)
	block, err := address.TakeBlockAt(8443, 7, holding.Want(portblock.TCP), start)
	fmt.Println(layout.SetOf(block), err)
	_ = holding.AddBlock(block, start)
	fmt.Println(holding.TakePortAt(portblock.TCP, 0, 8443, start))
	_, err = address.TakeBlockAt(8444, 8, portblock.Want{}, start)
	fmt.Println(address.Explain(err, start))
	// Output:
	// portblock: port is reserved
	// 8192-8447 <nil>
	// <nil>
	// portblock: in use (pool 0, address 0: 251 free, 1 heating, 0 cooling, 4 unusable)
}

// Ports are reserved at run time; live ones are reported and live on.
func ExampleAddress_SetReserved() {
	layout, _ := portblock.NewLayout(portblock.Config{Order: portblock.OrderSequential, Choice: portblock.ChooseLinear})
	address, holding := layout.NewAddress(0), layout.NewHolding()
	block, _ := address.TakeBlock(7, start)
	_ = holding.AddBlock(block, start)
	_, _ = holding.TakePort(portblock.TCP, 0, nil, start)

	reserved, err := layout.NewReserved([]portblock.Reservation{{Ports: portblock.MustParseRange("1024-1030"), Spaces: portblock.TCP.Set()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	blocks, _ := address.SetReserved(reserved, nil, start)
	for _, c := range blocks {
		fmt.Println("block of", c.Owner)
	}
	ports, _ := holding.SetReserved(0, reserved, nil, start)
	for _, c := range ports {
		fmt.Println("live:", c.Space, c.Port.Number)
	}
	p, _ := holding.TakePort(portblock.TCP, 0, nil, start)
	fmt.Println("next:", p.Number)
	// Output:
	// block of 7
	// live: tcp 1024
	// next: 1031
}

// State survives a restart, with what rests and until when.
func ExampleLayout_RestoreAddress() {
	layout, _ := portblock.NewLayout(portblock.Config{Ports: portblock.MustParseRange("1024-1279")})
	address := layout.NewAddress(0)
	block, _ := address.TakeBlock(7, start)
	_ = address.CoolBlock(block, start)
	snapshot := address.AppendSnapshot(nil)

	restored, used, err := layout.RestoreAddress(snapshot)
	fmt.Println(used == len(snapshot), err)
	_, err = restored.TakeBlock(8, start.Add(2*time.Minute-time.Millisecond))
	fmt.Println(err)
	_, err = restored.TakeBlock(8, start.Add(2*time.Minute))
	fmt.Println(err)
	// Output:
	// true <nil>
	// portblock: no free block on the address
	// <nil>
}

// A dump by pages, for which no lock is held while a page is formatted.
func ExampleAddress_AppendBlocks() {
	layout, _ := portblock.NewLayout(portblock.Config{BlockSize: 4096, Order: portblock.OrderSequential})
	address := layout.NewAddress(0)
	_, _ = address.TakeBlock(7, start)
	b, _ := address.TakeBlock(8, start)
	_ = address.CoolBlock(b, start.Add(time.Minute))
	now := start.Add(90 * time.Second)
	page, next := address.AppendBlocks(nil, 0, 4, now)
	for _, b := range page {
		fmt.Println(b.Number, b.Set, b.State, b.Owner, b.Age(now))
	}
	fmt.Println("next:", next)
	for r := range address.Ranges(portblock.Free, now) {
		fmt.Println("free:", r)
	}
	// Output:
	// 0 1024-4095 heating 7 1m30s
	// 1 4096-8191 cooling 8 30s
	// 2 8192-12287 free 0 0s
	// 3 12288-16383 free 0 0s
	// next: 4
	// free: 8192-65535
}
