package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/blocknat/blocknat/flowmask"
)

// complete gives each instance that the file does not name a number, derives the table for
// answers, and writes all of it as a script, which is read back: what is played is what the text says.
func (s *scheme) complete(out, in *flowmask.IPFWTable, others []string) error {
	whole := *out
	whole.Limit = 0
	next := uint32(1)
	for n := range s.nats {
		next = max(next, n+1)
	}
	for class := range uint32(s.remotes.Len()) {
		for protocol := range s.protocols {
			for group := range uint32(len(s.addresses)) {
				place := s.place(group, protocol, class)
				if s.order[place] != 0 {
					continue
				}
				s.order[place] = next
				s.nats[next] = s.addresses[group]
				whole.Entries = append(whole.Entries, flowmask.IPFWEntry{Flow: s.request(group, protocol, class), Value: strconv.Itoa(int(next))})
				next++
			}
		}
	}
	table, err := whole.Build([16]byte{})
	if err != nil {
		return err
	}
	answers, err := flowmask.ReplyTable(table, s.plan, [16]byte{}, func(_ flowmask.Flow, n uint32) netip.Addr { return s.nats[n] })
	if err != nil {
		return err
	}
	if err := agree(in, answers); err != nil {
		return err
	}
	derived := flowmask.IPFWTable{Name: in.Name, Fields: s.in.Fields(), ValType: "nat", Mask: s.in, HasMask: true}
	for f, n := range answers.All() {
		derived.Entries = append(derived.Entries, flowmask.IPFWEntry{Flow: f, Value: strconv.Itoa(int(n))})
	}
	s.text = s.write(&whole, &derived, others)
	return s.readBack(out.Name, in.Name)
}

// agree checks the entries for answers that the file has against the derived ones.
func agree(in *flowmask.IPFWTable, answers *flowmask.Table[uint32]) error {
	var faults []error
	for _, e := range in.Entries {
		n, ok := answers.Lookup(e.Flow)
		switch want := strconv.Itoa(int(n)); {
		case len(faults) == 10:
		case !ok:
			faults = append(faults, at(e.Line, "table %s sends answers to nat %s that no client asked for", in.Name, e.Value))
		case want != e.Value:
			faults = append(faults, at(e.Line, "table %s sends answers to nat %s that belong to nat %s", in.Name, e.Value, want))
		}
	}
	return errors.Join(faults...)
}

// write writes the complete script.
func (s *scheme) write(out, in *flowmask.IPFWTable, others []string) string {
	b := fmt.Appendf(nil, "# %d nat instances: %d external addresses x %d protocols x %d classes of remote endpoints.\n",
		s.places(), len(s.addresses), len(s.protocols), s.remotes.Len())
	done := map[uint32]bool{}
	for _, n := range s.order {
		if !done[n] {
			b = fmt.Appendf(b, "nat %d config ip %v same_ports\n", n, s.nats[n])
		}
		done[n] = true
	}
	b = out.AppendTo(b)
	b = in.AppendTo(b)
	for _, l := range others {
		b = append(append(b, l...), '\n')
	}
	return string(b)
}

// readBack builds both tables from the text.
func (s *scheme) readBack(outName, inName string) error {
	tables, _, err := flowmask.ParseIPFW(s.text)
	if err != nil {
		return fmt.Errorf("the completed script cannot be read: %w", err)
	}
	if s.outTable, err = find(tables, outName).Build([16]byte{}); err != nil {
		return err
	}
	s.inTable, err = find(tables, inName).Build([16]byte{})
	return err
}
