package main

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"time"

	"github.com/blocknat/blocknat/flowmask"
)

// Lookups compares ways to find the instance of a flow: mean time of each.
type lookups struct {
	List, Table, Index time.Duration // in steps of 1/1000 ns, see perLookup
	Rules              int
	Same               bool // all three found the same instance for each flow
}

// A rule is a line of a list that is tried from the top: what ipfw has without flow tables.
type rule struct {
	src, srcMask, dst, dstMask uint32
	proto, protoMask           uint8
	port, portMask             uint16
	nat                        uint32
}

func (r *rule) matches(src, dst uint32, proto uint8, port uint16) bool {
	return src&r.srcMask == r.src && dst&r.dstMask == r.dst && proto&r.protoMask == r.proto && port&r.portMask == r.port
}

// ruleList writes the instances of a scheme as rules.
func (s *scheme) ruleList() []rule {
	m := s.out.Bits()
	list := make([]rule, 0, s.places())
	for f, n := range s.outTable.All() {
		src, dst, proto, port := words(f)
		r := rule{srcMask: number(m.Src), dstMask: number(m.Dst), protoMask: m.Proto, portMask: m.DstPort, nat: n}
		r.src, r.dst, r.proto, r.port = src&r.srcMask, dst&r.dstMask, proto&r.protoMask, port&r.portMask
		list = append(list, r)
	}
	return list
}

func words(f flowmask.Flow) (src, dst uint32, proto uint8, port uint16) {
	return number4(f.Src()), number4(f.Dst()), f.Proto(), f.DstPort()
}

// number is number4 that takes the address which a mask may lack.
func number(a netip.Addr) uint32 {
	if !a.IsValid() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// slots returns a slice with the instance of each value of an index. The index leaves out
// the bits that all clients have in common, so the slice has no holes.
func (s *scheme) slots(internal netip.Prefix) (*flowmask.Index, []uint32, error) {
	m := s.out.Bits()
	host := uint32(uint64(1)<<(32-internal.Bits()) - 1)
	m.Src = addr4(number(m.Src) & host)
	mask, err := flowmask.NewMask(s.out.Fields(), m)
	if err != nil {
		return nil, nil, err
	}
	x, err := flowmask.NewIndex(mask)
	if err != nil {
		return nil, nil, err
	}
	slots := make([]uint32, x.Len())
	for f, n := range s.outTable.All() {
		i, _ := x.Of(f)
		slots[i] = n
	}
	return x, slots, nil
}

// measureLookups times the three ways on flows of the run.
func measureLookups(s *scheme, internal netip.Prefix, flows []flowmask.Flow) (lookups, error) {
	list := s.ruleList()
	index, slots, err := s.slots(internal)
	if err != nil || len(flows) == 0 {
		return lookups{}, err
	}
	byList := func(f flowmask.Flow) uint32 {
		src, dst, proto, port := words(f)
		for i := range list {
			if list[i].matches(src, dst, proto, port) {
				return list[i].nat
			}
		}
		return 0
	}
	byTable := func(f flowmask.Flow) uint32 { n, _ := s.outTable.Lookup(f); return n }
	byIndex := func(f flowmask.Flow) uint32 { i, _ := index.Of(f); return slots[i] }
	l := lookups{Rules: len(list), Same: true}
	few := flows[:min(len(flows), 1024)]
	for _, f := range few {
		n := byTable(f)
		l.Same = l.Same && n != 0 && byList(f) == n && byIndex(f) == n
	}
	l.List = perLookup(few, byList)
	l.Table = perLookup(flows, byTable)
	l.Index = perLookup(flows, byIndex)
	return l, nil
}

const lookupRounds = 5

// perLookup returns the mean time of a look-up, of the fastest of some rounds, as a Duration
// in which a microsecond stands for a nanosecond.
func perLookup(flows []flowmask.Flow, find func(flowmask.Flow) uint32) time.Duration {
	best := time.Duration(0)
	var sum uint32
	for range lookupRounds {
		repeat := 1
		for {
			t := time.Now()
			for range repeat {
				for _, f := range flows {
					sum += find(f)
				}
			}
			took := time.Since(t)
			if took < 2*time.Millisecond {
				repeat *= 2
				continue
			}
			if d := took * 1000 / time.Duration(repeat*len(flows)); best == 0 || d < best {
				best = d
			}
			break
		}
	}
	runtime.KeepAlive(sum) // keeps the look-ups from being left out
	return best
}
