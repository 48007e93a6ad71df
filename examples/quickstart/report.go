package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Widths of a report, which has at most 100 columns.
const (
	nameWidth  = 62
	countWidth = 10
)

// write writes the report as plain text.
func (s *summary) write(w io.Writer) {
	fmt.Fprintf(w, "blocknat: %s through a carrier-grade NAT\n", s.Capture)
	for _, n := range s.Notes {
		fmt.Fprintf(w, "note: %s\n", wrap(n, 90, "      "))
	}
	s.writeSetting(w)
	s.writePackets(w)
	s.writeState(w)
	s.writePorts(w)
	s.writeLogging(w)
	s.writeSpeed(w)
	s.writeFiles(w)
	s.writeProof(w)
}

func title(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "\n"+format+"\n", args...)
}

func row(w io.Writer, indent int, name string, n int) {
	fmt.Fprintf(w, "%*s%-*s%*s\n", indent, "", nameWidth-indent, name, countWidth, count(n))
}

func (s *summary) writeSetting(w io.Writer) {
	field := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-10s%s\n", name, fmt.Sprintf(format, args...))
	}
	title(w, "Setting")
	field("capture", "%s IP packets in %v, %s on the wire", count(s.Packets), s.Span.Round(time.Second), size(s.Bytes))
	if s.Cut > 0 {
		field("", "%s packets are cut: %s were captured", count(s.Cut), size(s.Captured))
	}
	for _, l := range s.NoIP {
		field("", "%s frames are left out: %s", count(l.Count), l.Name)
	}
	field("internal", "%s", s.Internal)
	field("external", "%s, %s addresses", s.Pool, count(s.End.Addresses))
	field("blocks", "%d ports, for TCP, UDP and ICMP together", s.Block)
	field("behaviour", "endpoint-independent mapping and filtering, paired pooling, hairpinning")
	field("seed", "%s", s.Seed)
}

func (s *summary) writePackets(w io.Writer) {
	title(w, "Packets")
	row(w, 2, "translated", s.Outbound+s.Inbound+s.Hairpin)
	row(w, 4, "outbound", s.Outbound)
	row(w, 4, "inbound", s.Inbound)
	row(w, 4, "hairpinned between subscribers", s.Hairpin)
	row(w, 4, "ICMP errors among them", s.Errors)
	row(w, 4, "fragments among them", s.Fragments)
	if s.Bypassed > 0 {
		row(w, 2, "passed untouched", s.Bypassed)
	}
	row(w, 2, "dropped by the engine", total(s.Drops))
	for _, l := range s.Drops {
		row(w, 4, l.Name, l.Count)
	}
	if s.Held > 0 {
		row(w, 2, "fragments that waited for their first one", s.Held)
		row(w, 4, "translated when it came, counted above", s.HeldSent)
		row(w, 4, "it never came", s.Held-s.HeldSent)
	}
	if s.Answers > 0 {
		row(w, 2, "ICMP errors that the engine built, see Drain", s.Answers)
	}
	row(w, 2, "not played", total(s.Unplayed))
	for _, l := range s.Unplayed {
		row(w, 4, l.Name, l.Count)
	}
	fmt.Fprintf(w, "  %s mappings were asked for explicitly, for servers of subscribers\n", count(s.Mappings+total(s.Refusals)))
	for _, l := range s.Refusals {
		row(w, 4, "refused: "+l.Name, l.Count)
	}
}

func (s *summary) writeState(w io.Writer) {
	title(w, "%-30s%22s%22s", "State", "at the capture's end", shortly(s.RestAfter)+" later")
	both := func(name string, a, b uint64) {
		fmt.Fprintf(w, "  %-28s%22s%22s\n", name, count(a), count(b))
	}
	e, r := s.End, s.Rest
	fmt.Fprintf(w, "  %-28s%22s\n", "subscribers seen", count(s.Subscribers))
	both("subscribers served", e.Subscribers, r.Subscribers)
	both("sessions made", e.SessionsMade, r.SessionsMade)
	both("sessions alive", e.Sessions, r.Sessions)
	both("mappings alive", e.Mappings, r.Mappings)
	both("addresses in use", e.AddressesInUse, r.AddressesInUse)
	both("blocks heating (in use)", e.BlocksHeating, r.BlocksHeating)
	both("blocks cooling (at rest)", e.BlocksCooling, r.BlocksCooling)
	both("blocks free", e.BlocksFree, r.BlocksFree)
	both("blocks allocated so far", e.BlocksAllocated, r.BlocksAllocated)
	both("blocks released so far", e.BlocksReleased, r.BlocksReleased)
	if r.RecordsRefused > 0 {
		both("records refused by the log", e.RecordsRefused, r.RecordsRefused)
	}
}

func (s *summary) writePorts(w io.Writer) {
	if len(s.Peaks) == 0 {
		return
	}
	title(w, "Ports per subscriber (the most that were held at one time)")
	histogram(w, s.Peaks, "ports")
	n := len(s.Peaks)
	fmt.Fprintf(w, "  median %s, 95 %% have at most %s, the most is %s\n", count(s.Peaks[(n-1)/2]), count(s.Peaks[(n-1)*95/100]), count(s.Peaks[n-1]))
}

func (s *summary) writeLogging(w io.Writer) {
	title(w, "%-30s%22s%22s", "Log", "records", "bytes")
	both := func(name string, a, b uint64) {
		fmt.Fprintf(w, "  %-28s%22s%22s\n", name, count(a), count(b))
	}
	both("blocks, as written", s.BlockRecords, s.BlockBytes)
	both("sessions, had they been", s.Sessions, s.SessionBytes)
	if s.BlockRecords > 0 && s.BlockBytes > 0 {
		fmt.Fprintf(w, "  %-28s%22s%22s\n", "reduction",
			fmt.Sprintf("%.1f times", float64(s.Sessions)/float64(s.BlockRecords)),
			fmt.Sprintf("%.1f times", float64(s.SessionBytes)/float64(s.BlockBytes)))
	}
}

func (s *summary) writeSpeed(w io.Writer) {
	title(w, "Speed")
	fmt.Fprintf(w, "  %d ns a packet in the engine, records included: %s calls in %v, one by one\n", s.PerPacket.Nanoseconds(), count(s.Calls), s.InCalls.Round(10*time.Microsecond))
	fmt.Fprintf(w, "  %v in %s calls that end what is idle\n", s.InExpire.Round(10*time.Microsecond), count(s.ExpireCalls))
}

func (s *summary) writeFiles(w io.Writer) {
	title(w, "Files")
	for _, f := range s.Files {
		fmt.Fprintf(w, "  %-*s%*s bytes\n", nameWidth-2, f.Name, countWidth, count(f.Count))
	}
}

func (s *summary) writeProof(w io.Writer) {
	title(w, "%-72s%12s%12s", "Proof, by code that shares nothing with the engine", "cases", "violations")
	for _, c := range s.Checks {
		fmt.Fprintf(w, "  %-70s%12s%12s\n", c.Name, count(c.Cases), count(c.Violations))
		for _, example := range c.Examples {
			fmt.Fprintf(w, "    ! %s\n", wrap(example, 92, "      "))
		}
	}
	fmt.Fprintln(w)
	s.writeVerdict(w)
}

// writeVerdict writes the last line.
func (s *summary) writeVerdict(w io.Writer) {
	fmt.Fprintf(w, "violations: %s\n", count(s.violations()))
}

// wrap breaks a text at spaces so that no line is longer than width.
func wrap(s string, width int, indent string) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(s) {
		switch {
		case i == 0:
		case column+1+len(word) > width:
			b.WriteString("\n" + indent)
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

// size writes a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 10_000:
		return count(n) + " bytes"
	case n < 1_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// shortly writes a duration in hours, minutes and seconds without what is zero at the end.
func shortly(d time.Duration) string {
	t := d.Round(time.Second).String()
	if strings.HasSuffix(t, "m0s") {
		t = strings.TrimSuffix(t, "0s")
	}
	if strings.HasSuffix(t, "h0m") {
		t = strings.TrimSuffix(t, "0m")
	}
	return t
}
