package alloc_test

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/blocknat/blocknat/alloc"
)

// One subscriber for each address, from a mix of prefixes, ranges and single
// addresses.
func Example() {
	pool, err := alloc.New(alloc.Config{
		Name:    "exclusive",
		Ranges:  alloc.MustParseRanges("192.0.2.0/28, 198.51.100.7, 203.0.113.9-203.0.113.20"),
		Exclude: alloc.MustParseRanges("192.0.2.0, 192.0.2.15"),
		Shares:  1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	lease, err := pool.Take(alloc.Lowest)
	fmt.Println(pool.Len(), pool.Address(lease.Position()), err)
	fmt.Println(pool.Return(lease))
	fmt.Println(pool.Return(lease))
	// Output:
	// 27 192.0.2.1 <nil>
	// <nil>
	// alloc: lease returned already: pool "exclusive", position 1
}

// Many subscribers share an address; the owner of its ports says when it has no
// room for one more.
func ExamplePool_SetRoom() {
	pool, err := alloc.New(alloc.Config{Name: "shared", Ranges: alloc.MustParseRanges("192.0.2.1-192.0.2.2")})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 4 {
		if _, err := pool.Take(alloc.LeastLoaded); err != nil {
			fmt.Println(err)
		}
	}
	pool.SetRoom(0, false) // All blocks of the first address are held or cooling.
	lease, err := pool.Take(alloc.LeastLoaded)
	fmt.Println(pool.Address(lease.Position()), err)
	pool.SetRoom(1, false)
	_, err = pool.Take(alloc.LeastLoaded)
	var refused *alloc.ExhaustedError
	if errors.As(err, &refused) {
		fmt.Println(refused.Resource, refused.Counts.NoRoom, refused.Counts.Leases)
	}
	// Output:
	// 192.0.2.2 <nil>
	// room 2 5
}

// A key, such as a hash of the subscriber, leads to the same address again.
func ExamplePool_TakeKey() {
	pool, err := alloc.New(alloc.Config{Ranges: alloc.MustParseRanges("2001:db8::/64")})
	if err != nil {
		fmt.Println(err)
		return
	}
	first, _ := pool.TakeKey(0xfeedface)
	_ = pool.Return(first)
	again, _ := pool.TakeKey(0xfeedface)
	fmt.Println(first.Position() == again.Position(), first == again)
	// Output: true false
}

// An address asked for by name says why it cannot be had.
func ExamplePool_TakeAddress() {
	pool, err := alloc.New(alloc.Config{Name: "named", Ranges: alloc.MustParseRanges("192.0.2.0/30"), Shares: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	a := netip.MustParseAddr("192.0.2.2")
	_, err = pool.TakeAddress(a)
	fmt.Println(err)
	_, err = pool.TakeAddress(a)
	fmt.Println(err, errors.Is(err, alloc.ErrInUse))
	fmt.Println(pool.Reserve(netip.MustParseAddr("192.0.2.3")))
	_, err = pool.TakeAddress(netip.MustParseAddr("192.0.2.3"))
	fmt.Println(errors.Is(err, alloc.ErrReserved))
	// Output:
	// <nil>
	// alloc: address in use: pool "named", address 192.0.2.2, 1 leases true
	// <nil>
	// true
}

// A subscriber stays on its address. When that is full the pool refuses, or
// spills if it is configured to.
func ExamplePool_Spill() {
	for _, spill := range []bool{false, true} {
		pool, err := alloc.New(alloc.Config{Name: "paired", Ranges: alloc.MustParseRanges("192.0.2.0/31"), Spill: spill})
		if err != nil {
			fmt.Println(err)
			return
		}
		home, _ := pool.Take(alloc.Lowest)
		pool.SetRoom(home.Position(), false)
		further, err := pool.Spill(alloc.Lowest, home.Position())
		fmt.Println(further.IsValid(), errors.Is(err, alloc.ErrPaired))
	}
	// Output:
	// false true
	// true false
}

// Addresses come and go while the pool serves.
func ExamplePool_Drain() {
	pool, err := alloc.New(alloc.Config{Name: "live", Ranges: alloc.MustParseRanges("192.0.2.1"), Shares: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	lease, _ := pool.Take(alloc.Any)
	old := pool.Address(lease.Position())
	fmt.Println(pool.Drain(old), pool.Add(alloc.MustParseRanges("198.51.100.0/31")...))
	fmt.Println(pool.Remove(old))
	fmt.Println(pool.Return(lease), pool.Remove(old))
	next, err := pool.Take(alloc.Any)
	fmt.Println(pool.Address(next.Position()), err, pool.Len())
	// Output:
	// <nil> <nil>
	// alloc: address in use: pool "live", address 192.0.2.1, 1 leases
	// <nil> <nil>
	// 198.51.100.0 <nil> 2
}

// A dump of merged runs, and a page of single addresses.
func ExamplePool_Spans() {
	pool, err := alloc.New(alloc.Config{Ranges: alloc.MustParseRanges("10.0.0.0/8"), Exclude: alloc.MustParseRanges("10.0.0.0"), Shares: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 300 {
		_, _ = pool.Take(alloc.Lowest)
	}
	for span := range pool.Spans(0) {
		fmt.Println(span.Range, span.Status)
	}
	page, next, more := pool.AppendPage(nil, 299, 3)
	for _, info := range page {
		fmt.Println(info.Addr, info.Shares, info.Status)
	}
	fmt.Println(next, more)
	// Output:
	// 10.0.0.0 excluded
	// 10.0.0.1-10.0.1.44 member,used,full
	// 10.0.1.45-10.255.255.255 member
	// 10.0.1.43 1 member,used,full
	// 10.0.1.44 1 member,used,full
	// 10.0.1.45 0 member
	// 302 true
}

// A pool survives a restart; so do its leases.
func ExampleRestore() {
	pool, err := alloc.New(alloc.Config{Name: "durable", Ranges: alloc.MustParseRanges("192.0.2.0/24"), Shares: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	lease, _ := pool.Take(alloc.Random)
	snapshot := pool.AppendSnapshot(nil)

	restored, used, err := alloc.Restore(snapshot, [32]byte{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(used == len(snapshot), restored.Holds(lease), restored.Return(lease))
	_, _, err = alloc.Restore(snapshot[1:], [32]byte{})
	fmt.Println(err)
	// Output:
	// true true <nil>
	// alloc: bad snapshot at byte 0: not a snapshot of a pool
}

// Goroutines share a pool through Locked.
func ExampleLocked() {
	pool, err := alloc.New(alloc.Config{Ranges: alloc.MustParseRanges("192.0.2.0/24"), Shares: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	shared := alloc.NewLocked(pool)
	done := make(chan error)
	for range 4 {
		go func() {
			lease, err := shared.Take(alloc.Random)
			if err == nil {
				err = shared.Return(lease)
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			fmt.Println(err)
		}
	}
	shared.Do(func(p *alloc.Pool) { fmt.Println(p.Counts().Leases) })
	// Output: 0
}
