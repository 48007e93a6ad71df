package natcore

import (
	"cmp"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// Source endpoints are what stands for the first end of a twice translated session in the realm that it goes to: Static.Sources
// and Peering.Sources. Each realm has one space of them, whoever declares an address.

// sourceOwner is a Static or a Peering that declares source addresses.
type sourceOwner struct {
	realm    sourceRealm
	ports    portblock.Range // of TCP and UDP
	ids      portblock.Range // of ICMP
	declared [][2]uint64     // the addresses that it declares
	spans    [][2]uint32     // the same, in the order in which they are tried
}

// sourceRealm is the realm that sees the source.
type sourceRealm struct {
	realm    uint16
	external bool
}

// region is a run of numbers with the same owners.
type region struct {
	first, last uint64
	owners      []int
}

// decompose cuts runs of numbers, each [first, last] with the index as its owner, into disjoint regions, as few as there can be, in
// order, each with its owners in order.
func decompose(runs [][2]uint64) []region {
	type edge struct {
		at    uint64
		begin bool
		owner int
	}
	edges := make([]edge, 0, 2*len(runs))
	for i, r := range runs {
		edges = append(edges, edge{r[0], true, i}, edge{r[1] + 1, false, i}) // numbers have 48 bits
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	var regions []region
	var open []int
	for i := 0; i < len(edges); {
		at := edges[i].at
		if len(regions) > 0 && len(open) > 0 {
			regions[len(regions)-1].last = at - 1
		}
		for ; i < len(edges) && edges[i].at == at; i++ {
			if e := edges[i]; e.begin {
				n, _ := slices.BinarySearch(open, e.owner)
				open = slices.Insert(open, n, e.owner)
			} else if n, found := slices.BinarySearch(open, e.owner); found {
				open = slices.Delete(open, n, n+1)
			}
		}
		if len(open) > 0 {
			regions = append(regions, region{first: at, owners: slices.Clone(open)})
		}
	}
	return regions
}

// arrange sets the order in which owners take from the addresses of one realm: those that they alone declare first, then those
// that they share with the fewest, then by address.
func arrange(owners []*sourceOwner, runs [][2]uint64, of []int) {
	merged := decompose(runs)
	type piece struct {
		first, last uint32
		shared      int
	}
	pieces := make([][]piece, len(owners))
	for _, r := range merged {
		var who []int
		for _, run := range r.owners {
			who = append(who, of[run])
		}
		slices.Sort(who)
		who = slices.Compact(who)
		for _, o := range who {
			pieces[o] = append(pieces[o], piece{uint32(r.first), uint32(r.last), len(who)})
		}
	}
	for i, o := range owners {
		slices.SortFunc(pieces[i], func(a, b piece) int {
			return cmp.Or(cmp.Compare(a.shared, b.shared), cmp.Compare(a.first, b.first))
		})
		o.spans = nil
		for _, p := range pieces[i] {
			o.spans = append(o.spans, [2]uint32{p.first, p.last})
		}
	}
}

// sources is the use of source endpoints in all realms.
type sources struct {
	used map[sourceAddr]*portBits
	// kept are the endpoints that first ends have, so that one of them is seen as one by all (RFC 4787 REQ-1).
	kept    map[sourceKey]keptSource
	resting []restingSource // in the order in which their hold-down ends
	rnd     *rand.ChaCha8
}

// sourceHold is how long the source endpoint of a session that has ended rests (RFC 6888 REQ-8).
const sourceHold = 120 * time.Second

type sourceAddr struct {
	realm sourceRealm
	addr  uint32
	space portblock.Space
}

// portBits is the set of ports of one address and space that are in use or rest.
type portBits struct {
	words [1024]uint64
	n     int
}

// sourceKey is the first end of a session, and who translates it.
type sourceKey struct {
	end      mapping.Endpoint
	owner    uint32
	realm    uint16
	external bool
	proto    uint8
}

type keptSource struct {
	as       mapping.Endpoint
	sessions uint32
}

type restingSource struct {
	addr sourceAddr
	port uint16
	free int64 // Unix milliseconds: ticks come round where Expire is not called for weeks
}

func (s *sources) init(seed [32]byte) {
	s.used, s.kept, s.rnd = map[sourceAddr]*portBits{}, map[sourceKey]keptSource{}, rand.NewChaCha8(seed)
}

// settle frees the endpoints whose rest is over. Times are Unix milliseconds.
func (s *sources) settle(now int64) {
	n := 0
	for ; n < len(s.resting) && now >= s.resting[n].free; n++ {
		r := &s.resting[n]
		b := s.used[r.addr]
		b.words[r.port/64] &^= 1 << (r.port % 64)
		if b.n--; b.n == 0 {
			delete(s.used, r.addr)
		}
	}
	s.resting = s.resting[n:]
}

// enter notes that an endpoint is in use, and returns false when it is already.
func (s *sources) enter(a sourceAddr, port uint16) bool {
	b := s.used[a]
	if b == nil {
		b = &portBits{}
		s.used[a] = b
	}
	if b.words[port/64]>>(port%64)&1 != 0 {
		return false
	}
	b.words[port/64] |= 1 << (port % 64)
	b.n++
	return true
}

// take takes an endpoint for an owner: at the address that first leads to, if it has one left, else at the next. avoid says what endpoints will not do.
func (s *sources) take(o *sourceOwner, space portblock.Space, first uint64, avoid func(mapping.Endpoint) bool) (mapping.Endpoint, bool) {
	ports := o.ports
	if space == portblock.ICMP {
		ports = o.ids
	}
	for _, span := range o.spans {
		n := uint64(span[1]-span[0]) + 1
		for i := range n {
			addr := span[0] + uint32((first+i)%n)
			key := sourceAddr{o.realm, addr, space}
			port, ok := s.used[key].free(ports, uint32(s.rnd.Uint64()), func(port uint16) bool { return avoid(mapping.Endpoint{Addr: addr, Port: port}) })
			if !ok {
				continue
			}
			s.enter(key, port)
			return mapping.Endpoint{Addr: addr, Port: port}, true
		}
	}
	return mapping.Endpoint{}, false
}

// free returns the first free port of the range from a random one on. The nil set is that of no ports.
func (b *portBits) free(ports portblock.Range, random uint32, avoid func(uint16) bool) (uint16, bool) {
	n := uint32(ports.Len())
	start := uint32(uint64(random) * uint64(n) >> 32)
	for i := uint32(0); i < n; {
		port := uint16(uint32(ports.First()) + (start+i)%n)
		word := uint64(0)
		if b != nil {
			word = b.words[port/64] >> (port % 64)
		}
		if word&1 == 0 {
			if !avoid(port) {
				return port, true
			}
			i++
			continue
		}
		// All ports up to the next zero bit are taken; a run that passes the end of the range wraps at its next port.
		run := uint32(bits.TrailingZeros64(^word))
		run = min(run, 64-uint32(port%64), uint32(ports.Last()-port)+1)
		i += run
	}
	return 0, false
}

// release lets an endpoint rest, and then be free.
func (s *sources) release(realm sourceRealm, space portblock.Space, e mapping.Endpoint, now int64) {
	s.resting = append(s.resting, restingSource{sourceAddr{realm, e.Addr, space}, e.Port, now + sourceHold.Milliseconds()})
}
