package natcore_test

import (
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// TestRecordsCountBlocks: the records of a subscriber's blocks count up as they come and down as they go.
func TestRecordsCountBlocks(t *testing.T) {
	n := newNAT(t, small(1024, 2047, 16))
	for i := range 48 {
		n.out(t, udp, endpoint(hostA, 5000+i), endpoint(server1, 80))
	}
	n.out(t, udp, endpoint(hostB, 5000), endpoint(server1, 80))
	n.rest()
	n.empty(t)
	used := map[logging.Kind][]uint32{}
	for _, r := range n.log.Records() {
		if r.Subscriber == hostA {
			used[r.Kind] = append(used[r.Kind], r.Used)
		} else {
			require.Equal(t, hostB, r.Subscriber)
			require.EqualValues(t, map[logging.Kind]int{logging.BlockAllocated: 1, logging.BlockReleased: 0}[r.Kind], r.Used)
		}
	}
	require.Equal(t, map[logging.Kind][]uint32{
		logging.BlockAllocated: {1, 2, 3}, logging.BlockReleased: {2, 1, 0},
	}, used)
}

// TestCountLoss: with a log that refuses everything blocks come and go, and each missing record is counted.
func TestCountLoss(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.LogPolicy = natcore.CountLoss
		c.Log = logging.LogFunc(func(*logging.Record) error { return logging.ErrFull })
	})
	const hosts = 7
	for i := range hosts {
		n.out(t, udp, endpoint(host(i), 5000), endpoint(server1, 80))
	}
	st := n.Stats()
	require.EqualValues(t, [5]uint64{hosts, 0, hosts, hosts, 0},
		[5]uint64{st.BlocksAllocated, st.BlocksReleased, st.RecordsLost, st.RecordsRefused, st.ReleasesPending})
	n.rest()
	st = n.Stats()
	require.EqualValues(t, [5]uint64{hosts, hosts, 2 * hosts, 2 * hosts, 0},
		[5]uint64{st.BlocksAllocated, st.BlocksReleased, st.RecordsLost, st.RecordsRefused, st.ReleasesPending})
	n.empty(t)
}

// TestReleasesAreCounted: with a log that accepts everything nothing is lost, and what was allocated is released.
func TestReleasesAreCounted(t *testing.T) {
	n := newNAT(t)
	for i := range 7 {
		n.out(t, udp, endpoint(host(i), 5000), endpoint(server1, 80))
	}
	require.EqualValues(t, 2, n.Stats().Pools[0].AddressesInUse)
	require.EqualValues(t, 7, n.Stats().Pools[0].Subscribers)
	n.rest()
	st := n.Stats()
	require.EqualValues(t, [4]uint64{7, 7, 0, 0}, [4]uint64{st.BlocksAllocated, st.BlocksReleased, st.RecordsLost, st.RecordsRefused})
	n.empty(t)
}

// TestOffersToARefusingLogAreBounded: a round of Expire over thousands of idle blocks offers few records to
// a log that refuses them all.
func TestOffersToARefusingLogAreBounded(t *testing.T) {
	offers, refuse := 0, false
	n := newNAT(t, func(c *natcore.Config) {
		c.Shards = 1
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.0/25")
		c.Log = logging.LogFunc(func(*logging.Record) error {
			if !refuse {
				return nil
			}
			offers++
			return logging.ErrFull
		})
	})
	const hosts = 3000
	for i := range hosts {
		n.Outbound(build(t, udp, endpoint(host(i), 5000), endpoint(server1, 80), nil, tcpFlags{}), n.now)
	}
	require.EqualValues(t, hosts, n.Stats().BlocksAllocated)
	n.wait(time.Hour)
	n.expire()
	n.wait(time.Hour)
	refuse = true
	n.expire()
	require.EqualValues(t, hosts, n.Stats().ReleasesPending)
	require.LessOrEqual(t, offers, 50)
	refuse = false
	n.rest()
	n.empty(t)
}

// TestFreeBlocksOfAllClasses: each class of remotes has all blocks of an address.
func TestFreeBlocksOfAllClasses(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Blocks.Ports = portblock.RangeOf(1024, 2047)
		c.Pools[0].Select = flowmask.MustParseMask("0.0.0.1", "flow:src-ip")
		c.Pools[0].Remotes = flowmask.MustParseMask("1", "flow:dst-port")
	})
	free := func() [3]uint64 {
		p := n.Stats().Pools[0]
		return [3]uint64{p.BlocksFree, p.BlocksHeating, p.BlocksCooling}
	}
	const all = 2 * 2 * 4 // addresses, classes, blocks
	require.Equal(t, [3]uint64{all, 0, 0}, free())
	n.out(t, udp, endpoint(hostA, 1), endpoint(server1, 80))
	require.Equal(t, [3]uint64{all - 1, 1, 0}, free())
	n.out(t, udp, endpoint(hostA, 1), endpoint(server1, 81))
	require.Equal(t, [3]uint64{all - 2, 2, 0}, free())
	n.out(t, udp, endpoint(hostB, 1), endpoint(server1, 81))
	require.Equal(t, [3]uint64{all - 3, 3, 0}, free())
	check(t, n)
	n.rest()
	require.Equal(t, [3]uint64{all, 0, 0}, free())
	n.empty(t)
}

// TestRoomAfterGuardTimeWithClasses: an address whose blocks are all in use, in either class, serves again when they are free.
func TestRoomAfterGuardTimeWithClasses(t *testing.T) {
	n := newNAT(t, small(1024, 1055, 16), func(c *natcore.Config) {
		c.Pools[0].Select = flowmask.MustParseMask("0.0.0.1", "flow:src-ip")
		c.Pools[0].Remotes = flowmask.MustParseMask("1", "flow:dst-port")
	})
	for range 2 {
		for _, port := range []int{80, 81} {
			for i := range 2 {
				n.out(t, udp, endpoint(host(i), 1), endpoint(server1, port))
			}
			_, verdict, why := n.try(t, udp, endpoint(host(9), 1), endpoint(server1, port))
			require.Equal(t, natcore.Drop, verdict, why)
		}
		n.rest()
		n.empty(t)
	}
}
