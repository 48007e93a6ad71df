package natcore_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// staticModel is what must hold, by reading: who has which external endpoint, from the list of static mappings alone.
type staticModel struct{ list []natcore.Static }

// holds reports whether an external endpoint is static. All ports are in the range of the tests.
func (m *staticModel) holds(proto uint8, e netip.AddrPort) bool {
	for _, s := range m.list {
		a, b := e.Addr().As4(), s.External.As4()
		offset := int(a[3]) - int(b[3])
		if [3]byte(a[:3]) != [3]byte(b[:3]) || offset < 0 || offset >= max(s.Addresses, 1) {
			continue
		}
		if s.Protocol != 0 && s.Protocol != proto || s.Protocol == 0 && s.ExternalPort != 0 && proto == 1 {
			continue
		}
		if s.ExternalPort == 0 || e.Port() >= s.ExternalPort && int(e.Port()) < int(s.ExternalPort)+max(s.Ports, 1) {
			return true
		}
	}
	return false
}

// drawStatic draws a mapping that is often right, and overlaps others now and then.
func drawStatic(t *rapid.T, name string) natcore.Static {
	small := func(label string, n int) int { return rapid.IntRange(0, n).Draw(t, label) }
	s := natcore.Static{
		Name: name, Realm: natcore.Realm(small("realm", 1)),
		Protocol: rapid.SampledFrom([]uint8{0, 0, 6, 17, 1}).Draw(t, "protocol"),
		External: netip.AddrFrom4([4]byte{203, 0, 113, byte(5 + small("external", 3))}),
		Internal: netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + small("internal", 3))}),
	}
	if rapid.Bool().Draw(t, "ports") {
		s.ExternalPort = uint16(1024 + small("port", 60))
		s.InternalPort = uint16(4000 + small("inside", 4))
		s.Ports = small("n", 4)
	} else {
		s.Addresses = 1 + small("addresses", 1)
	}
	s.InboundOnly = rapid.Bool().Draw(t, "inbound only")
	if rapid.IntRange(0, 3).Draw(t, "servers") == 0 {
		s.Internal, s.InternalPort, s.Addresses = netip.Addr{}, 0, 1
		for i := range 1 + small("count", 2) {
			s.Servers = append(s.Servers, natcore.Server{Internal: endpoint(netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + i)}), 0), Weight: small("weight", 3)})
		}
	}
	if rapid.IntRange(0, 2).Draw(t, "twice") == 0 {
		s.Sources = alloc.MustParseRanges("10.255.0.0/31")
	}
	return s
}

// TestB119_StaticProperty: random static mappings come and go under random dynamic and static traffic. No two internal endpoints ever share an
// external one towards a remote one, nothing dynamic is on a static port, every answer restores what it answers, and all counts hold.
func TestB119_StaticProperty(t *testing.T) {
	kinds := []kind{udp, tcp, icmp}
	rapid.Check(t, func(rt *rapid.T) {
		n := newNAT(rt, func(c *natcore.Config) {
			c.Pools[0].Blocks = portblock.Config{Ports: portblock.RangeOf(1024, 1151), BlockSize: 16, MaxBlocks: 3, HoldDown: time.Second, GuardTime: time.Second}
			c.Rules = []natcore.Rule{{Realm: 0, Pool: "cgn"}, {Realm: 1, Pool: "cgn"}}
			c.Shards = rapid.SampledFrom([]int{1, 4}).Draw(rt, "shards")
			c.Peerings = []natcore.Peering{{
				Name: "p", From: 0, To: 1, Destination: prefix("172.16.0.0/24"), Target: prefix("10.0.0.0/24"), Sources: alloc.MustParseRanges("10.255.0.1-10.255.0.2"),
			}}
		})
		names := 0
		flags := func(k kind) tcpFlags { return tcpFlags{syn: k != icmp, seq: 1000} }
		host := rapid.Custom(func(t *rapid.T) netip.AddrPort {
			return endpoint(netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + rapid.IntRange(0, 4).Draw(t, "host"))}), 4000+rapid.IntRange(0, 5).Draw(t, "port"))
		})
		remote := rapid.Custom(func(t *rapid.T) netip.AddrPort {
			return endpoint(netip.AddrFrom4([4]byte{198, 51, 100, byte(rapid.IntRange(1, 3).Draw(t, "remote"))}), rapid.IntRange(80, 81).Draw(t, "port"))
		})
		external := rapid.Custom(func(t *rapid.T) netip.AddrPort {
			return endpoint(netip.AddrFrom4([4]byte{203, 0, 113, byte(5 + rapid.IntRange(0, 4).Draw(t, "external"))}), 1020+rapid.IntRange(0, 70).Draw(t, "port"))
		})
		answer := func(k kind) tcpFlags { return tcpFlags{syn: k == tcp, ack: true, seq: 5000} }
		rt.Repeat(map[string]func(*rapid.T){
			"out": func(t *rapid.T) {
				k, realm := rapid.SampledFrom(kinds).Draw(t, "kind"), natcore.Realm(rapid.IntRange(0, 1).Draw(t, "realm"))
				src, dst := host.Draw(t, "src"), remote.Draw(t, "dst")
				switch rapid.IntRange(0, 3).Draw(t, "to") {
				case 0:
					dst = external.Draw(t, "dst")
				case 1:
					dst = endpoint(netip.AddrFrom4([4]byte{172, 16, 0, byte(2 + rapid.IntRange(0, 3).Draw(t, "peer"))}), 4000)
				}
				if k == icmp {
					dst = endpoint(dst.Addr(), int(src.Port())) // the identifier stands for both ports
				}
				m := n.leaves(t, realm, k, src, dst, flags(k))
				if m.verdict == natcore.Drop {
					return
				}
				var back moved
				if m.verdict == natcore.Hairpin {
					back = n.leaves(t, m.realm, k, m.dst, m.src, answer(k))
				} else {
					back = n.comes(t, k, m.dst, m.src, answer(k))
				}
				require.NotEqual(t, natcore.Drop, back.verdict, "%v of %v > %v as %v > %v: %v", k, src, dst, m.src, m.dst, back.why)
				require.Equal(t, []netip.AddrPort{dst, src}, []netip.AddrPort{back.src, back.dst}, "%v", k)
				require.Equal(t, realm, back.realm)
			},
			"in": func(t *rapid.T) {
				k := rapid.SampledFrom(kinds).Draw(t, "kind")
				src, dst := remote.Draw(t, "src"), external.Draw(t, "dst")
				if k == icmp {
					dst = endpoint(dst.Addr(), int(src.Port()))
				}
				m := n.comes(t, k, src, dst, flags(k))
				if m.verdict == natcore.Drop {
					return
				}
				back := n.leaves(t, m.realm, k, m.dst, m.src, answer(k))
				require.Equal(t, moved{dst, src, natcore.Forward, 0, m.realm}, back, "%v > %v came as %v > %v", src, dst, m.src, m.dst)
			},
			"add": func(t *rapid.T) {
				names++
				s := drawStatic(t, fmt.Sprint(names))
				how := natcore.OnConflict(rapid.IntRange(0, 1).Draw(t, "how"))
				err := n.AddStatic([]natcore.Static{s}, how, n.now)
				var conflict *natcore.ConflictError
				var field *natcore.FieldError
				switch {
				case err == nil:
				case errors.As(err, &conflict):
					require.Equal(t, natcore.RefuseConflicts, how)
				default:
					require.True(t, errors.As(err, &field), "%v", err)
				}
			},
			"remove": func(t *rapid.T) {
				if all := n.Statics(); len(all) > 0 {
					require.True(t, n.RemoveStatic(rapid.SampledFrom(all).Draw(t, "static").Name, n.now))
				}
			},
			"servers": func(t *rapid.T) {
				for _, s := range n.Statics() {
					if len(s.Servers) > 1 {
						require.NoError(t, n.SetServers(s.Name, s.Servers[1:], n.now))
					}
				}
			},
			"restart": func(t *rapid.T) {
				servers := map[netip.Addr]bool{} // of whom sessions go on
				for _, s := range n.Statics() {
					for _, v := range s.Servers {
						servers[v.Internal.Addr()] = true
					}
				}
				before := map[natcore.SessionInfo]bool{}
				for s := range n.Sessions() {
					s.LastSeen = time.UnixMilli(s.LastSeen.UnixMilli())
					before[s] = true
				}
				cfg := n.Config()
				cfg.Static = n.Statics()
				var err error
				n.Engine, err = natcore.Restore(cfg, n.AppendSnapshot(nil), n.now)
				require.NoError(t, err)
				for s := range n.Sessions() {
					s.LastSeen = time.UnixMilli(s.LastSeen.UnixMilli())
					require.True(t, before[s], "%v was not there", s)
					delete(before, s)
				}
				for s := range before {
					require.True(t, s.Static != "" && s.Inbound, "%v has not gone on", s)
					for _, of := range cfg.Static {
						require.False(t, of.Name == s.Static && (len(of.Servers) == 0 || servers[s.Internal.Addr()] && len(of.Servers) == 3), "%v has not gone on", s)
					}
				}
			},
			"wait": func(t *rapid.T) {
				n.wait(time.Duration(rapid.SampledFrom([]int{1, 20, 31, 61, 250, 310}).Draw(t, "seconds")) * time.Second)
				if rapid.Bool().Draw(t, "expire") {
					n.expire()
				}
			},
			"": func(t *rapid.T) {
				require.NoError(t, n.CheckInvariants())
				model := staticModel{n.Statics()}
				type tuple struct {
					external, remote netip.AddrPort
					proto            uint8
					realm            natcore.Realm
				}
				owners := map[tuple]netip.AddrPort{}
				for s := range n.Sessions() {
					if s.Static == "" {
						require.False(t, model.holds(s.Protocol, s.External), "dynamic session on the static endpoint %v", s.External)
					}
					k := tuple{s.External, s.Remote, s.Protocol, 0}
					if s.Static == "p" {
						k.realm = 1 // a peering's sources mean something to its realm alone
					}
					held, taken := owners[k]
					require.False(t, taken, "%v and %v share %v towards %v", held, s.Internal, s.External, s.Remote)
					owners[k] = s.Internal
				}
			},
		})
	})
}
