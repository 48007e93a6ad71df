package deterministic_test

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/portblock"
)

// The worked example of RFC 7422 section 2.3.
func ExampleNew() {
	m, err := deterministic.New(deterministic.Config{
		Internal:      deterministic.Spans("198.51.100.0/28"),
		External:      deterministic.Spans("192.0.2.1"),
		DynamicFactor: 2,
		MaxPorts:      5040,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ports, _ := m.Forward(netip.MustParseAddr("198.51.100.2"))
	fmt.Println(ports)
	fmt.Println("overflow:", m.Overflow(ports.Len(), 100), "blocks of 100 ports")
	for r := range m.Dynamic(ports.External()) {
		fmt.Println("dynamic:", r)
	}
	// Output:
	// 192.0.2.1:5056-9087
	// overflow: 10 blocks of 100 ports
	// dynamic: 57472-65535
}

// All faults of a configuration are reported together.
func ExampleNew_faults() {
	_, err := deterministic.New(deterministic.Config{
		Internal:     deterministic.Spans("10.0.0.0/24", "10.0.0.8-10.0.0.9"),
		SharingRatio: -3,
	})
	fmt.Println(err)
	// Output:
	// deterministic: Internal[0] and Internal[1] overlap: both claim the internal addresses 10.0.0.8-10.0.0.9 in realm 0
	// deterministic: External = empty: at least one span is needed; list the external addresses
	// deterministic: SharingRatio = -3: between 0 and 65536; use 0 for the default
}

// A reverse look-up gives the subscriber or a reason, never a wrong answer.
func ExampleMap_Reverse() {
	m, _ := deterministic.New(deterministic.Config{
		Internal:      deterministic.Spans("198.51.100.0/28"),
		External:      deterministic.Spans("192.0.2.1"),
		DynamicFactor: 2,
	})
	for _, port := range []uint16{2001, 58204, 80} {
		sub, err := m.Reverse(netip.MustParseAddr("192.0.2.1"), port)
		switch {
		case errors.Is(err, deterministic.ErrDynamic):
			fmt.Println(port, "look in the log")
		case errors.Is(err, deterministic.ErrReserved):
			fmt.Println(port, "nobody ever has it")
		case errors.Is(err, deterministic.ErrUnused): // ErrEmptySlot or ErrRemainder
			fmt.Println(port, err)
		default:
			fmt.Println(port, sub)
		}
	}
	// Output:
	// 2001 198.51.100.1/32
	// 58204 look in the log
	// 80 nobody ever has it
}

// NAT64 and DS-Lite: a subscriber is an IPv6 prefix.
func ExampleMap_Forward_ipv6() {
	m, _ := deterministic.New(deterministic.Config{
		Internal:       deterministic.Spans("2001:db8::/40"),
		SubscriberBits: 56,
		External:       deterministic.Spans("192.0.2.0/25", "203.0.113.0/25"),
	})
	ports, _ := m.Forward(netip.MustParseAddr("2001:db8:80:4200::1"))
	fmt.Println(m.Ratio(), ports)
	sub, _ := m.Reverse(ports.External(), ports.Port(0))
	fmt.Println(sub)
	// Output:
	// 256 203.0.113.0:17656-17907
	// 2001:db8:80:4200::/56
}

// Sets that are not contiguous have the same methods as those that are.
func ExamplePorts() {
	m, _ := deterministic.New(deterministic.Config{
		Internal:   deterministic.Spans("10.0.0.0-10.0.0.255"),
		External:   deterministic.Spans("192.0.2.18"),
		Algorithm:  deterministic.MAP,
		PSIDOffset: 6,
		PSIDLen:    8,
	})
	ports, _ := m.Forward(netip.MustParseAddr("10.0.0.52")) // PSID 0x34
	fmt.Println(ports.Len(), ports.At(0), ports.At(4))
	fmt.Println(ports.Index(ports.External(), 64723))
	fmt.Println(ports)
	// Output:
	// 252 192.0.2.18:1232 192.0.2.18:2256
	// 251 true
	// 192.0.2.18:1232-1235,2256-2259,3280-3283,4304-4307,5328-5331,6352-6355,7376-7379,8400-8403,... (252 ports)
}

// The engine needs the ports of one address only, of whatever origin.
func ExamplePortSet() {
	m, _ := deterministic.New(deterministic.Config{
		Internal:  deterministic.Spans("10.0.0.0-10.0.0.62"),
		External:  deterministic.Spans("192.0.2.1"),
		Algorithm: deterministic.Staggered,
	})
	ports, _ := m.Forward(netip.MustParseAddr("10.0.0.3"))
	mask, _ := portblock.MaskSet(0x0400, 0x1400)
	for _, set := range []deterministic.PortSet{ports.On(ports.External()), mask} {
		first, _ := set.At(0)
		next, _ := set.At(1)
		fmt.Println(set.Len(), first, next)
	}
	// Output:
	// 1024 1027 1090
	// 16384 1024 1025
}

// RFC 7597 appendix A, example 1 and 2.
func ExampleRule() {
	rule, _ := deterministic.NewRule(deterministic.RuleConfig{
		IPv6:       netip.MustParsePrefix("2001:db8::/40"),
		IPv4:       netip.MustParsePrefix("192.0.2.0/24"),
		EABits:     16,
		PSIDOffset: 6,
	})
	ce, _ := rule.CE(netip.MustParseAddr("2001:db8:12:3400::1"))
	fmt.Printf("%v PSID %#x %v\n", ce.IPv4.Addr(), ce.PSID, ce.Address)
	ce, _ = rule.Reverse(netip.MustParseAddr("192.0.2.18"), 1232)
	fmt.Println(ce.EndUser)
	fmt.Println(rule.CheckSource(ce.Address, netip.MustParseAddr("192.0.2.18"), 1236))
	// Output:
	// 192.0.2.18 PSID 0x34 2001:db8:12:3400:0:c000:212:34
	// 2001:db8:12:3400::/56
	// deterministic: source does not match its MAP address
}

// Maps that claim the same addresses are refused with both names.
func ExampleNewSet() {
	a, _ := deterministic.New(deterministic.Config{Name: "north", Internal: deterministic.Spans("10.0.0.0/24"), External: deterministic.Spans("192.0.2.0/31")})
	b, _ := deterministic.New(deterministic.Config{Name: "south", Internal: deterministic.Spans("10.0.1.0/24"), External: deterministic.Spans("192.0.2.1")})
	_, err := deterministic.NewSet(a, b)
	fmt.Println(err)
	// Output:
	// deterministic: map "north" and map "south" overlap: both claim the external addresses 192.0.2.1-192.0.2.1 in realm 0
}

// An archive answers years later, without the engine.
func ExampleHistory() {
	cfg := deterministic.Config{Name: "edge", Internal: deterministic.Spans("10.0.0.0-10.0.0.3"), External: deterministic.Spans("192.0.2.1")}
	var running deterministic.History
	_, _ = running.Begin(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), cfg)
	cfg.SharingRatio = 8
	_, _ = running.Begin(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), cfg)
	file, _ := running.AppendText(nil)

	archive, _ := deterministic.ParseHistory(file)
	for _, month := range []time.Month{2, 4} {
		at := time.Date(2026, month, 1, 0, 0, 0, 0, time.UTC)
		a, err := archive.Reverse(0, netip.MustParseAddr("192.0.2.1"), 20000, at)
		fmt.Println(a.Map, a.Epoch, a.Subscriber, err)
	}
	// Output:
	// edge 1 10.0.0.1/32 <nil>
	// edge 2 10.0.0.2/32 <nil>
}

// The other direction names the epoch, too.
func ExampleHistory_ForwardAnswer() {
	var h deterministic.History
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	_, _ = h.Begin(begin, deterministic.Config{Name: "edge", Internal: deterministic.Spans("10.0.0.0-10.0.0.3"), External: deterministic.Spans("192.0.2.1")})
	a, ports, err := h.ForwardAnswer(0, netip.MustParseAddr("10.0.0.2"), begin.AddDate(5, 0, 0))
	fmt.Println(a.Map, a.Epoch, a.Subscriber, ports, err)
	// Output:
	// edge 1 10.0.0.2/32 192.0.2.1:33280-49407 <nil>
}

// Ports say which map of a set gave them.
func ExamplePorts_Map() {
	a, _ := deterministic.New(deterministic.Config{Name: "north", Internal: deterministic.Spans("10.0.0.0/24"), External: deterministic.Spans("192.0.2.0/31")})
	b, _ := deterministic.New(deterministic.Config{Name: "south", Internal: deterministic.Spans("10.0.1.0/24"), External: deterministic.Spans("192.0.2.2/31")})
	set, _ := deterministic.NewSet(a, b)
	ports, _ := set.Forward(0, netip.MustParseAddr("10.0.1.7"))
	fmt.Println(ports.Map().Name(), ports)
	// Output:
	// south 192.0.2.2:4072-4579
}

// Before a change: which ports would change owner while they should rest?
func ExampleProve() {
	change := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	old := deterministic.Epoch{Until: change, Config: deterministic.Config{
		Internal: deterministic.Spans("10.0.0.0-10.0.0.3"), External: deterministic.Spans("192.0.2.1")}}
	next := deterministic.Epoch{From: change, Config: old.Config}
	next.Config.SharingRatio = 8
	p, _ := deterministic.Prove(old, next, 2*time.Minute)
	fmt.Println(p.Safe(), p.Same, p.Moved, p.Freed, p.Taken)
	fmt.Println(p.First.Ports, p.First.Old.Subscriber, "to", p.First.New.Subscriber)
	next.From = change.Add(2 * time.Minute)
	p, _ = deterministic.Prove(old, next, 2*time.Minute)
	fmt.Println(p.Safe())
	// Output:
	// false 8064 24192 32256 0
	// 9088-17151 10.0.0.0/32 to 10.0.0.1/32
	// true
}

// The log line of RFC 7422 section 3.
func ExampleAppendLogLine() {
	line, _ := deterministic.AppendLogLine(nil, time.Date(2000, 10, 11, 14, 32, 52, 0, time.UTC), deterministic.Config{
		Internal:      deterministic.Spans("198.51.100.0/28"),
		External:      deterministic.Spans("192.0.2.0/32"),
		DynamicFactor: 2,
		MaxPorts:      5040,
		Reserved:      []portblock.Range{portblock.MustParseRange("1-1023"), portblock.RangeOf(5004, 5004), portblock.RangeOf(5060, 5060)},
	})
	fmt.Println(string(line))
	// Output:
	// [Wed Oct 11 14:32:52 2000]:198.51.100.0:28:192.0.2.0:32:2:5040:0:1-1023,5004,5060
}

// Static NAT with ports: the n-th endpoint inside is the n-th outside.
func ExampleNewStatic() {
	s, _ := deterministic.NewStatic(deterministic.StaticConfig{
		Internal: []deterministic.Endpoints{{Addrs: deterministic.MustParseSpan("10.0.0.0/30"), Ports: portblock.RangeOf(8000, 8001)}},
		External: []deterministic.Endpoints{{Addrs: deterministic.MustParseSpan("192.0.2.1"), Ports: portblock.RangeOf(80, 87)}},
	})
	out, _ := s.Forward(netip.MustParseAddrPort("10.0.0.2:8001"))
	in, _ := s.Reverse(netip.MustParseAddrPort("192.0.2.1:80"))
	fmt.Println(out, in)
	// Output:
	// 192.0.2.1:85 10.0.0.0:8000
}

// Every port of the external addresses is counted once.
func ExampleMap_Stats() {
	m, _ := deterministic.New(deterministic.Config{
		Internal: deterministic.Spans("10.0.0.0-10.0.0.99"), External: deterministic.Spans("192.0.2.0/30")})
	s := m.Stats()
	fmt.Println(s.MinPorts, s.MaxPorts)
	fmt.Println(s.Reserved, s.Assigned, s.Dynamic, s.Empty, s.Remainder, "of", s.Ports)
	// Output:
	// 2580 2581
	// 4096 258048 0 0 0 of 262144
}
