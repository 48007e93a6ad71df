// Package proof checks what a NAT did to packets, from the packets and the
// block records alone.
//
// It shares no code with the library: packets are decoded by gopacket,
// checksums are added up over whole packets, records are read with
// encoding/json into a struct of its own. A test guards the imports. It knows
// what a NAT must keep, not how this one works:
//
//   - A checksum that was right is right, a wrong one is still wrong (RFC 3022
//     section 4.1). Where packet and quotation are there in full, the sum is
//     computed anew before and after. Where bytes are missing, because the
//     capture cut the packet, it is a fragment, or an ICMP error quotes only
//     the beginning, the ones' complement sum over what is there, pseudo
//     header and checksum field included, must be the same before and after:
//     then the missing bytes, which do not change, lead to the same verdict.
//   - Nothing changes but addresses, ports, identifiers and checksums of the
//     side that is translated, and the identification of datagrams that leave and
//     may be fragmented. All fragments of one have the same, and no other datagram
//     between the same addresses has it within 120 s (RFC 6864 section 5.3.1).
//   - No external endpoint serves two subscribers at one time, and one that was
//     used rests before another internal endpoint or subscriber has it
//     (RFC 6888 REQ-8, RFC 7768 section 2).
//   - An internal endpoint has one external endpoint for all remotes (RFC 4787
//     REQ-1), a subscriber one external address (REQ-2).
//   - External address, port and time lead through the block records to the
//     subscriber, and to nobody else (RFC 6888 REQ-12, RFC 6302).
//   - A packet that comes in is restored byte for byte.
//
// It keeps about 24 bytes a translated packet and endpoint until the records are read.
package proof

import (
	"fmt"
	"net/netip"
	"time"
)

// Way is the way that a packet takes through the NAT.
type Way uint8

// The ways.
const (
	Outbound Way = iota // internal to external: the source is translated
	Inbound             // external to internal: the destination is translated back
	Hairpin             // internal to internal: both
)

// A Case is one packet that a NAT translated. The proof keeps none of its bytes.
type Case struct {
	// Number is the packet's place in the capture.
	Number int
	// Time is when the NAT had it.
	Time time.Time
	Way  Way
	// Original is the packet as the hosts know it: internal addresses on both sides of the NAT.
	Original []byte
	// Given is what went into the NAT and Result what came out.
	Given, Result []byte
}

// Times are the rests and idle times that the NAT promises, all of them lower bounds.
type Times struct {
	HoldDown, GuardTime time.Duration
	// UDP, ICMP and TCP (transitory, closing) are the idle times after which a mapping may end.
	UDP, ICMP, TCP time.Duration
}

// A Check is one property with the number of cases it was tried on.
type Check struct {
	Name       string
	Cases      int
	Violations int
	// Examples are the first violations, in words.
	Examples []string
}

// maxExamples bounds the examples of a check.
const maxExamples = 3

func (c *Check) fail(format string, args ...any) {
	c.Violations++
	if len(c.Examples) < maxExamples {
		c.Examples = append(c.Examples, fmt.Sprintf(format, args...))
	}
}

// A Proof collects cases and judges them. It is not safe for concurrent use.
type Proof struct {
	times Times

	decoded, right, wrong, cut, none, rest Check
	numbers                                Check
	restored, hairpin, untouched, pcap     Check
	owner, holdDown, independent, paired   Check
	resolve, overlap, guard, released      Check

	ends     map[endKey]endUse
	mappings map[mapKey]mapUse
	subs     map[netip.Addr]pairUse
	// datagrams are those that may be fragmented, by how they came and by how they left.
	datagrams, numbered map[datagramKey]numbering
	uses                []use
	sums                []uint64 // one hash a case, for the comparison with the file that was written
}

// New returns a proof for a NAT that keeps the times.
func New(t Times) *Proof {
	p := &Proof{times: t,
		ends: map[endKey]endUse{}, mappings: map[mapKey]mapUse{}, subs: map[netip.Addr]pairUse{},
		datagrams: map[datagramKey]numbering{}, numbered: map[datagramKey]numbering{}}
	p.decoded.Name = "packets that gopacket decodes before and after"
	p.right.Name = "checksums that were right are right (computed in full)"
	p.wrong.Name = "checksums that were wrong are still wrong (computed in full)"
	p.cut.Name = "checksums over bytes that are not all there (by difference)"
	p.none.Name = "UDP without checksum stays without"
	p.rest.Name = "nothing else in the packet has changed"
	p.numbers.Name = "datagrams that may be fragmented have an identification of their own"
	p.restored.Name = "inbound packets are restored byte for byte"
	p.hairpin.Name = "hairpinned packets reach their receiver and hide their sender"
	p.untouched.Name = "packets that are not translated stay as they came"
	p.pcap.Name = "the pcap file holds the packets that were checked"
	p.owner.Name = "no two subscribers share an external endpoint at one time"
	p.holdDown.Name = "an external endpoint rests before it serves another internal one"
	p.independent.Name = "an internal endpoint has one external endpoint for all remotes"
	p.paired.Name = "a subscriber has one external address"
	p.resolve.Name = "address, port and time lead through the block records to the subscriber"
	p.overlap.Name = "no two blocks overlap"
	p.guard.Name = "a released block rests for the guard time"
	p.released.Name = "every block is released in the end"
	return p
}

// Packet judges one translated packet.
func (p *Proof) Packet(c Case) {
	p.sums = append(p.sums, sum64(c.Result))
	before, errBefore := decode(c.Given)
	after, errAfter := decode(c.Result)
	p.decoded.Cases++
	if errBefore != nil || errAfter != nil {
		p.decoded.fail("packet %d was translated, but gopacket says before: %v, after: %v", c.Number, errBefore, errAfter)
		return
	}
	p.checksums(c, before, after)
	p.changes(c, before)
	p.identification(c, before, after)
	p.restoration(c, before)
	p.endpoints(c)
}

// Checks returns all checks in the order of a report.
func (p *Proof) Checks() []Check {
	return []Check{p.decoded, p.right, p.wrong, p.cut, p.none, p.rest, p.numbers, p.restored, p.hairpin, p.untouched,
		p.owner, p.holdDown, p.independent, p.paired, p.resolve, p.overlap, p.guard, p.released, p.pcap}
}

// Violations is the sum over all checks.
func (p *Proof) Violations() int {
	n := 0
	for _, c := range p.Checks() {
		n += c.Violations
	}
	return n
}
