package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/blocknat/blocknat/benchmarks/plot"
	"github.com/blocknat/blocknat/portblock"
)

// The published figures: 20,000 subscribers over 60 days, RFC 7768 section 1.
const (
	publishedSessions = 42.5e12
	publishedBlocks   = 40.6e9
)

// A Report is all that the page and the charts are made of.
type Report struct {
	Model   Model
	Seed    uint64
	Days    int // that were simulated
	Quick   bool
	Created float64 // connections in these days
	// SessionRecords is the number of records of per-session logging over Model.Days.
	SessionRecords float64
	// SessionBytes are the bytes a record, by encoding.
	Encodings    []string
	SessionBytes []float64
	Samples      int
	// MeanPorts is the mean number of ports in use a subscriber over the days, and PeakPorts in the busiest hour, both spaces together.
	MeanPorts, PeakPorts float64
	// Unblocked is how many addresses the busier space needs at its peak when each port goes to whoever asks, without blocks.
	Unblocked int
	Sizes     []SizeReport
}

// A SizeReport is what one block size costs.
type SizeReport struct {
	Size, MaxBlocks int
	// Allocated blocks a subscriber and day, and the records over Model.Days (allocations and releases).
	Allocated, Records float64
	// Bytes a record, by encoding, of a sample of Samples records.
	Bytes   []float64
	Samples int
	// Refused is the share of connections that the limit of a subscriber refuses.
	Refused float64
	// PeakBlocks is the most blocks held at a time, by Holders subscribers.
	PeakBlocks, Holders int
	// Addresses is the fewest with which no block is refused; Tight is the share of blocks that nine tenths of them refuse.
	Addresses int
	Tight     float64
}

// report turns counts into figures.
func (r *run) report(t *totals, quick bool) (*Report, error) {
	days := float64(r.Days)
	scale := float64(r.Model.Days) / days
	rep := &Report{
		Model: r.Model, Seed: r.Seed, Days: r.Days, Quick: quick, Created: float64(t.Created),
		SessionRecords: float64(t.Created+t.Deleted) * scale,
	}
	for _, e := range encodings() {
		rep.Encodings = append(rep.Encodings, e.Name)
	}
	rep.Encodings = append(rep.Encodings, journalName)
	records := recordsOf(t.sessions)
	var err error
	if rep.SessionBytes, err = bytesPerRecord(records); err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	rep.Samples = len(records)
	dense, err := t.journalOfSessions()
	if err != nil {
		return nil, fmt.Errorf("journal of sessions: %w", err)
	}
	rep.SessionBytes = append(rep.SessionBytes, dense)
	busiest := r.busiest()
	for _, s := range []portblock.Space{portblock.TCP, portblock.UDP} {
		rep.MeanPorts += t.meanBusy(s, r.From, r.To) / float64(r.Subscribers)
		rep.PeakPorts += t.meanBusy(s, busiest, busiest+hour) / float64(r.Subscribers)
	}
	rep.Unblocked = int(math.Ceil(float64(t.peakResting()) / 64_512))
	for i, size := range r.Sizes {
		s := SizeReport{
			Size: size, MaxBlocks: r.maxBlocks(size), Refused: float64(t.Refused[i]) / float64(t.Created),
			Allocated: float64(t.Allocated[i]) / float64(r.Subscribers) / days, Records: float64(t.Allocated[i]+t.Released[i]) * scale,
		}
		records := t.blockRecords(i, s.MaxBlocks)
		if s.Bytes, err = bytesPerRecord(records); err != nil {
			return nil, fmt.Errorf("blocks of %d: %w", size, err)
		}
		s.Samples = len(records)
		s.PeakBlocks, s.Holders = heldAtPeak(t.Moves[i])
		if s.Addresses, err = needed(r.layouts[i], t.Moves[i], r.Subscribers); err != nil {
			return nil, err
		}
		packed, err := r.journalOfBlocks(i, t.Moves[i], s.Addresses)
		if err != nil {
			return nil, fmt.Errorf("journal of blocks of %d: %w", size, err)
		}
		s.Bytes = append(s.Bytes, packed)
		if s.Tight, err = refusedShare(r.layouts[i], t.Moves[i], r.Subscribers, max(1, s.Addresses*9/10)); err != nil {
			return nil, err
		}
		rep.Sizes = append(rep.Sizes, s)
	}
	return rep, nil
}

// sessionVolume and blockVolume are bytes over all the days in an encoding.
func (r *Report) sessionVolume(e int) float64             { return r.SessionRecords * r.SessionBytes[e] }
func (r *Report) blockVolume(s SizeReport, e int) float64 { return s.Records * s.Bytes[e] }

func (r *Report) save(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

func load(path string) (*Report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// count writes a large number with its unit in words.
func count(v float64) string {
	switch {
	case v >= 1e9:
		return plot.Number(v/1e9) + " thousand million"
	case v >= 1e6:
		return plot.Number(v/1e6) + " million"
	}
	return plot.Number(v)
}

// percent writes a share.
func percent(v float64) string {
	if v == 0 {
		return "0"
	}
	return plot.Number(100*v) + " %"
}

// markdown writes the tables of the page.
func (r *Report) markdown() string {
	var b strings.Builder
	if r.Quick {
		b.WriteString("**QUICK RUN: too few subscribers for figures of any use.**\n\n")
	}
	fmt.Fprintf(&b, "%d subscribers over %d days; simulated: %d day of all of them, %s connections, seed %d.\n",
		r.Model.Subscribers, r.Model.Days, r.Days, count(r.Created), r.Seed)
	fmt.Fprintf(&b, "A subscriber has %.0f ports in use on average and %.0f in the busiest hour, TCP and UDP together.\n\n", r.MeanPorts, r.PeakPorts)
	b.WriteString("### Volume of the records\n\n")
	b.WriteString("| encoding | per session: B a record | volume |")
	for _, s := range r.Sizes {
		fmt.Fprintf(&b, " blocks of %d |", s.Size)
	}
	b.WriteString("\n|---|--:|--:|" + strings.Repeat("--:|", len(r.Sizes)) + "\n")
	for e, name := range r.Encodings {
		fmt.Fprintf(&b, "| %s | %.1f | %s |", name, r.SessionBytes[e], plot.Bytes(r.sessionVolume(e)))
		for _, s := range r.Sizes {
			fmt.Fprintf(&b, " %s |", plot.Bytes(r.blockVolume(s, e)))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\nPublished in RFC 7768: **%s** per session, **%s** by blocks (neither traffic, block size nor encoding is stated), a ratio of %s.\n\n",
		plot.Bytes(publishedSessions), plot.Bytes(publishedBlocks), plot.Number(publishedSessions/publishedBlocks))
	fmt.Fprintf(&b, "Sizes are means over %d session records", r.Samples)
	for i, s := range r.Sizes {
		sep := ", "
		if i == 0 {
			sep = " and, by block size, "
		}
		fmt.Fprintf(&b, "%s%d", sep, s.Samples)
	}
	b.WriteString(" block records, encoded by the library; those of the journal are over all block records of the run, and over all session records of a while of the busiest hour.\n\n### Block sizes\n\n")
	b.WriteString("| block size | blocks a subscriber, at most | blocks a subscriber and day | records | fewer records, times | smaller volume, times (JSON lines) | " +
		"connections refused | blocks held at the peak | addresses needed | subscribers an address | blocks refused with 10 % fewer |\n")
	b.WriteString("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	jsonLines := r.encoding("JSON lines")
	for _, s := range r.Sizes {
		fmt.Fprintf(&b, "| %d | %d | %s | %s | %s | %s | %s | %d of %d | %d | %.0f | %s |\n",
			s.Size, s.MaxBlocks, plot.Number(s.Allocated), count(s.Records), plot.Number(r.SessionRecords/s.Records),
			plot.Number(r.sessionVolume(jsonLines)/r.blockVolume(s, jsonLines)), percent(s.Refused),
			s.PeakBlocks, s.Holders, s.Addresses, shared(r.Model.Subscribers, s.Addresses), percent(s.Tight))
	}
	fmt.Fprintf(&b, "\nPer-session logging has %s records. Without blocks, each port to whoever asks, the busier of TCP and UDP fills %d addresses at its peak, resting ports included.\n"+
		"Connections are refused by the limit of ports and blocks of a subscriber; addresses are needed so that no block is refused.\n",
		count(r.SessionRecords), r.Unblocked)
	return b.String()
}

func (r *Report) encoding(name string) int {
	for i, n := range r.Encodings {
		if n == name {
			return i
		}
	}
	return 0
}

// parameters writes the model as a table.
func (r *Report) parameters() string {
	m := r.Model
	var b strings.Builder
	row := func(what, value, source string) { fmt.Fprintf(&b, "| %s | %s | %s |\n", what, value, source) }
	b.WriteString("| parameter | value | source |\n|---|---|---|\n")
	row("subscribers, days", fmt.Sprintf("%d, %d", m.Subscribers, m.Days), "RFC 7768 section 1")
	row("connections a subscriber and day, mean", plot.Number(m.Connections), "RFC 7422 section 1: about 33,000 a household")
	row("a subscriber's share of them", fmt.Sprintf("lognormal, sigma %s", plot.Number(m.Sigma)), "assumed; RFC 6269 says that port use is heavy-tailed")
	hours := make([]string, len(m.Hours))
	for i, h := range m.Hours {
		hours[i] = plot.Number(h)
	}
	row("rate by hour of the day, from midnight", strings.Join(hours, " "), "assumed: evening peak of a residential network")
	for _, c := range m.Clusters {
		row("clusters of connections", fmt.Sprintf("%s of %d to %d", percent(c.Share), c.Min, c.Max), clusterSource(c))
	}
	row("time between connections of a cluster, mean", m.Gap.String(), "assumed")
	row("UDP, the rest TCP", percent(m.UDP), "assumed (DNS, QUIC)")
	row("first to last packet, UDP", fmt.Sprintf("exponential, mean %v", m.UDPActive), "assumed")
	row("first to last packet, TCP", fmt.Sprintf("exponential, mean %v; %s of them %v", m.TCPActive, percent(m.TCPLongShare), m.TCPLong), "assumed")
	row("idle time of UDP", m.UDPIdle.String(), "RFC 4787 REQ-5c; the engine's default")
	row("closing time of TCP", m.TCPClosing.String(), "RFC 7857 section 2.1; the engine's default")
	row("hold-down of a port, guard time of a block", fmt.Sprintf("%v, %v", m.HoldDown, m.Guard), "RFC 6888 REQ-8, RFC 7768 section 2; the defaults")
	row("idle time of a block", m.Idle.String(), "the default")
	row("ports a subscriber, of TCP and of UDP", fmt.Sprintf("%d, and at least one block", m.Ports), "RFC 9313 section 4.2 and RFC 9693 section 4.1; the default")
	return b.String()
}

func clusterSource(c Cluster) string {
	switch {
	case c.Max == 1:
		return "assumed: DNS, notifications"
	case c.Max <= 12:
		return "RFC 9313: 3 to 12 for a light page"
	}
	return "RFC 9313: 120 to 160 for a heavy page, up to 200"
}

// chartVolume draws volumes by block size.
func (r *Report) chartVolume() string {
	c := plot.Lines{
		Title: fmt.Sprintf("Records of %d subscribers over %d days", r.Model.Subscribers, r.Model.Days), Note: r.note(),
		XLabel: "ports a block", YLabel: "volume of all records", XScale: plot.Log2, YScale: plot.Log10, YFormat: plot.Bytes,
	}
	first, last := float64(r.Sizes[0].Size), float64(r.Sizes[len(r.Sizes)-1].Size)
	level := func(name string, y float64, color int, dashed bool) {
		c.Series = append(c.Series, plot.Series{Name: name, X: []float64{first, last}, Y: []float64{y, y}, Color: color, Dashed: dashed})
	}
	shown := []string{"syslog", "JSON lines", "CSV", "IPFIX", journalName}
	for color, name := range shown {
		e := r.encoding(name)
		if name != "JSON lines" { // too near to syslog's to be told apart
			level("per session, "+name, r.sessionVolume(e), color, false)
		}
		s := plot.Series{Name: "blocks, " + name, Color: color}
		for _, size := range r.Sizes {
			s.X, s.Y = append(s.X, float64(size.Size)), append(s.Y, r.blockVolume(size, e))
		}
		c.Series = append(c.Series, s)
	}
	level("published, sessions: 42.5 TB", publishedSessions, 6, true)
	level("published, blocks: 40.6 GB", publishedBlocks, 6, true)
	return c.SVG()
}

// chartAddresses draws what large blocks cost.
func (r *Report) chartAddresses() string {
	s := plot.Series{Name: "no block is refused", Color: 0}
	for _, size := range r.Sizes {
		s.X, s.Y = append(s.X, float64(size.Size)), append(s.Y, float64(size.Addresses))
	}
	first, last := s.X[0], s.X[len(s.X)-1]
	return plot.Lines{
		Title: fmt.Sprintf("External addresses for %d subscribers", r.Model.Subscribers), Note: r.note(),
		XLabel: "ports a block", YLabel: "addresses", XScale: plot.Log2, YScale: plot.Linear,
		Series: []plot.Series{s, {
			Name: "each port by itself, no blocks", X: []float64{first, last}, Y: []float64{float64(r.Unblocked), float64(r.Unblocked)}, Dashed: true, Color: 6,
		}},
	}.SVG()
}

func (r *Report) note() string {
	note := fmt.Sprintf("synthetic traffic, %s connections a subscriber and day, seed %d", plot.Number(r.Model.Connections), r.Seed)
	if r.Quick {
		return "QUICK RUN: " + note
	}
	return note
}
