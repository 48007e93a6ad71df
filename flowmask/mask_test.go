package flowmask

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestKeyAgainstModel compares Apply with the loop over bits: which flows have a
// key, and that two flows have one key exactly when the selected bits agree.
func TestKeyAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMask(t, 296)
		mask := m.build()
		var flows []modelFlow
		for range 6 {
			flows = append(flows, genFlow(t, genFamily(t, m), true))
		}
		// A flow that differs in one selected or unselected bit from the first.
		near := flows[0]
		near.src[rapid.IntRange(1, 3).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		flows = append(flows, near)
		for i, f := range flows {
			text, ok := m.selected(f)
			k := mask.Apply(f.build())
			require.Equal(t, ok, k.IsValid(), "flow %v under %v", f.build(), mask)
			err := mask.Check(f.build())
			if !ok {
				require.ErrorIs(t, err, ErrNoKey)
				require.Equal(t, Key{}, k)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, k, mask.Apply(k.Flow()), "the key's own flow has another key")
			for _, g := range flows[:i] {
				other, ok := m.selected(g)
				// Without address fields both families share keys.
				require.Equal(t, ok && other == text, k == mask.Apply(g.build()), "flows %v and %v under %v", f.build(), g.build(), mask)
			}
		}
	})
}

// TestMaskAccessors compares what a mask says of itself with the model.
func TestMaskAccessors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMask(t, 296)
		mask := m.build()
		text, ok := m.selected(modelFlow{six: m.bits.six})
		require.True(t, ok)
		require.Equal(t, len(text), mask.Ones())
		require.Equal(t, m.set(), mask.Fields())
		require.Equal(t, m.bits.six && m.addressed(), mask.Is6())
		again, err := NewMask(mask.Fields(), mask.Bits())
		require.NoError(t, err)
		require.Equal(t, mask, again)
		parsed, err := ParseMask(mask.String(), mask.Fields())
		require.NoError(t, err)
		require.True(t, mask == parsed, "%v", mask)
		keep := Fields(rapid.IntRange(0, 63).Draw(t, "keep"))
		less := modelMask{fields: map[string]bool{}, bits: m.bits}
		for i, f := range modelFields {
			less.fields[f] = m.fields[f] && keep&(1<<i) != 0
		}
		var bits Bits
		{
			whole := mask.Bits()
			if less.fields["realm"] {
				bits.Realm = whole.Realm
			}
			if less.fields["src-ip"] {
				bits.Src = whole.Src
			}
			if less.fields["proto"] {
				bits.Proto = whole.Proto
			}
			if less.fields["src-port"] {
				bits.SrcPort = whole.SrcPort
			}
			if less.fields["dst-ip"] {
				bits.Dst = whole.Dst
			}
			if less.fields["dst-port"] {
				bits.DstPort = whole.DstPort
			}
		}
		want, err := NewMask(less.set(), bits)
		require.NoError(t, err)
		require.Equal(t, want, mask.Only(keep))
		for i, f := range modelFields {
			if !m.fields[f] {
				continue
			}
			full := FullMask(1<<i, m.bits.six)
			want := map[string]int{"realm": 16, "proto": 8, "src-port": 16, "dst-port": 16, "src-ip": 32, "dst-ip": 32}[f]
			if m.bits.six && want == 32 {
				want = 128
			}
			require.Equal(t, want, full.Ones())
		}
	})
}

// TestMaskText pins the texts of the bug report and of its IPv6 sisters.
func TestMaskText(t *testing.T) {
	for _, c := range []struct{ fields, text string }{
		{"flow:src-ip,proto,dst-ip,dst-port", "255.192.0.127,1,0.0.15.0,3"},
		{"flow:src-ip,proto,src-port,dst-ip", "0.0.15.0,1,3,255.255.255.255"},
		{"flow:src-ip,proto,dst-port", "0.0.0.0,255,65535"},
		{"flow:src-ip,proto,src-port,dst-ip,dst-port", "ffff:ffc0::7f,1,0,::f:0,3"},
		{"flow:dst-ip", "::"},
		{"flow:dst-ip", "::ffff:1.2.3.4"},
		{"flow:realm,proto", "65535,1"},
		{"flow:proto,dst-port", "1,3"},
		{"flow", ""},
	} {
		fields, err := ParseFields(c.fields)
		require.NoError(t, err)
		require.Equal(t, c.fields, fields.String())
		m, err := ParseMask(c.text, fields)
		require.NoError(t, err, c.text)
		require.Equal(t, c.text, m.String())
	}
	m := MustParseMask("255.192.0.127,1,0.0.15.0,3", "src-ip,proto,dst-ip,dst-port")
	require.Equal(t, 10+7+1+4+2, m.Ones())
	require.Equal(t, netip.MustParseAddr("255.192.0.127"), m.Bits().Src)
	require.Equal(t, m, MustParseMask("255.192.0.127,1,0.0.15.0,3", "flow:dst-port,dst-ip,proto,src-ip"), "values keep the order of Fields")
	require.NotEqual(t, MustParseMask("0.0.0.0", "src-ip"), MustParseMask("::", "src-ip"), "two families")
	require.Equal(t, Mask{}, MustParseMask("", "flow"))
	require.Panics(t, func() { MustParseMask("1", "nonsense") })
	require.Panics(t, func() { MustParseMask("x", "proto") })
}

// TestSyntaxErrors: every error names field and position.
func TestSyntaxErrors(t *testing.T) {
	four := SrcIP | Proto | DstIP | DstPort
	for _, c := range []struct {
		fields Fields
		text   string
		field  Fields
		pos    int
		reason string
	}{
		{four, "255.192.0.127,1,0.0.15.0", DstPort, 24, "missing"},
		{four, "", SrcIP, 0, "not an IPv4 or IPv6 address"},
		{four, "255.192.0.127", Proto, 13, "missing"},
		{four, "255.192.0.127,256,0.0.15.0,3", Proto, 14, "0 to 255"},
		{four, "255.192.0.127,tcp,0.0.15.0,3", Proto, 14, "0 to 255"},
		{four, "255.192.0.127,1,0.0.15,3", DstIP, 16, "address"},
		{four, "255.192.0.127,1,::,3", DstIP, 16, "families"},
		{four, "255.192.0.127,1,0.0.15.0,65536", DstPort, 25, "65535"},
		{four, "255.192.0.127,1,0.0.15.0,+3", DstPort, 25, "65535"},
		{four, "255.192.0.127,1,0.0.15.0,03", DstPort, 25, "65535"},
		{four, "255.192.0.127,1,0.0.15.0, 3", DstPort, 25, "65535"},
		{four, "255.192.0.127,1,0.0.15.0,", DstPort, 25, "65535"},
		{four, "255.192.0.127,1,0.0.15.0,3,4", 0, 27, "more values"},
		{four, "255.192.0.127,1,0.0.15.0,3,", 0, 27, "more values"},
		{SrcIP, "fe80::1%eth0", SrcIP, 0, "zone"},
		{SrcIP, "10.0.0.0/8", SrcIP, 0, "address"},
		{0, "1", 0, 0, "more values"},
	} {
		_, err := ParseMask(c.text, c.fields)
		var e *SyntaxError
		require.ErrorAs(t, err, &e, c.text)
		require.ErrorIs(t, err, ErrSyntax)
		require.Equal(t, c.field, e.Field, c.text)
		require.Equal(t, c.pos, e.Pos, c.text)
		require.Contains(t, e.Reason, c.reason)
		if c.field != 0 {
			require.Contains(t, err.Error(), c.field.name())
		}
	}
	for _, c := range []struct {
		text string
		pos  int
	}{{"flow:", 5}, {"flow:src-ip,", 12}, {"flow:src-ip,src-ip", 12}, {"", 0}, {"flow:srcip", 5}, {"Flow:src-ip", 0}, {"src-ip,,proto", 7}} {
		_, err := ParseFields(c.text)
		var e *SyntaxError
		require.ErrorAs(t, err, &e, c.text)
		require.Equal(t, c.pos, e.Pos, c.text)
	}
	_, err := ParseFields(strings.Repeat("x", 10_000))
	require.Less(t, len(err.Error()), 400, "messages are bounded")
}

// TestNewMaskRefuses: bits without their field, two families.
func TestNewMaskRefuses(t *testing.T) {
	v4, v6 := netip.MustParseAddr("0.0.0.1"), netip.MustParseAddr("::1")
	for _, c := range []struct {
		fields Fields
		bits   Bits
		field  Fields
	}{
		{0, Bits{Realm: 1}, Realm},
		{0, Bits{Proto: 1}, Proto},
		{DstPort, Bits{SrcPort: 1}, SrcPort},
		{SrcPort, Bits{DstPort: 1}, DstPort},
		{DstIP, Bits{Src: v4}, SrcIP},
		{SrcIP, Bits{Dst: v4}, DstIP},
		{SrcIP | DstIP, Bits{Src: v4, Dst: v6}, DstIP},
		{1 << 7, Bits{}, 0},
	} {
		_, err := NewMask(c.fields, c.bits)
		var e *SyntaxError
		require.ErrorAs(t, err, &e)
		require.Equal(t, c.field, e.Field)
		require.NotContains(t, err.Error(), "position")
	}
	m, err := NewMask(SrcIP|DstIP, Bits{Dst: v6})
	require.NoError(t, err)
	require.Equal(t, "::,::1", m.String())
	m, err = NewMask(SrcIP, Bits{})
	require.NoError(t, err)
	require.Equal(t, "0.0.0.0", m.String())
}

// TestFlowLacksField is the table of flows that lack a field: what they are under a mask.
func TestFlowLacksField(t *testing.T) {
	a, b := netip.MustParseAddrPort("100.64.0.5:7"), netip.MustParseAddrPort("192.0.2.1:3")
	full := NewFlow(0, 17, a, b)
	ports := MustParseMask("255.255.255.255,3", "src-ip,dst-port")
	noBits := MustParseMask("255.255.255.255,0", "src-ip,dst-port")
	six := MustParseMask("::ffff,3", "src-ip,dst-port")
	family := MustParseMask("0.0.0.0", "dst-ip")
	for _, c := range []struct {
		name  string
		mask  Mask
		flow  Flow
		text  string // of the key's flow under the mask's fields
		field Fields // of the error when there is no key
	}{
		{"all present", ports, full, "100.64.0.5,3", 0},
		{"ICMP: no port reads as 0, as in ipfw", ports, full.Without(SrcPort | DstPort), "100.64.0.5,0", 0},
		{"ICMP query: identifier as source port", ports, full.Without(DstPort), "100.64.0.5,0", 0},
		{"fragment: an unknown port has no key", ports, full.WithUnknown(SrcPort | DstPort), "", DstPort},
		{"fragment: no bit of the port is selected", noBits, full.WithUnknown(DstPort), "100.64.0.5,0", 0},
		{"fragment: only the other port is unknown", ports, full.WithUnknown(SrcPort), "100.64.0.5,3", 0},
		{"other family", six, full, "", SrcIP},
		{"other family, no bit selected", family, NewFlow(0, 6, netip.AddrPortFrom(netip.IPv6Loopback(), 1), netip.AddrPort{}), "", DstIP},
		{"no addresses at all", ports, NewFlow(0, 6, netip.AddrPort{}, netip.AddrPort{}), "", 0},
		{"two families", ports, NewFlow(0, 6, a, netip.AddrPortFrom(netip.IPv6Loopback(), 1)), "", 0},
		{"one address reads as unspecified", ports, NewFlow(0, 6, netip.AddrPort{}, b), "0.0.0.0,3", 0},
		{"mapped is IPv4", ports, NewFlow(0, 6, netip.MustParseAddrPort("[::ffff:100.64.0.5]:1"), b), "100.64.0.5,3", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := c.mask.Apply(c.flow)
			if c.text != "" {
				require.Equal(t, c.text, k.Flow().Text(c.mask.Fields()))
				require.NoError(t, c.mask.Check(c.flow))
				return
			}
			require.False(t, k.IsValid())
			var e *KeyError
			require.ErrorAs(t, c.mask.Check(c.flow), &e)
			require.Equal(t, c.field, e.Field)
			require.NotEmpty(t, e.Error())
		})
	}
	require.Equal(t, Key{}, Mask{}.Apply(Flow{}), "the zero flow has no key under the zero mask")
	require.Equal(t, Mask{}.Apply(full), Mask{}.Apply(NewFlow(3, 6, netip.AddrPortFrom(netip.IPv6Loopback(), 1), netip.AddrPort{})),
		"under the zero mask all flows have one key")
}

// FuzzParseMask: no input panics; what parses prints and parses again to the same mask.
func FuzzParseMask(f *testing.F) {
	f.Add("255.192.0.127,1,0.0.15.0,3", byte(SrcIP|Proto|DstIP|DstPort)) // the bug report, outbound
	f.Add("0.0.15.0,1,3,255.255.255.255", byte(SrcIP|Proto|SrcPort|DstIP))
	f.Add("ffff:ffc0::7f,1,0,::f:0,3", byte(AllFields&^Realm)) // IPv6
	f.Add("65535,1", byte(Realm|Proto))
	f.Add("::ffff:1.2.3.4", byte(DstIP)) // mapped bits stay IPv6
	f.Add("", byte(0))
	f.Add("1,,3", byte(Proto|SrcPort))
	f.Fuzz(func(t *testing.T, s string, set byte) {
		m, err := ParseMask(s, Fields(set))
		if err != nil {
			var e *SyntaxError
			if !errors.As(err, &e) || e.Pos < 0 || e.Pos > len(s) || err.Error() == "" {
				t.Fatalf("ParseMask(%q, %v): %v", s, Fields(set), err)
			}
			return
		}
		again, err := ParseMask(m.String(), m.Fields())
		if err != nil || again != m {
			t.Fatalf("%q prints as %q, which is %v, %v", s, m.String(), again, err)
		}
	})
}

// FuzzParseFlow: as FuzzParseMask, for the keys of entries and for sets of fields.
func FuzzParseFlow(f *testing.F) {
	f.Add("100.64.0.5,tcp,192.0.2.1,443", "flow:src-ip,proto,dst-ip,dst-port")
	f.Add("2001:db8::88,17,2001:db8::99,80", "flow:dst-port,src-ip,proto,dst-ip") // another order of fields
	f.Add("7,1", "realm,proto")
	f.Add("", "flow")
	f.Add("::ffff:1.2.3.4", "src-ip") // not unmapped
	f.Fuzz(func(t *testing.T, s, fields string) {
		set, err := ParseFields(fields)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatal(err)
			}
			return
		}
		if again, err := ParseFields(set.String()); err != nil || again != set {
			t.Fatalf("%q prints as %q, which is %v, %v", fields, set, again, err)
		}
		v, err := ParseFlow(s, set)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatal(err)
			}
			return
		}
		if set == 0 {
			return
		}
		again, err := ParseFlow(v.Text(set), set)
		if err != nil || again != v {
			t.Fatalf("%q prints as %q, which is %v, %v", s, v.Text(set), again, err)
		}
	})
}
