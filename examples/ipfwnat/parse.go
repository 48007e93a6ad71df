package main

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"github.com/blocknat/blocknat/flowmask"
)

const (
	tcp = 6
	udp = 17
	// maxGroups and maxPlaces bound what a script may ask for.
	maxGroups = 4096
	maxPlaces = 1 << 16
)

// parseScheme understands a script, completes it and checks that answers find the instances
// that requests found.
func parseScheme(text string, o options) (*scheme, error) {
	tables, rest, err := flowmask.ParseIPFW(text)
	if err != nil {
		return nil, err
	}
	out, in := find(tables, o.outTable), find(tables, o.inTable)
	if out == nil {
		return nil, fmt.Errorf("no flow table has the name %q; %s, or name another one with -out", o.outTable, `write "table natout create type flow:src-ip,proto,dst-ip,dst-port valtype nat"`)
	}
	s := &scheme{nats: map[uint32]netip.Addr{}, derived: in == nil}
	if in == nil {
		in = &flowmask.IPFWTable{Name: o.inTable, ValType: "nat"}
	}
	if err := s.readMasks(out, in); err != nil {
		return nil, err
	}
	if err := s.split(out, o.internal); err != nil {
		return nil, err
	}
	others, err := s.readNats(rest)
	if err != nil {
		return nil, err
	}
	if err := s.readEntries(out, o.internal); err != nil {
		return nil, err
	}
	return s, s.complete(out, in, others)
}

func find(tables []flowmask.IPFWTable, name string) *flowmask.IPFWTable {
	for i := range tables {
		if tables[i].Name == name {
			return &tables[i]
		}
	}
	return nil
}

// at is a fault of a line.
func at(line int, format string, args ...any) error {
	return fmt.Errorf("line %d: %w", line, fmt.Errorf(format, args...))
}

// readMasks takes the masks of both tables. That of the table for answers must follow from the other one.
func (s *scheme) readMasks(out, in *flowmask.IPFWTable) error {
	const all = flowmask.SrcIP | flowmask.Proto | flowmask.DstIP | flowmask.DstPort
	s.out = out.Mask
	switch {
	case out.Fields&^all != 0:
		return at(out.Line, "table %s selects by %v; an engine selects by %v and no more", out.Name, out.Fields&^all, all)
	case out.ValType != "" && out.ValType != "nat":
		return at(out.Line, "table %s has values of type %s; they must be of type nat", out.Name, out.ValType)
	case !out.HasMask:
		return at(out.Line, `table %s has no mask, so each flow is a class of its own; add "table %s setmask ...", such as 255.192.0.127,1,0.0.15.0,3`, out.Name, out.Name)
	case out.Mask.Is6():
		return at(out.Line, "table %s is for IPv6, which is not translated", out.Name)
	case s.out.Only(flowmask.SrcIP).Ones() == 0:
		return at(out.Line, "table %s selects no bit of src-ip, so nothing says which external address a client has; use a mask such as 255.192.0.127", out.Name)
	}
	s.plan.External = in.Mask.Bits().Dst
	if !in.HasMask {
		s.plan.External = netip.Addr{}
	}
	var err error
	if s.in, err = s.out.Reply(s.plan); err != nil {
		return at(out.Line, "%w", err)
	}
	if !s.derived && s.in != in.Mask {
		return at(in.Line, "table %s does not select answers to what %s selects: it has %v with %v, and needs %v with %v",
			in.Name, out.Name, in.Fields, in.Mask, s.in.Fields(), s.in)
	}
	return nil
}

// split finds the groups of clients, the protocols and the classes that the mask tells apart.
func (s *scheme) split(out *flowmask.IPFWTable, internal netip.Prefix) error {
	var err error
	if s.groups, err = flowmask.NewIndex(s.out.Only(flowmask.SrcIP)); err != nil {
		return at(out.Line, "%w", err)
	}
	if s.remotes, err = flowmask.NewIndex(s.out.Only(flowmask.DstIP | flowmask.DstPort)); err != nil {
		return at(out.Line, "%w", err)
	}
	s.firstGroup, _ = s.groups.Of(flowmask.NewFlow(0, 0, netip.AddrPortFrom(internal.Addr(), 0), netip.AddrPort{}))
	mask := s.groups.Mask().Bits().Src.As4()
	groups := 1
	for i, b := range mask {
		host := byte(0xff)
		if n := internal.Bits() - 8*i; n > 0 {
			host = byte(0xff >> min(n, 8))
		}
		groups <<= bits.OnesCount8(b & host)
	}
	if groups > maxGroups {
		return at(out.Line, "table %s makes %d groups of clients in %v, each with an external address; at most %d are played", out.Name, groups, internal, maxGroups)
	}
	s.addresses = make([]netip.Addr, groups)
	s.protocols = []uint8{tcp}
	only := s.out.Only(flowmask.Proto)
	if only.Apply(flowmask.FlowFrom4(0, tcp, [4]byte{}, [4]byte{}, 0, 0)) != only.Apply(flowmask.FlowFrom4(0, udp, [4]byte{}, [4]byte{}, 0, 0)) {
		s.protocols = append(s.protocols, udp)
	}
	if s.places() > maxPlaces {
		return at(out.Line, "table %s makes %d nat instances, more than %d; select fewer bits", out.Name, s.places(), maxPlaces)
	}
	s.order = make([]uint32, s.places())
	return nil
}

// readNats reads the lines that give a nat instance its address, and returns the others.
func (s *scheme) readNats(rest []flowmask.IPFWLine) (others []string, err error) {
	var errs []error
	for _, l := range rest {
		w := strings.Fields(l.Text)
		if len(w) > 0 && strings.HasSuffix(w[0], "ipfw") {
			w = w[1:]
		}
		if len(w) < 3 || w[0] != "nat" || w[2] != "config" {
			others = append(others, l.Text)
			continue
		}
		n, err := strconv.ParseUint(w[1], 10, 32)
		if err != nil || n == 0 {
			errs = append(errs, at(l.Number, "%q is no number of a nat instance", w[1]))
			continue
		}
		if len(w) < 5 || w[3] != "ip" {
			errs = append(errs, at(l.Number, `nat %d needs an address; write "nat %d config ip 192.0.2.1"`, n, n))
			continue
		}
		a, err := netip.ParseAddr(w[4])
		switch had, twice := s.nats[uint32(n)]; {
		case err != nil || !a.Is4():
			errs = append(errs, at(l.Number, "%q is no IPv4 address", w[4]))
		case twice:
			errs = append(errs, at(l.Number, "nat %d has the address %v already", n, had))
		default:
			s.nats[uint32(n)] = a
		}
	}
	return others, errors.Join(errs...)
}

// readEntries files the entries of the table for packets that leave, and finds the external
// address of each group of clients.
func (s *scheme) readEntries(out *flowmask.IPFWTable, internal netip.Prefix) error {
	var faults []error
	fault := func(line int, format string, args ...any) {
		if len(faults) < 10 {
			faults = append(faults, at(line, format, args...))
		}
	}
	users := map[netip.Addr]uint32{} // external address -> group
	only := s.out.Only(flowmask.Proto)
	for _, e := range out.Entries {
		number, _, _ := strings.Cut(e.Value, ",")
		n, err := strconv.ParseUint(number, 10, 32)
		address, has := s.nats[uint32(n)]
		group, inside := s.group(e.Flow.Src())
		protocol := -1
		for i, p := range s.protocols {
			if only.Apply(e.Flow) == only.Apply(flowmask.FlowFrom4(0, p, [4]byte{}, [4]byte{}, 0, 0)) {
				protocol = i
			}
		}
		client := s.groups.Mask().Apply(e.Flow).Flow().Src()
		switch {
		case err != nil || !has:
			fault(e.Line, `the entry names nat %q, whose address is nowhere; add "nat N config ip ADDRESS"`, e.Value)
		case !inside:
			fault(e.Line, "clients of group %v are not in -internal %v", client, internal)
		case protocol < 0:
			fault(e.Line, "protocol %d is neither TCP nor UDP under the mask", e.Flow.Proto())
		case s.addresses[group].IsValid() && s.addresses[group] != address:
			fault(e.Line, "clients of group %v leave from %v here and from %v elsewhere; a client has one external address for all services", client, address, s.addresses[group])
		default:
			if user, taken := users[address]; taken && user != group {
				fault(e.Line, "groups %v and %v both leave from %v, so answers could not be told apart; give each an address of its own",
					s.groups.Flow(s.firstGroup+user).Src(), client, address)
				continue
			}
			users[address] = group
			s.addresses[group] = address
			class, _ := s.remotes.Of(e.Flow)
			if place := s.place(group, protocol, class); s.order[place] == 0 {
				s.order[place] = uint32(n)
				s.given++
			}
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	for g, a := range s.addresses {
		switch {
		case !a.IsValid():
			return at(out.Line, "table %s has no entry for the clients of group %v, of %d groups in -internal %v; add one such as \"table %s add %s 1\"",
				out.Name, s.groups.Flow(s.firstGroup+uint32(g)).Src(), len(s.addresses), internal, out.Name, s.request(uint32(g), 0, 0).Text(out.Fields))
		case internal.Contains(a):
			return at(out.Line, "external address %v is in -internal %v; an address is either a client's or an external one", a, internal)
		}
	}
	return nil
}
