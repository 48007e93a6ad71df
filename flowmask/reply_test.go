package flowmask

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestBug219316_NatinFollowsFromNatout: natin follows from natout.
func TestBug219316_NatinFollowsFromNatout(t *testing.T) {
	out := MustParseMask(reportMask, reportFields)
	in, err := out.Reply(ReplyPlan{})
	require.NoError(t, err)
	require.Equal(t, "flow:src-ip,proto,src-port,dst-ip", in.Fields().String())
	require.Equal(t, "0.0.15.0,1,3,255.255.255.255", in.String())
	in, err = out.Reply(ReplyPlan{External: netip.MustParseAddr("0.0.0.127")})
	require.NoError(t, err)
	require.Equal(t, "0.0.15.0,1,3,0.0.0.127", in.String())
}

// TestReplyMasks is the table of what can be inverted, and what stands in the way.
func TestReplyMasks(t *testing.T) {
	v6ext := ReplyPlan{External: netip.MustParseAddr("::ffff:ffff")}
	for _, c := range []struct {
		name, fields, mask string
		plan               ReplyPlan
		want               string // "fields mask"
		fault              Fields
	}{
		{"remote side only: as it is", "proto,dst-ip,dst-port", "255,0.0.15.0,3", ReplyPlan{}, "flow:src-ip,proto,src-port 0.0.15.0,255,3", 0},
		{"no addresses at all", "proto,dst-port", "1,3", ReplyPlan{}, "flow:proto,src-port 1,3", 0},
		{"the zero mask", "flow", "", ReplyPlan{}, "flow ", 0},
		{"source address: the external address tells", "src-ip", "0.0.0.127", ReplyPlan{}, "flow:dst-ip 255.255.255.255", 0},
		{"source address of which no bit is selected", "src-ip,proto", "0.0.0.0,1", ReplyPlan{}, "flow:proto 1", 0},
		{"IPv6", "src-ip,dst-ip", "::7f,::f:0", ReplyPlan{}, "flow:src-ip,dst-ip ::f:0,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0},
		{"some bits of IPv6", "src-ip,dst-ip", "::7f,::f:0", v6ext, "flow:src-ip,dst-ip ::f:0,::ffff:ffff", 0},
		{"external address asked for", "proto", "1", ReplyPlan{External: netip.MustParseAddr("255.255.255.255")}, "flow:proto,dst-ip 1,255.255.255.255", 0},
		{"source port", "src-ip,src-port", "0.0.0.127,3", ReplyPlan{}, "", SrcPort},
		{"source port of which no bit is selected", "src-ip,src-port", "0.0.0.127,0", ReplyPlan{}, "flow:dst-ip 255.255.255.255", 0},
		{"source port that the NAT keeps", "src-ip,src-port", "0.0.0.127,1", ReplyPlan{KeepsPort: true}, "flow:dst-ip,dst-port 255.255.255.255,1", 0},
		{"source port that the address tells", "src-port", "3", ReplyPlan{Tells: SrcPort}, "flow:dst-ip 255.255.255.255", 0},
		{"source port kept, no address needed", "src-port", "3", ReplyPlan{KeepsPort: true}, "flow:dst-port 3", 0},
		{"realm", "realm,proto", "1,1", ReplyPlan{}, "", Realm},
		{"realm that the address tells", "realm,proto", "1,1", ReplyPlan{Tells: Realm}, "flow:proto,dst-ip 1,255.255.255.255", 0},
		{"no bit of the address may tell", "src-ip", "0.0.0.127", ReplyPlan{External: netip.MustParseAddr("0.0.0.0")}, "", SrcIP},
		{"two families", "src-ip,dst-ip", "0.0.0.127,0.0.15.0", v6ext, "", DstIP},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := MustParseMask(c.mask, c.fields).Reply(c.plan)
			if c.fault != 0 {
				var e *ReplyError
				require.ErrorAs(t, err, &e)
				require.ErrorIs(t, err, ErrNotInvertible)
				require.Equal(t, c.fault, e.Field)
				require.NotEmpty(t, e.Error())
				require.Equal(t, Mask{}, in)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, in.Fields().String()+" "+in.String())
		})
	}
}

// replyModel is the golden NAT of the property below: a flow's instance is the text of its selected bits,
// and instances get external addresses from a map.
type replyModel struct {
	mask     modelMask
	external map[string]netip.Addr
}

// replyTo returns the reply as a NAT's outside sees it, from the model's fields.
func replyTo(f modelFlow, external netip.Addr, port uint16) Flow {
	remote := netip.AddrPortFrom(f.addr(f.dst), f.dport)
	v := NewFlow(0, f.proto, remote, netip.AddrPortFrom(external, port))
	if f.dstate == missing {
		v = v.Without(SrcPort)
	}
	if f.sstate == missing {
		v = v.Without(DstPort)
	}
	return v
}

// TestReplySelectsRequestsInstance is the property of this package: for random masks, plans, instances and
// external addresses, either the reply table is refused, with two instances that replies indeed cannot tell
// apart, or every reply selects the instance that its request selected.
func TestReplySelectsRequestsInstance(t *testing.T) {
	accepted, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		m := genMask(t, 24)
		mask := m.build()
		plan := ReplyPlan{KeepsPort: rapid.Bool().Draw(t, "keeps port")}
		if rapid.Bool().Draw(t, "tells") {
			plan.Tells = SrcPort | Realm
		}
		pool := rapid.SampledFrom([]uint32{1, 2, 1 << 16}).Draw(t, "addresses")
		address := func(n uint32) netip.Addr {
			if m.bits.six {
				a := [16]byte{0x20, 1}
				binary.BigEndian.PutUint32(a[12:], n)
				return netip.AddrFrom16(a)
			}
			a := [4]byte{198, 18}
			binary.BigEndian.PutUint16(a[2:], uint16(n))
			return netip.AddrFrom4(a)
		}
		model := replyModel{mask: m, external: map[string]netip.Addr{}}
		out := NewTable[string](mask, [16]byte{1})
		var flows []modelFlow
		for range rapid.IntRange(1, 12).Draw(t, "flows") {
			f := genFlow(t, m.bits.six, true)
			text, ok := m.selected(f)
			if !ok {
				continue
			}
			flows = append(flows, f)
			if _, known := model.external[text]; known {
				continue
			}
			model.external[text] = address(rapid.Uint32Range(0, pool-1).Draw(t, "external"))
			require.NoError(t, out.Insert(f.build(), text))
		}
		in, err := ReplyTable(out, plan, [16]byte{2}, func(_ Flow, instance string) netip.Addr { return model.external[instance] })
		if err != nil {
			refused++
			var field *ReplyError
			if ok := errorAs(err, &field); ok {
				// Only what a reply does not carry, and the plan does not tell, is a reason.
				switch field.Field {
				case SrcPort:
					require.True(t, m.bits.sport != 0 && !plan.KeepsPort && plan.Tells == 0)
				case Realm:
					require.True(t, m.bits.realm != 0 && plan.Tells == 0)
				default:
					t.Fatalf("unexpected %v", err)
				}
				return
			}
			var clash *ReplyConflictError
			require.ErrorAs(t, err, &clash)
			require.ErrorIs(t, err, ErrReplyConflict)
			require.NotEmpty(t, clash.Error())
			a, b := mask.Apply(clash.First), mask.Apply(clash.Second)
			require.NotEqual(t, a, b, "two instances")
			require.Equal(t, clash.FirstAddr, clash.SecondAddr, "all bits of the external address tell")
			require.Equal(t, clash.Reply.Apply(ReplyFlow(clash.First, addrPort(clash.FirstAddr, clash.First.SrcPort()))),
				clash.Reply.Apply(ReplyFlow(clash.Second, addrPort(clash.SecondAddr, clash.Second.SrcPort()))))
			return
		}
		accepted++
		for _, f := range flows {
			want, _ := m.selected(f)
			external := model.external[want]
			// Any external port; where the plan keeps bits of it, these are the internal port's.
			port := rapid.Uint16().Draw(t, "external port")
			if plan.KeepsPort {
				port = port&^m.bits.sport | f.sport&m.bits.sport
			}
			reply := replyTo(f, external, port)
			if f.dstate != unknown && f.sstate != unknown {
				require.Equal(t, reply, ReplyFlow(f.build(), addrPort(external, port)))
			}
			got, ok := in.Lookup(ReplyFlow(f.build(), addrPort(external, port)))
			require.True(t, ok, "no instance for the reply to %v under %v", f.build(), mask)
			require.Equal(t, want, got, "reply to %v under %v", f.build(), mask)
		}
	})
	require.NotZero(t, accepted)
	require.NotZero(t, refused)
	t.Logf("accepted %d, refused %d", accepted, refused)
}

// TestReplyIndex: one slice serves both directions, for random masks, if the external address carries the
// bits of the internal one.
func TestReplyIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMask(t, MaxIndexBits)
		m.fields["realm"], m.bits.realm = false, 0
		x, err := NewIndex(m.build())
		require.NoError(t, err)
		plan := ReplyPlan{KeepsPort: true}
		f := genFlow(t, m.bits.six, true)
		want, ok := x.Of(f.build())
		// Spread the selected bits of the source address over other bits of the external one: the same
		// number of bits, at drawn places, highest first.
		var inside []int
		width := 32
		if m.bits.six {
			width = 128
		}
		if m.fields["src-ip"] {
			for i := range width {
				if m.bits.src[i/8]>>(7-i%8)&1 != 0 {
					inside = append(inside, i)
				}
			}
		}
		var mask, external [16]byte
		copy(external[:], []byte{0x20, 9, 8, 7})
		free := make([]int, width)
		for i := range free {
			free[i] = i
		}
		places := rapid.Permutation(free).Draw(t, "places")[:len(inside)]
		order := make([]bool, width)
		for _, p := range places {
			order[p] = true
		}
		next := 0
		for p, used := range order {
			if !used {
				continue
			}
			mask[p/8] |= 1 << (7 - p%8)
			external[p/8] &^= 1 << (7 - p%8)
			external[p/8] |= f.src[inside[next]/8] >> (7 - inside[next]%8) & 1 << (7 - p%8)
			next++
		}
		if len(inside) > 0 {
			plan.External = m.bits.addr(mask)
		}
		in, err := x.Reply(plan)
		require.NoError(t, err)
		require.Equal(t, x.Len(), in.Len())
		port := rapid.Uint16().Draw(t, "port")&^m.bits.sport | f.sport&m.bits.sport
		got, gotOK := in.Of(ReplyFlow(f.build(), addrPort(f.addr(external), port)))
		require.Equal(t, ok, gotOK)
		require.Equal(t, want, got, "flow %v under %v, external %v", f.build(), m.build(), f.addr(external))
		i := rapid.Uint32().Draw(t, "i") & uint32(x.Len()-1)
		back, _ := in.Of(in.Flow(i))
		require.Equal(t, i, back)
	})
}

// TestReplyIndexRefuses: not as many bits, realm, port.
func TestReplyIndexRefuses(t *testing.T) {
	for _, c := range []struct {
		mask, fields string
		plan         ReplyPlan
		field        Fields
	}{
		{"0.0.0.127", "src-ip", ReplyPlan{External: netip.MustParseAddr("0.0.0.63")}, SrcIP},
		{"1", "proto", ReplyPlan{External: netip.MustParseAddr("0.0.0.1")}, SrcIP},
		{"0.0.0.127,3", "src-ip,src-port", ReplyPlan{}, SrcPort},
		{"0.0.0.127,3", "src-ip,src-port", ReplyPlan{Tells: SrcPort}, SrcPort},
		{"1,1", "realm,proto", ReplyPlan{Tells: Realm}, Realm},
		{"0.0.0.127,0.0.1.0", "src-ip,dst-ip", ReplyPlan{External: netip.MustParseAddr("::7f")}, DstIP},
	} {
		x, err := NewIndex(MustParseMask(c.mask, c.fields))
		require.NoError(t, err)
		_, err = x.Reply(c.plan)
		var e *ReplyError
		require.ErrorAs(t, err, &e, "%v", c)
		require.Equal(t, c.field, e.Field)
	}
}

// TestReplyTableRefuses: external addresses that are none, collisions, bounds.
func TestReplyTableRefuses(t *testing.T) {
	out := NewTable[int](MustParseMask(reportMask, reportFields), [16]byte{})
	for i, f := range reportInstances() {
		require.NoError(t, out.Insert(f, i))
	}
	_, err := ReplyTable(out, ReplyPlan{}, [16]byte{}, func(Flow, int) netip.Addr { return netip.Addr{} })
	require.ErrorIs(t, err, ErrNoKey)
	_, err = ReplyTable(out, ReplyPlan{}, [16]byte{}, func(Flow, int) netip.Addr { return netip.IPv6Loopback() })
	require.ErrorIs(t, err, ErrNoKey)
	// 127 addresses for 128 clients' classes: two of them share one.
	at := func(n uint32) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n % 127)}) }
	_, err = ReplyTable(out, ReplyPlan{}, [16]byte{}, func(f Flow, _ int) netip.Addr { return at(uint32(f.a>>32) & 127) })
	require.ErrorIs(t, err, ErrReplyConflict)
	joined, ok := err.(interface{ Unwrap() []error })
	require.True(t, ok)
	require.Len(t, joined.Unwrap(), maxReported)
	// One value for the two that share an address: then it does not matter.
	for _, f := range reportInstances() {
		_, err := out.Replace(f, int(f.a>>32&127)%127)
		require.NoError(t, err)
	}
	in, err := ReplyTable(out, ReplyPlan{}, [16]byte{}, func(f Flow, _ int) netip.Addr { return at(uint32(f.a>>32) & 127) })
	require.NoError(t, err)
	require.Equal(t, 127*128, in.Len())
}

// TestBug219316_ReplySelectsInstance runs the report's configuration: 16,384 instances, flows of clients, replies from everywhere.
func TestBug219316_ReplySelectsInstance(t *testing.T) {
	out := NewTable[int](MustParseMask(reportMask, reportFields), [16]byte{1})
	for i, f := range reportInstances() {
		require.NoError(t, out.Insert(f, i))
	}
	external := func(f Flow, _ int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(f.a >> 32 & 127)}) }
	in, err := ReplyTable(out, ReplyPlan{}, [16]byte{2}, external)
	require.NoError(t, err)
	require.Equal(t, 16384, in.Len())
	x, err := NewIndex(MustParseMask(reportSelect, reportFields))
	require.NoError(t, err)
	rx, err := x.Reply(ReplyPlan{})
	require.NoError(t, err)
	for i, f := range reportFlows(20_000, false) {
		want, ok := out.Lookup(f)
		require.True(t, ok)
		r := ReplyFlow(f, addrPort(external(f, 0), uint16(i)))
		got, ok := in.Lookup(r)
		require.True(t, ok)
		require.Equal(t, want, got)
		a, _ := x.Of(f)
		b, _ := rx.Of(r)
		require.Equal(t, a, b)
	}
	_, ok := out.Lookup(FlowFrom4(0, 6, [4]byte{10, 0, 0, 1}, [4]byte{192, 0, 2, 1}, 1, 80))
	require.False(t, ok, "a client outside 100.64.0.0/10 has no instance")
}

// TestReplyFlowOfNothing: no flow, no external address, other family.
func TestReplyFlowOfNothing(t *testing.T) {
	f := reportFlows(1, false)[0]
	require.Equal(t, Flow{}, ReplyFlow(Flow{}, addrPort(f.Src(), 1)))
	require.Equal(t, Flow{}, ReplyFlow(f, netip.AddrPort{}))
	require.Equal(t, Flow{}, ReplyFlow(f, netip.MustParseAddrPort("[::1]:1")))
	r := ReplyFlow(f.WithUnknown(SrcPort).Without(DstPort), netip.MustParseAddrPort("192.0.2.9:77"))
	require.Equal(t, DstPort, r.Unknown())
	require.Equal(t, SrcPort, r.Missing())
	require.Zero(t, r.DstPort())
}
