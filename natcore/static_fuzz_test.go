package natcore_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// fuzzed reads numbers from fuzzed bytes, and zeros behind their end.
type fuzzed struct{ b []byte }

func (f *fuzzed) byte() byte {
	if len(f.b) == 0 {
		return 0
	}
	v := f.b[0]
	f.b = f.b[1:]
	return v
}

func (f *fuzzed) word() uint16 { return uint16(f.byte())<<8 | uint16(f.byte()) }

// addr is an address that others are likely to meet, or any, or none.
func (f *fuzzed) addr() netip.Addr {
	switch k := f.byte(); {
	case k < 200:
		return netip.AddrFrom4([4]byte{[]byte{10, 192, 203, 255}[k%4], 0, 113, f.byte()})
	case k < 220:
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(f.word())<<16|uint32(f.word()))
		return netip.AddrFrom4(a)
	case k < 230:
		return netip.MustParseAddr("2001:db8::1")
	case k < 240:
		return netip.MustParseAddr("::ffff:10.0.0.1")
	}
	return netip.Addr{}
}

func (f *fuzzed) prefix() netip.Prefix {
	if k := f.byte(); k < 100 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(f.addr(), int(f.byte()%34))
}

func (f *fuzzed) ranges() (all []alloc.Range) {
	for range f.byte() % 3 {
		r, _ := alloc.RangeOf(f.addr(), f.addr())
		all = append(all, r)
	}
	return all
}

// FuzzStatics: no static mapping, peering or protocol makes the engine panic, whatever it says; what New takes, AddStatic takes too and packets and changes keep
// all counts right. Errors are those of fields.
func FuzzStatics(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 6, 0, 2, 5, 0, 80, 0, 0, 9, 31, 144, 1, 1})    // a port
	f.Add([]byte{1, 0, 0, 1, 9, 0, 0, 0, 0, 7, 0, 0, 0, 16, 0, 0}) // addresses
	f.Add([]byte{3, 0, 6, 1, 0, 255, 255, 1, 255, 200, 3, 9, 8, 7, 6, 5, 4, 3, 2, 1, 250, 230, 220, 210})
	f.Fuzz(func(t *testing.T, b []byte) {
		in := &fuzzed{b}
		cfg := config(logging.Discard)
		var list []natcore.Static
		for range in.byte() % 4 {
			s := natcore.Static{
				Name: string(rune('a' + in.byte()%5)), Realm: natcore.Realm(in.byte() % 3), Protocol: in.byte(), External: in.addr(), ExternalPort: in.word(),
				Internal: in.addr(), InternalPort: in.word(), Ports: int(int8(in.byte())), Addresses: int(int8(in.byte())),
				InboundOnly: in.byte()%2 == 0, Filtering: natcore.Behaviour(in.byte() % 4), Twice: natcore.Twice(in.byte() % 3), Balance: natcore.Balance(in.byte() % 3),
				Affinity: time.Duration(int8(in.byte())) * time.Second, MaxSessions: int(int8(in.byte())), Sources: in.ranges(),
			}
			for range in.byte() % 3 {
				s.Servers = append(s.Servers, natcore.Server{Internal: netip.AddrPortFrom(in.addr(), in.word()), Weight: int(int8(in.byte()))})
			}
			if in.byte()%4 == 0 {
				s.Remotes = append(s.Remotes, in.prefix())
			}
			list = append(list, s)
		}
		for range in.byte() % 3 {
			ports := func() portblock.Range {
				first := in.word()
				return portblock.RangeOf(first, first+uint16(in.byte()))
			}
			cfg.Peerings = append(cfg.Peerings, natcore.Peering{
				Name: string(rune('p' + in.byte()%3)), From: natcore.Realm(in.byte() % 3), To: natcore.Realm(int(in.byte()%4) - 1), Protocol: in.byte() % 20,
				Source: in.prefix(), Destination: in.prefix(), Target: in.prefix(), SourceAs: in.prefix(), DestinationPorts: ports(), TargetPort: in.word(),
				SourcePorts: ports(), Sources: in.ranges(),
			})
		}
		for range in.byte() % 3 {
			cfg.Protocols = append(cfg.Protocols, in.byte())
		}
		cfg.Events = natcore.Events{Sessions: in.byte()%2 == 0}
		cfg.Quotas = natcore.Quotas{Subscriber: natcore.Quota{Sessions: int(in.byte() % 8), InboundSessions: int(in.byte() % 8), InboundRate: natcore.Rate{PerSecond: 5}}, CountInbound: in.byte()%2 == 0}
		with := cfg
		with.Static = list
		e, err := natcore.New(with, began)
		var field *natcore.FieldError
		if err != nil {
			require.ErrorAs(t, err, &field)
			if e, err = natcore.New(cfg, began); err != nil {
				return
			}
			if err = e.AddStatic(list, natcore.RefuseConflicts, began); err != nil {
				require.ErrorAs(t, err, &field)
			}
		}
		now := began
		for range 8 {
			k := []kind{udp, tcp, icmp}[in.byte()%3]
			src, dst := in.addr(), in.addr()
			if !src.Is4() || !dst.Is4() {
				continue
			}
			p := natcore.Packet{Bytes: build(t, k, netip.AddrPortFrom(src, in.word()), netip.AddrPortFrom(dst, in.word()), nil, synFlags), Realm: natcore.Realm(in.byte() % 3), Direction: natcore.Direction(in.byte() % 2)}
			e.Process([]natcore.Packet{p}, now)
			p.Bytes = portless(in.byte(), src, dst)
			e.Process([]natcore.Packet{p}, now)
		}
		require.NoError(t, e.CheckInvariants())
		with = e.Config()
		with.Static = e.Statics()
		again, err := natcore.Restore(with, e.AppendSnapshot(nil), now)
		require.NoError(t, err)
		require.NoError(t, again.CheckInvariants())
		require.Equal(t, e.Stats().StaticSessions, again.Stats().StaticSessions, "what is as it was carries on")
		e = again
		for _, s := range e.Statics() {
			_ = e.SetServers(s.Name, s.Servers[:len(s.Servers)/2], now)
			require.True(t, e.RemoveStatic(s.Name, now))
		}
		require.NoError(t, e.CheckInvariants())
	})
}
