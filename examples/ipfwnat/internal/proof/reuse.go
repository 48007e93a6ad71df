package proof

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
)

// Reuse tells how external ports are used at one instant, by flows that are certain to hold theirs.
type Reuse struct {
	// Flows are live, Ports the different (address, port, protocol) that they use; Busiest is the
	// number of live flows of the one address and protocol that has most.
	Flows, Ports, Busiest int
	// Serving counts the ports that serve 1, 2, 3, ... classes at once; index 0 is unused.
	Serving []int
	// ByClass counts the live flows of each class of remotes, Classes the shape: of
	// addresses and of ports.
	ByClass []int
	Classes [2]int
	// ByAddress counts the live flows of each external address, in the order of addresses.
	ByAddress []int
	// OneSpace is the number of blocks of a size that clients would need for these flows if all
	// classes were one; Clients have a live flow.
	OneSpace, Clients int
	// Instances that had a flow since the start.
	Instances int
	// Sizes tells what the flows need in blocks of other sizes, at least.
	Sizes []Size
	// Example is the flows that share the port which serves most of them.
	Example []Flow
}

// Size is the number of blocks of a size that hold some flows; a block serves TCP and UDP.
type Size struct{ Ports, Blocks int }

// Flow is a flow for people.
type Flow struct {
	Proto                    uint8
	Client, External, Remote netip.AddrPort
	Class                    int
	Out, In                  uint32 // nat instances
	First, Last              uint16 // ports of the block that the records name
	Since                    int32  // ms, of the flow
}

// Reuse counts at a time, with blocks of a size.
func (p *Proof) Reuse(ms int32, block int) Reuse {
	classBits := [2]int{bits.OnesCount32(p.rules.out.mask[dstIP]), bits.OnesCount32(p.rules.out.mask[dstPort])}
	r := Reuse{Classes: [2]int{1 << classBits[0], 1 << classBits[1]}, Instances: len(p.used)}
	r.ByClass = make([]int, r.Classes[0]*r.Classes[1])
	type port struct {
		external uint32
		proto    uint8
		port     uint16
	}
	type space struct {
		address uint32
		proto   uint8
	}
	ports := map[port]int{} // flows
	towards := [2]map[portKey]bool{{}, {}}
	perSpace, perClient := map[space]int{}, map[space]int{}
	perAddress := map[uint32]int{}
	for i := range p.flows {
		f := &p.flows[i]
		if f.until < ms {
			continue
		}
		r.Flows++
		r.ByClass[f.class]++
		ports[port{f.external, f.proto, f.externalPort}]++
		towards[f.proto&1][keyOf(f.external, f.class, f.externalPort)] = true
		perSpace[space{f.external, f.proto}]++
		perClient[space{f.client, f.proto}]++
		perAddress[f.external]++
	}
	r.Ports = len(ports)
	classes := map[port]int{}
	for i, proto := range [2]uint8{TCP, UDP} {
		for k := range towards[i] {
			classes[port{uint32(k >> 32), proto, uint16(k)}]++
		}
	}
	for _, n := range classes {
		for len(r.Serving) <= n {
			r.Serving = append(r.Serving, 0)
		}
		r.Serving[n]++
	}
	for _, n := range perSpace {
		r.Busiest = max(r.Busiest, n)
	}
	r.Sizes = p.sizes(ms)
	blocks := map[uint32]int{} // a block serves TCP and UDP
	for k, n := range perClient {
		blocks[k.address] = max(blocks[k.address], (n+block-1)/block)
	}
	r.Clients = len(blocks)
	for _, n := range blocks {
		r.OneSpace += n
	}
	for _, a := range sortedKeys(p.rules.addresses()) {
		r.ByAddress = append(r.ByAddress, perAddress[a])
	}
	var best port
	for k, n := range ports {
		if c := cmp.Or(cmp.Compare(n, ports[best]), -cmp.Compare(k.external, best.external), -cmp.Compare(k.port, best.port), cmp.Compare(best.proto, k.proto)); c > 0 {
			best = k
		}
	}
	for i := range p.flows {
		f := &p.flows[i]
		if f.until >= ms && (port{f.external, f.proto, f.externalPort}) == best {
			r.Example = append(r.Example, p.show(f))
		}
	}
	return r
}

// sizes counts the blocks that live flows need, for each client and class, by the size of blocks.
func (p *Proof) sizes(ms int32) []Size {
	type holder struct {
		client uint32
		class  uint16
	}
	held := map[holder][2]int{}
	for i := range p.flows {
		if f := &p.flows[i]; f.until >= ms {
			h := held[holder{f.client, f.class}]
			h[f.proto&1]++
			held[holder{f.client, f.class}] = h
		}
	}
	var all []Size
	for ports := 16; ports <= 256; ports *= 2 {
		s := Size{Ports: ports}
		for _, h := range held {
			s.Blocks += (max(h[0], h[1]) + ports - 1) / ports
		}
		all = append(all, s)
	}
	return all
}

// addresses are the external addresses of all instances.
func (r *Rules) addresses() map[uint32]bool {
	set := map[uint32]bool{}
	for _, a := range r.nats {
		set[a] = true
	}
	return set
}

func sortedKeys(m map[uint32]bool) []uint32 {
	var keys []uint32
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (p *Proof) show(f *flow) Flow {
	s := Flow{
		Proto: f.proto, Class: int(f.class), Since: f.first,
		Client:   netip.AddrPortFrom(ip(f.client), f.clientPort),
		External: netip.AddrPortFrom(ip(f.external), f.externalPort),
		Remote:   netip.AddrPortFrom(ip(f.remote), f.port),
	}
	s.Out, _ = p.rules.out.instance(tuple{srcIP: f.client, proto: uint32(f.proto), srcPort: uint32(f.clientPort), dstIP: f.remote, dstPort: uint32(f.port)})
	s.In, _ = p.rules.in.instance(tuple{srcIP: f.remote, proto: uint32(f.proto), srcPort: uint32(f.port), dstIP: f.external, dstPort: uint32(f.externalPort)})
	for at, ok := p.records.heads[blockKey{f.external, f.class, f.externalPort >> 4}]; ok && at >= 0; at = p.records.nodes[at].before {
		if v := p.records.intervals[p.records.nodes[at].interval]; f.externalPort >= v.first && f.externalPort <= v.last {
			s.First, s.Last = v.first, v.last
			break
		}
	}
	return s
}

// Flows is the number of flows seen.
func (p *Proof) Flows() int { return len(p.flows) }
