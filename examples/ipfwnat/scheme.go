package main

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/blocknat/blocknat/flowmask"
)

// reportScript is the configuration of the bug report.
//
//go:embed bug219316.ipfw
var reportScript string

const reportName = "bug219316.ipfw"

// A scheme is an ipfw script that was understood: which bits choose the external address,
// which choose the class, and which nat instance serves what.
type scheme struct {
	name string // of the file
	text string // the complete script, with an entry for each instance in both tables

	out, in flowmask.Mask      // of packets that leave, and of answers
	plan    flowmask.ReplyPlan // how the one follows from the other
	derived bool               // the file has no table for answers

	groups     *flowmask.Index // of the src-ip bits
	firstGroup uint32          // its value for the first group that clients are in
	addresses  []netip.Addr    // external address of each group, all different
	protocols  []uint8         // TCP, and UDP if the mask tells it apart
	remotes    *flowmask.Index // of the dst-ip and dst-port bits

	nats     map[uint32]netip.Addr // instance -> external address
	order    []uint32              // instance of each place
	given    int                   // how many of them the file names
	outTable *flowmask.Table[uint32]
	inTable  *flowmask.Table[uint32]
}

// place numbers what is an instance of its own: client groups first, then protocols, then
// classes of remote endpoints.
func (s *scheme) place(group uint32, protocol int, class uint32) int {
	return (int(class)*len(s.protocols)+protocol)*len(s.addresses) + int(group)
}

// places is the number of instances that the mask tells apart.
func (s *scheme) places() int { return len(s.addresses) * len(s.protocols) * s.remotes.Len() }

// group returns the group of a client, and false for an address outside of -internal.
func (s *scheme) group(client netip.Addr) (uint32, bool) {
	i, ok := s.groups.Of(flowmask.NewFlow(0, 0, netip.AddrPortFrom(client, 0), netip.AddrPort{}))
	i -= s.firstGroup
	return i, ok && i < uint32(len(s.addresses))
}

// request returns a flow of a place, with 0 in all bits that do not count.
func (s *scheme) request(group uint32, protocol int, class uint32) flowmask.Flow {
	client := s.groups.Flow(s.firstGroup + group).Src()
	remote := s.remotes.Flow(class)
	return flowmask.NewFlow(0, s.protocols[protocol], netip.AddrPortFrom(client, 0), netip.AddrPortFrom(remote.Dst(), remote.DstPort()))
}

// loadScheme reads the script that the options name.
func loadScheme(o options) (*scheme, error) {
	name, text := reportName, reportScript
	if o.script != "" {
		b, err := os.ReadFile(o.script)
		if err != nil {
			return nil, fmt.Errorf("%w; check the name", err)
		}
		name, text = o.script, string(b)
	}
	s, err := parseScheme(text, o)
	if err != nil {
		return nil, inFile(name, err)
	}
	s.name = name
	return s, nil
}

// inFile puts the name of a file before each of the faults.
func inFile(name string, err error) error {
	many, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s: %w", name, err)
	}
	var all []error
	for _, one := range many.Unwrap() {
		all = append(all, inFile(name, one))
	}
	return errors.Join(all...)
}
