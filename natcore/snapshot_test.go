package natcore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// restored returns a second engine made of a snapshot of the first, with a log of its own.
func (n *nat) restored(t failer, cfg natcore.Config) *nat {
	t.Helper()
	m := &nat{log: logging.NewMemory(0), now: n.now}
	cfg.Log = m.log
	var err error
	m.Engine, err = natcore.Restore(cfg, n.AppendSnapshot(nil), n.now)
	require.NoError(t, err)
	require.NoError(t, m.CheckInvariants())
	require.NoError(t, n.CheckInvariants())
	return m
}

// held tells all that an engine holds, in an order that does not depend on its tables.
func held(n *nat) []string {
	var all []string
	for s := range n.Sessions() {
		all = append(all, fmt.Sprint("session ", s))
	}
	for m := range n.Mappings() {
		all = append(all, fmt.Sprint("mapping ", m))
	}
	for b := range n.Blocks() {
		all = append(all, fmt.Sprint("block ", b))
	}
	for s := range n.Subscribers() {
		all = append(all, fmt.Sprint("subscriber ", s))
	}
	for _, p := range n.Stats().Pools {
		all = append(all, fmt.Sprint("pool ", p))
		for a := range n.Addresses(p.Name) {
			a.Blocks.RefusedNoBlock, a.Blocks.RefusedReserved, a.Blocks.RefusedInUse, a.Blocks.RefusedCooling = 0, 0, 0, 0
			all = append(all, fmt.Sprint("address ", a))
		}
	}
	slices.Sort(all)
	return all
}

// saved is a configuration in which nothing is drawn at random, so that two engines can be compared packet by packet, but for
// the ports of a map.
func saved(t failer, mode string, filtering natcore.Behaviour, shards int) natcore.Config {
	cfg := config(nil)
	cfg.Shards, cfg.Events = shards, natcore.Events{Sessions: true, Bindings: true}
	cfg.Limits.SessionsPerSubscriber = 60
	cfg.Quotas = natcore.Quotas{Subscriber: natcore.Quota{Ports: 45, MappingRate: natcore.Rate{PerSecond: 30}}, Realms: map[natcore.Realm]natcore.Quota{0: {Sessions: 200}}}
	p := &cfg.Pools[0]
	p.Filtering = filtering
	p.Select = flowmask.MustParseMask("0.0.0.1", "flow:src-ip")
	p.Blocks = portblock.Config{BlockSize: 16, Ports: portblock.RangeOf(1024, 1024+16*8-1), MaxBlocks: 3, Choice: portblock.ChooseLinear}
	switch mode {
	case "classes":
		p.Remotes = flowmask.MustParseMask("0.0.0.4,2", "flow:dst-ip,dst-port")
	case "dependent", "overload":
		p.Mapping, p.Overload = natcore.AddressAndPortDependent, mode == "overload"
	case "map":
		m, err := deterministic.New(deterministic.Config{
			Internal: deterministic.Spans("10.0.0.2-10.0.0.9"), External: deterministic.Spans("203.0.113.5-203.0.113.6"),
			Reserved:     []portblock.Range{portblock.RangeOf(0, 1023), portblock.RangeOf(1152, 65535)},
			SharingRatio: 4, DynamicFactor: 4, MaxPorts: 48,
		})
		require.NoError(t, err)
		*p = natcore.PoolConfig{Name: "cgn", Map: m, Filtering: filtering, Blocks: portblock.Config{BlockSize: 16, MaxBlocks: 3, Choice: portblock.ChooseLinear}}
	}
	return cfg
}

// TestSnapshotGoesOn: an engine that was restored in the middle of random traffic answers each further packet as the one does that went on, byte for byte,
// holds the same, and writes the same records. (Rules 1 and 2 of the design across a restart.)
//
// Rows: 6888-08e.
func TestSnapshotGoesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mode := rapid.SampledFrom([]string{"blocks", "classes", "dependent", "overload"}).Draw(t, "mode")
		cfg := saved(t, mode, natcore.Behaviour(rapid.IntRange(0, 2).Draw(t, "filtering")), rapid.SampledFrom([]int{1, 4}).Draw(t, "shards"))
		a := &nat{log: logging.NewMemory(0), now: began}
		cfg.Log = a.log
		var err error
		a.Engine, err = natcore.New(cfg, began)
		require.NoError(t, err)
		both, mark := []*nat{a}, 0
		var externals []netip.AddrPort
		step := func() {
			k := kind(rapid.IntRange(0, 2).Draw(t, "kind"))
			inside := endpoint(host(rapid.IntRange(2, 6).Draw(t, "host")), 40000+rapid.IntRange(0, 24).Draw(t, "port"))
			remote := endpoint(rapid.SampledFrom([]netip.Addr{server1, server2}).Draw(t, "server"), rapid.SampledFrom([]int{53, 443}).Draw(t, "remote"))
			known := func() netip.AddrPort {
				if len(externals) == 0 {
					return endpoint(netip.MustParseAddr("203.0.113.5"), 1030)
				}
				return externals[rapid.IntRange(max(0, len(externals)-20), len(externals)-1).Draw(t, "external")]
			}
			send := func(d natcore.Direction, src, dst netip.AddrPort, f tcpFlags) {
				if k == icmp && d == natcore.Outbound {
					dst = endpoint(dst.Addr(), 0)
				}
				packet := build(t, k, src, dst, []byte("x"), f)
				var first natcore.Packet
				for i, n := range both {
					batch := []natcore.Packet{{Bytes: bytes.Clone(packet), Direction: d}}
					n.Process(batch, n.now)
					if i == 0 {
						first = batch[0]
						continue
					}
					require.Equal(t, first, batch[0], "the restored engine differs")
				}
				if d == natcore.Outbound && first.Verdict == natcore.Forward {
					externals = append(externals, read(t, first.Bytes).src)
				}
			}
			flags := tcpFlags{syn: rapid.Bool().Draw(t, "syn"), ack: rapid.Bool().Draw(t, "ack"), fin: rapid.IntRange(0, 3).Draw(t, "fin") == 0, rst: rapid.IntRange(0, 5).Draw(t, "rst") == 0, seq: 1000}
			switch rapid.SampledFrom([]string{"out", "out", "burst", "in", "in", "hairpin", "time", "expire", "map", "quota"}).Draw(t, "action") {
			case "out":
				send(natcore.Outbound, inside, remote, flags)
			case "burst":
				for i := range 20 {
					send(natcore.Outbound, endpoint(inside.Addr(), 41000+i), remote, tcpFlags{syn: true, seq: 5})
				}
			case "in":
				send(natcore.Inbound, remote, known(), flags)
			case "hairpin":
				send(natcore.Outbound, inside, known(), flags)
			case "time":
				d := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 59 * time.Second, 2 * time.Minute, 5 * time.Minute, 3 * time.Hour}).Draw(t, "time")
				for _, n := range both {
					n.wait(d)
				}
			case "expire":
				for _, n := range both {
					n.expire()
				}
			case "map":
				var want netip.AddrPort
				var wantErr error
				for i, n := range both {
					got, err := n.Map(natcore.MapRequest{Internal: inside, Protocol: 17, Lifetime: 10 * time.Minute}, n.now)
					if i == 0 {
						want, wantErr = got, err
						continue
					}
					require.Equal(t, want, got)
					require.Equal(t, wantErr, err)
				}
			case "quota":
				for _, n := range both {
					require.NoError(t, n.SetQuota(0, inside.Addr(), &natcore.Quota{Ports: 10}, n.now))
				}
			}
		}
		for range rapid.IntRange(0, 40).Draw(t, "before") {
			step()
		}
		a.log.Refuse(errors.New("the disk is full")) // releases wait
		if rapid.Bool().Draw(t, "pending") {
			a.wait(10 * time.Minute)
			a.expire()
		}
		a.log.Refuse(nil)
		for range 3 { // what is noted for the log is no part of a snapshot
			a.expire()
		}
		b := a.restored(t, cfg)
		both, mark = append(both, b), len(a.log.Records())
		require.Equal(t, held(a), held(b))
		interim := 0
		for range b.Blocks() {
			interim++
		}
		require.Len(t, b.records(t, logging.BlockInterim), interim, "each block is told again")
		for i := range rapid.IntRange(0, 60).Draw(t, "after") {
			if step(); i%8 == 0 {
				for _, n := range both {
					require.NoError(t, n.CheckInvariants())
				}
			}
		}
		require.Equal(t, held(a), held(b))
		for _, n := range both {
			require.NoError(t, n.Close(n.now))
		}
		tell := func(all []logging.Record) (lines []string) {
			for _, r := range all {
				switch r.Kind {
				case logging.BlockInterim: // told again
				case logging.QuotaExceeded, logging.AddressesExhausted, logging.PortsExhausted, logging.ThresholdHigh, logging.ThresholdLow:
					// Limits on rates of events begin anew.
				default:
					lines = append(lines, fmt.Sprint(r))
				}
			}
			slices.Sort(lines)
			return lines
		}
		require.Equal(t, tell(a.log.Records()[mark:]), tell(b.log.Records()))
	})
}

// TestSnapshotOfMap: deterministic ports that are in use stay so, those that are free are drawn anew.
func TestSnapshotOfMap(t *testing.T) {
	cfg := saved(t, "map", natcore.AddressDependent, 4)
	n := &nat{log: logging.NewMemory(0), now: began}
	cfg.Log = n.log
	var err error
	n.Engine, err = natcore.New(cfg, began)
	require.NoError(t, err)
	type flow struct{ in, out netip.AddrPort }
	var flows []flow
	for h := range 4 {
		for i := range 25 {
			in := endpoint(host(2+h), 40000+i)
			flows = append(flows, flow{in, n.out(t, udp, in, s1p1)})
		}
	}
	b := n.restored(t, cfg)
	require.Equal(t, held(n), held(b))
	for _, f := range flows {
		require.Equal(t, f.out, b.out(t, udp, f.in, s1p1))
		require.True(t, b.passes(t, udp, s1p1, f.out, f.in))
	}
	used := map[netip.AddrPort]bool{}
	for _, f := range flows {
		used[f.out] = true
	}
	for h := range 4 {
		for i := range 5 {
			e := b.out(t, udp, endpoint(host(2+h), 50000+i), s1p1)
			require.False(t, used[e])
			used[e] = true
		}
	}
	check(t, b)
}

// TestSnapshotKeepsRests: what was freed before a restart is not given out before its time after it, whatever the time between.
//
// Rows: 6888-08e, 7768-03.
func TestSnapshotKeepsRests(t *testing.T) {
	cfg := saved(t, "blocks", 0, 1)
	cfg.Quotas = natcore.Quotas{}
	cfg.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
	cfg.Pools[0].Blocks.Ports = portblock.RangeOf(1024, 1039) // one block
	cfg.Pools[0].Blocks.IdleTimeout = portblock.Off
	n := &nat{log: logging.NewMemory(0), now: began}
	cfg.Log = n.log
	var err error
	n.Engine, err = natcore.New(cfg, began)
	require.NoError(t, err)
	n.out(t, udp, a40000, s1p1)
	n.wait(300 * time.Second)
	n.expire() // the block cools from here on
	n.Stop()
	b := n.restored(t, cfg)
	b.wait(120*time.Second - time.Millisecond)
	require.Equal(t, natcore.ReasonBlocksExhausted, b.refusal(t, 0, udp, endpoint(hostB, 1), s1p1))
	b.wait(time.Millisecond)
	require.Equal(t, natcore.ReasonNone, b.refusal(t, 0, udp, endpoint(hostB, 1), s1p1))
}

// snapshotOf returns an engine's configuration and a snapshot of it in which there is something of all.
func snapshotOf(t failer) (natcore.Config, []byte) {
	cfg := saved(t, "blocks", natcore.AddressDependent, 2)
	cfg.Protocols = []uint8{47}
	cfg.Static = []natcore.Static{
		{Name: "one", External: ip("192.0.2.9"), Internal: host(9), Filtering: natcore.AddressDependent},
		{Name: "lb", Protocol: 6, External: ip("203.0.113.5"), ExternalPort: 80, Servers: servers(1, 2), Affinity: time.Hour, Sources: alloc.MustParseRanges("10.255.0.0/30")},
	}
	cfg.Peerings = []natcore.Peering{{Name: "p", From: 0, To: 1, Destination: prefix("172.16.0.0/24"), Target: prefix("10.0.0.0/24"), Sources: alloc.MustParseRanges("10.255.0.1")}}
	n := &nat{log: logging.NewMemory(0), now: began}
	cfg.Log = n.log
	var err error
	n.Engine, err = natcore.New(cfg, began)
	require.NoError(t, err)
	for i := range 40 {
		n.refusal(t, 0, kind(i%3), endpoint(host(2+i%3), 40000+i), s1p1)
	}
	n.Outbound(udpLite(t, a40000, s1p1, 8, []byte("lite")), n.now)
	gre := build(t, udp, a40000, s1p1, make([]byte, 40), tcpFlags{})
	gre[9] = 47
	n.Outbound(refit(gre), n.now)
	n.wait(61 * time.Second)
	n.expire()
	for i := range 3 {
		n.comes(t, tcp, client(i, 4000), at("203.0.113.5:80"), synFlags)
		n.leaves(t, 0, kind(i), endpoint(host(9), 4000), s1p1, synFlags)
		n.leaves(t, 0, udp, endpoint(hostA, 4000+i), at("172.16.0.9:80"), synFlags)
	}
	n.comes(t, udp, s1p2, at("192.0.2.9:53"), synFlags)
	n.sends(t, natcore.Outbound, 0, 47, host(9), server1)
	require.True(t, n.EndSession(n.sessionLike(t, "lb"), n.now)) // its source rests
	_, err = n.Map(natcore.MapRequest{Internal: endpoint(hostB, 99), Protocol: 6, Lifetime: time.Hour}, n.now)
	require.NoError(t, err)
	require.NoError(t, n.SetQuota(0, hostA, &natcore.Quota{Ports: 44, InboundSessions: 40, InboundRate: natcore.Rate{PerSecond: 9}}, n.now))
	return cfg, n.AppendSnapshot(nil)
}

// TestSnapshotErrors: damaged bytes and other configurations give typed errors that say what to do.
func TestSnapshotErrors(t *testing.T) {
	cfg, snapshot := snapshotOf(t)
	restore := func(b []byte, change func(*natcore.Config)) error {
		c := cfg
		c.Pools = slices.Clone(cfg.Pools)
		if change != nil {
			change(&c)
		}
		_, err := natcore.Restore(c, b, began)
		return err
	}
	require.NoError(t, restore(snapshot, nil))
	for i := range snapshot {
		for _, b := range [][]byte{snapshot[:i], append(slices.Clone(snapshot[:i]), append([]byte{snapshot[i] ^ 0x55}, snapshot[i+1:]...)...)} {
			if i%7 != 0 && i > 40 {
				continue
			}
			err := restore(b, nil)
			var s *natcore.SnapshotError
			require.ErrorAs(t, err, &s, "byte %d", i)
			require.ErrorIs(t, err, natcore.ErrSnapshot)
		}
	}
	for name, change := range map[string]func(*natcore.Config){
		"Seed":               func(c *natcore.Config) { c.Seed[0]++ },
		"Shards":             func(c *natcore.Config) { c.Shards = 4 },
		"Pools[0].Name":      func(c *natcore.Config) { c.Pools[0].Name = "other" },
		"Pools[0].Mapping":   func(c *natcore.Config) { c.Pools[0].Mapping = natcore.AddressDependent },
		"Pools[0].Select":    func(c *natcore.Config) { c.Pools[0].Select = flowmask.MustParseMask("0.0.0.3", "flow:src-ip") },
		"Pools[0].Addresses": func(c *natcore.Config) { c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5-203.0.113.7") },
		"Pools[0].Blocks":    func(c *natcore.Config) { c.Pools[0].Blocks.BlockSize = 32 },
		"Pools must be those": func(c *natcore.Config) {
			c.Pools = append(c.Pools, natcore.PoolConfig{Name: "x", Addresses: alloc.MustParseRanges("192.0.2.1")})
		},
	} {
		err := restore(snapshot, change)
		require.ErrorIs(t, err, natcore.ErrSnapshotConfig, name)
		require.ErrorContains(t, err, name)
	}
	var field *natcore.FieldError
	require.ErrorAs(t, restore(snapshot, func(c *natcore.Config) { c.Log = nil }), &field, "faults of the configuration come first")
	later := slices.Clone(snapshot)
	later[4]++
	require.ErrorContains(t, restore(later, nil), "version 3")
	// Limits, rules and quotas may be others.
	require.NoError(t, restore(snapshot, func(c *natcore.Config) {
		c.Quotas, c.Limits.Sessions, c.Timeouts.UDP = natcore.Quotas{}, 5, 200*time.Second
	}))
}

// TestSnapshotOfPortlessSessions: sessions of protocols without ports go on after a restart, both ways, and nobody else gets their place; where the protocol is none of the configuration's any more
// they have ended. Either way each begin in the records has its end.
func TestSnapshotOfPortlessSessions(t *testing.T) {
	cfg, snapshot := snapshotOf(t)
	for _, chosen := range []bool{true, false} {
		cfg := cfg
		if !chosen {
			cfg.Protocols = nil
		}
		log := logging.NewMemory(0)
		cfg.Log = log
		e, err := natcore.Restore(cfg, snapshot, began.Add(2*time.Minute))
		require.NoError(t, err)
		n := &nat{e, log, began.Add(2 * time.Minute)}
		check(t, n)
		if chosen {
			require.Empty(t, n.records(t, logging.SessionDeleted))
			m := n.sends(t, natcore.Outbound, 0, 47, hostA, server1)
			require.Equal(t, natcore.Forward, m.verdict)
			require.Equal(t, natcore.Forward, n.sends(t, natcore.Inbound, 0, 47, server1, m.src.Addr()).verdict)
			require.Empty(t, n.records(t, logging.SessionCreated), "it is not another session")
		} else {
			require.Equal(t, natcore.ReasonProtocol, n.sends(t, natcore.Outbound, 0, 47, hostA, server1).why)
		}
		for range 3 {
			n.wait(24 * time.Hour)
			n.expire()
		}
		var ended []logging.Record
		for _, r := range n.records(t, logging.SessionDeleted) {
			if r.Protocol == 47 && r.Pool == "cgn" {
				ended = append(ended, r)
			}
		}
		require.Len(t, ended, 1)
		require.Equal(t, logging.MillisOf(began), ended[0].Allocated)
		require.Zero(t, n.Stats().Subscribers)
		check(t, n)
	}
}

// FuzzRestore gives Restore arbitrary bytes, and bytes with a right checksum: it makes an engine that is consistent, or a typed error.
func FuzzRestore(f *testing.F) {
	cfg, snapshot := snapshotOf(&seedT{f})
	f.Add([]byte("BNNC\x01"), 0, byte(0))
	f.Add(snapshot, 0, byte(0))
	old, err := os.ReadFile("testdata/snapshot-v1.bin") // before static sessions were part of it
	require.NoError(f, err)
	f.Add(old, 0, byte(0))
	f.Add(old, len(old)/2, byte(1))
	f.Add(snapshot[:len(snapshot)/2], 100, byte(3))
	for at := 5; at < len(snapshot)-4; at += len(snapshot) / 40 {
		f.Add(snapshot, at, byte(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, at int, flip byte) {
		b = bytes.Clone(b)
		if n := len(b) - 4; n > 5 {
			b[5+max(at, 0)%(n-5)] ^= flip
			binary.BigEndian.PutUint32(b[n:], crc32.Checksum(b[:n], crc32.MakeTable(crc32.Castagnoli)))
		}
		c := cfg
		c.Log = logging.Discard
		e, err := natcore.Restore(c, b, began.Add(time.Hour))
		if err != nil {
			var s *natcore.SnapshotError
			require.ErrorAs(t, err, &s)
			return
		}
		require.NoError(t, e.CheckInvariants())
		n := &nat{e, logging.NewMemory(0), began.Add(time.Hour)}
		for i := range 20 {
			n.refusal(t, 0, kind(i%3), endpoint(host(2+i%3), 40000+i), s1p1)
		}
		n.expire()
		require.NoError(t, e.CheckInvariants())
	})
}

// seedT lets helpers of tests make the seeds of a fuzz target.
type seedT struct{ *testing.F }

// TestSnapshotAppends: what is in front stays.
func TestSnapshotAppends(t *testing.T) {
	n := newNAT(t)
	require.Equal(t, "front", string(n.AppendSnapshot([]byte("front"))[:5]))
	require.Equal(t, n.AppendSnapshot(nil), n.AppendSnapshot([]byte("front"))[5:])
}
