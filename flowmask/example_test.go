package flowmask_test

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/blocknat/blocknat/flowmask"
)

// flow is what a packet parser would hand over.
func flow(proto uint8, src, dst string) flowmask.Flow {
	return flowmask.NewFlow(0, proto, netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst))
}

// The packet, the mask and the key of the package's drawing.
func Example() {
	mask, err := flowmask.ParseMask("255.192.0.127,1,0.0.15.0,3",
		flowmask.SrcIP|flowmask.Proto|flowmask.DstIP|flowmask.DstPort)
	if err != nil {
		panic(err)
	}
	packet := flow(17, "100.64.9.133:40000", "198.51.103.77:443")
	key := mask.Apply(packet)
	fmt.Println(mask.Fields(), mask)
	fmt.Println(key.Flow().Text(mask.Fields()))

	other := flow(17, "100.127.0.5:1", "203.0.7.1:7") // another client, server and port
	fmt.Println("the same instance:", mask.Apply(other) == key)
	// Output:
	// flow:src-ip,proto,dst-ip,dst-port 255.192.0.127,1,0.0.15.0,3
	// 100.64.0.5,1,0.0.7.0,3
	// the same instance: true
}

// The configuration of the bug report: 128 external addresses, 2 protocols, 16 classes of
// destination and 4 of its port are 16,384 NAT instances; natin follows from natout.
func ExampleReplyTable() {
	mask := flowmask.MustParseMask("255.192.0.127,1,0.0.15.0,3", "flow:src-ip,proto,dst-ip,dst-port")
	natout := flowmask.NewTable[int](mask, [16]byte{})
	for client := range 128 {
		for proto := range 2 {
			for class := range 16 {
				for port := range 4 {
					entry := fmt.Sprintf("100.64.0.%d,%d,0.0.%d.0,%d", client, proto, class, port)
					f, err := flowmask.ParseFlow(entry, mask.Fields())
					if err == nil {
						err = natout.Insert(f, natout.Len()) // the number of the instance
					}
					if err != nil {
						panic(err)
					}
				}
			}
		}
	}
	external := func(_ flowmask.Flow, instance int) netip.Addr {
		return netip.AddrFrom4([4]byte{192, 0, 2, byte(instance / (2 * 16 * 4))})
	}
	natin, err := flowmask.ReplyTable(natout, flowmask.ReplyPlan{}, [16]byte{}, external)
	if err != nil {
		panic(err)
	}
	fmt.Println(natout.Len(), "instances;", natin.Mask().Fields(), natin.Mask())

	request := flow(17, "100.64.9.133:40000", "198.51.103.77:443")
	out, _ := natout.Lookup(request)
	answer := flow(17, "198.51.103.77:443", external(request, out).String()+":5000")
	in, _ := natin.Lookup(answer)
	fmt.Println("request", out, "answer", in)

	_, ok := natout.Lookup(flow(17, "10.0.0.1:40000", "198.51.103.77:443"))
	fmt.Println("a client outside 100.64.0.0/10:", ok)
	// Output:
	// 16384 instances; flow:src-ip,proto,src-port,dst-ip 0.0.15.0,1,3,255.255.255.255
	// request 735 answer 735
	// a client outside 100.64.0.0/10: false
}

// Without the prefix that all clients share, the report's mask selects 14 bits: a
// slice of 16,384 serves as table, for both directions.
func ExampleIndex() {
	mask := flowmask.MustParseMask("0.0.0.127,1,0.0.15.0,3", "flow:src-ip,proto,dst-ip,dst-port")
	out, err := flowmask.NewIndex(mask)
	if err != nil {
		panic(err)
	}
	// The last seven bits of the external address are those of the client's address.
	in, err := out.Reply(flowmask.ReplyPlan{External: netip.MustParseAddr("0.0.0.127")})
	if err != nil {
		panic(err)
	}
	instances := make([]string, out.Len())
	i, _ := out.Of(flow(17, "100.64.9.133:40000", "198.51.103.77:443"))
	instances[i] = "taken"
	j, _ := in.Of(flow(17, "198.51.103.77:443", "192.0.2.5:5000"))
	fmt.Println(len(instances), i, j, instances[j])
	fmt.Println(out.Flow(i).Text(mask.Fields()))
	// Output:
	// 16384 735 735 taken
	// 0.0.0.5,1,0.0.7.0,3
}

// The remote side alone gives the class in which an external port may be used once more.
func ExampleMask_Only() {
	mask := flowmask.MustParseMask("255.192.0.127,1,0.0.15.0,3", "flow:src-ip,proto,dst-ip,dst-port")
	remote := mask.Only(flowmask.Proto | flowmask.DstIP | flowmask.DstPort)
	class, err := flowmask.NewIndex(remote)
	if err != nil {
		panic(err)
	}
	a, _ := class.Of(flow(17, "100.64.9.133:40000", "198.51.103.77:443"))
	b, _ := class.Of(flow(17, "100.64.9.133:40001", "203.0.113.9:80"))
	fmt.Println(class.Len(), "classes:", a, b)
	// Output: 128 classes: 95 68
}

// Masks that cannot be turned around are refused with the field that stands in the way.
func ExampleMask_Reply() {
	mask := flowmask.MustParseMask("0.0.0.127,3,0.0.15.0", "flow:src-ip,src-port,dst-ip")
	_, err := mask.Reply(flowmask.ReplyPlan{})
	var refused *flowmask.ReplyError
	fmt.Println(errors.As(err, &refused), refused.Field)

	// A NAT that keeps the last two bits of the port can do it.
	reply, err := mask.Reply(flowmask.ReplyPlan{KeepsPort: true})
	fmt.Println(reply.Fields(), reply, err)
	// Output:
	// true flow:src-port
	// flow:src-ip,dst-ip,dst-port 0.0.15.0,255.255.255.255,3 <nil>
}

// Entries that a mask does not tell apart are refused; a filled table changes its mask only if none collide.
func ExampleTable_Rebuild() {
	table := flowmask.NewTable[string](flowmask.MustParseMask("255.255.255.255,65535", "src-ip,dst-port"), [16]byte{})
	for _, e := range []string{"100.64.0.5,80", "100.64.0.5,443", "100.64.0.133,80"} {
		f, _ := flowmask.ParseFlow(e, flowmask.SrcIP|flowmask.DstPort)
		if err := table.Insert(f, e); err != nil {
			panic(err)
		}
	}
	mask := flowmask.MustParseMask("255.255.255.127,3", "src-ip,dst-port")
	fmt.Println(table.SetMask(mask))
	fmt.Println(table.Rebuild(mask))
	fmt.Println(table.Len(), table.Mask())
	// Output:
	// flowmask: the table is not empty; flush it, or use Rebuild
	// flowmask: entries 100.64.0.5,80 and 100.64.0.133,80 are one key under mask 255.255.255.127,3
	// 3 255.255.255.255,65535
}

// Rules with different masks: the first that matches decides, whatever its mask.
func ExampleClassifier() {
	rules := flowmask.NewClassifier[string]([16]byte{})
	for _, r := range []struct {
		number            uint32
		fields, mask, key string
		pool              string
	}{
		{100, "proto,dst-port", "255,65535", "udp,53", "resolvers"},
		{200, "src-ip", "255.255.255.0", "100.64.7.0", "business"},
		{300, "src-ip", "0.0.0.1", "0.0.0.0", "even"},
		{400, "flow", "", "", "odd"},
	} {
		fields, err := flowmask.ParseFields(r.fields)
		if err != nil {
			panic(err)
		}
		key, err := flowmask.ParseFlow(r.key, fields)
		if err != nil {
			panic(err)
		}
		rule := flowmask.Rule[string]{Number: r.number, Mask: flowmask.MustParseMask(r.mask, r.fields), Flow: key, Value: r.pool}
		if err := rules.Insert(rule); err != nil {
			panic(err)
		}
	}
	for _, f := range []flowmask.Flow{
		flow(17, "100.64.7.4:1024", "8.8.8.8:53"),
		flow(6, "100.64.7.4:1024", "8.8.8.8:53"),
		flow(6, "100.64.8.4:1024", "8.8.8.8:53"),
		flow(6, "[2001:db8::1]:1024", "[2001:db8::2]:53"),
	} {
		pool, _ := rules.Lookup(f)
		fmt.Println(pool)
	}
	fmt.Println(rules.Len(), "rules,", rules.Masks(), "masks")
	// Output:
	// resolvers
	// business
	// even
	// odd
	// 4 rules, 4 masks
}

// Three machines share the clients by weight; a fourth takes its share and moves nobody between the others.
func ExampleSpread() {
	client := flowmask.MustParseMask("255.255.255.255", "src-ip")
	before, err := flowmask.NewSpread([16]byte{1},
		flowmask.Instance{Name: "east", Weight: 10}, flowmask.Instance{Name: "west", Weight: 10}, flowmask.Instance{Name: "small", Weight: 5})
	if err != nil {
		panic(err)
	}
	after, err := before.With(flowmask.Instance{Name: "north", Weight: 25})
	if err != nil {
		panic(err)
	}
	moved, wrong := 0, 0
	for i := range 10_000 {
		src := netip.AddrFrom4([4]byte{100, 64, byte(i >> 8), byte(i)})
		k := client.Apply(flowmask.NewFlow(0, 6, netip.AddrPortFrom(src, 0), netip.AddrPort{}))
		if a, b := before.Name(k), after.Name(k); a != b {
			moved++
			if b != "north" {
				wrong++
			}
		}
	}
	fmt.Println(moved, "of 10000 moved,", wrong, "of them between the old ones")
	// Output: 5029 of 10000 moved, 0 of them between the old ones
}

// Both directions of a flow go to one worker.
func ExampleHasher_Symmetric() {
	hash := flowmask.NewHasher([16]byte{ /* random and secret */ })
	f := flow(6, "100.64.9.133:40000", "198.51.103.77:443")
	fmt.Println(hash.Symmetric(f)%8 == hash.Symmetric(f.Reverse())%8, hash.Flow(f) == hash.Flow(f.Reverse()))
	// Output: true false
}

// What lacks ports: ICMP reads as port 0, a fragment waits for its first one.
func ExampleFlow_WithUnknown() {
	mask := flowmask.MustParseMask("255.192.0.127,3", "src-ip,dst-port")
	table := flowmask.NewTable[string](mask, [16]byte{})
	for port, name := range []string{"class 0", "class 1", "class 2", "class 3"} {
		f, _ := flowmask.ParseFlow(fmt.Sprint("100.64.0.5,", port), mask.Fields())
		if err := table.Insert(f, name); err != nil {
			panic(err)
		}
	}
	udp := flow(17, "100.64.0.5:40000", "198.51.103.77:443")
	ping := flow(1, "100.64.0.5:0", "198.51.103.77:0").Without(flowmask.SrcPort | flowmask.DstPort)
	rest := udp.WithUnknown(flowmask.SrcPort | flowmask.DstPort)
	for _, f := range []flowmask.Flow{udp, ping, rest} {
		name, ok := table.Lookup(f)
		fmt.Printf("%q %v\n", name, ok)
	}
	fmt.Println(errors.Is(mask.Check(rest), flowmask.ErrNoKey))
	// Output:
	// "class 3" true
	// "class 0" true
	// "" false
	// true
}

// Tables from lines of ipfw; what is not about flow tables is handed back.
func ExampleParseIPFW() {
	tables, rest, err := flowmask.ParseIPFW(`
table natout create type flow:src-ip,proto,dst-ip,dst-port valtype nat
table natout setmask 255.192.0.127,1,0.0.15.0,3
table natout add 100.64.0.5,udp,0.0.7.0,3 735
add 400 nat tablearg ip from any to any flow 'table(natout)' out
`)
	if err != nil {
		panic(err)
	}
	for i := range tables {
		t := &tables[i]
		table, err := t.Build([16]byte{})
		if err != nil {
			panic(err)
		}
		nat, ok := table.Lookup(flow(17, "100.64.9.133:40000", "198.51.103.77:443"))
		fmt.Println(t.Name, t.Fields, t.Mask, nat, ok)
	}
	fmt.Println(rest[0].Number, rest[0].Text)

	_, _, err = flowmask.ParseIPFW("table natout create type flow:src-ip,proto\ntable natout setmask 255.192.0.127,tcp")
	fmt.Println(err)
	// Output:
	// natout flow:src-ip,proto,dst-ip,dst-port 255.192.0.127,1,0.0.15.0,3 735 true
	// 5 add 400 nat tablearg ip from any to any flow 'table(natout)' out
	// flowmask: line 2: "table natout setmask 255.192.0.127,tcp", position 35: proto: protocol mask is not a decimal number from 0 to 255
}
