package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/blocknat/blocknat/portblock"
)

const (
	nameWidth  = 66
	countWidth = 14
)

func title(w io.Writer, format string, args ...any) { fmt.Fprintf(w, "\n"+format+"\n", args...) }

func row(w io.Writer, name string, value any) {
	if n, ok := value.(int); ok {
		value = count(n)
	}
	if n, ok := value.(uint64); ok {
		value = count(n)
	}
	fmt.Fprintf(w, "  %-*s%*s\n", nameWidth, name, countWidth, value)
}

// write writes the report as plain text.
func (r *report) write(w io.Writer) {
	fmt.Fprintf(w, "blocknat: %s, %s clients behind %s addresses\n", r.scheme.name, count(r.o.clients), count(len(r.scheme.addresses)))
	r.writeSetting(w)
	r.draw(w)
	r.writeNumbers(w)
	r.writeTraffic(w)
	r.writeReuse(w)
	r.writeClasses(w)
	r.writeLog(w)
	r.writeLookups(w)
	r.writeProof(w)
}

func (r *report) writeSetting(w io.Writer) {
	s := r.scheme
	field := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-12s%s\n", name, fmt.Sprintf(format, args...))
	}
	title(w, "Setting")
	field("script", "%s instances named, %s derived; %s", count(s.given), count(s.places()-s.given), map[bool]string{false: "both tables given", true: r.o.inTable + " derived"}[s.derived])
	field(r.o.outTable, "%v  %v", s.out.Fields(), s.out)
	field(r.o.inTable, "%v  %v", s.in.Fields(), s.in)
	cfg := config(r.o, s, nil).Pools[0]
	field("engine", "Select  %v %v   (the external address)", cfg.Select.Fields(), cfg.Select)
	if cfg.Remotes.Ones() > 0 {
		field("", "Remotes %v %v   (the class)", cfg.Remotes.Fields(), cfg.Remotes)
	}
	field("", "blocks of %d ports of %v, %s order, for TCP and UDP together", r.o.block, r.o.usable, r.o.orderBy)
	field("clients", "in %v, about %s ports each, %v simulated; seed %s", r.o.internal, count(r.o.ports), r.o.span, r.o.seed)
}

// writeNumbers shows how the script's numbers and the engine's go together.
func (r *report) writeNumbers(w io.Writer) {
	s := r.scheme
	title(w, "Numbers of the script and of the engine")
	fmt.Fprintf(w, "  %-16s%-18s%-16s%s\n", "clients", "external address", "engine's place", "nat instances of the script")
	groups := len(s.addresses)
	shown := 0
	for g := range groups {
		if g >= 3 && g < groups-1 {
			continue
		}
		if g == groups-1 && shown < g {
			fmt.Fprintln(w, "  ...")
		}
		shown++
		var nats []string
		places := len(s.protocols) * s.remotes.Len()
		for k := range places {
			if k < 4 || k == places-1 {
				nats = append(nats, count(s.order[k*groups+g]))
			} else if k == 4 {
				nats = append(nats, "...")
			}
		}
		fmt.Fprintf(w, "  %-16v%-18v%-16s%s\n", s.groups.Flow(s.firstGroup+uint32(g)).Src(), s.addresses[g], count(g), strings.Join(nats, ", "))
	}
	fmt.Fprintf(w, "  The engine counts groups and classes; the script's numbers are names that %s and %s share.\n", r.o.outTable, r.o.inTable)
}

func (r *report) writeTraffic(w io.Writer) {
	title(w, "Traffic")
	row(w, "flows begun", r.Flows)
	refused := 0
	for _, l := range r.Refused {
		refused += l.Count
	}
	row(w, "flows refused", refused)
	for _, l := range r.Refused {
		row(w, "  "+l.Name, l.Count)
	}
	row(w, "packets translated outbound", r.Packets[0])
	row(w, "packets translated inbound", r.Packets[1])
	row(w, "packets of strangers: delivered to the port's owner in their class", r.Strangers[0])
	row(w, "  dropped, because nobody has the port in their class", r.Strangers[1])
	row(w, "clients that got another address half-way", r.Moved)
	row(w, "nat instances used", fmt.Sprintf("%s of %s", count(r.Reuse.Instances), count(r.scheme.places())))
	row(w, "sessions in the engine at the end", r.Stats.Sessions)
	row(w, "client addresses with live flows at the end", r.Reuse.Clients)
	if r.Reuse.Clients > 0 {
		row(w, "live flows of an address at the end, mean", fmt.Sprintf("%.1f", float64(r.Reuse.Flows)/float64(r.Reuse.Clients)))
	}
}

func (r *report) writeReuse(w io.Writer) {
	u := r.Reuse
	usable := r.o.usable.Len()
	one := len(r.scheme.addresses) * 2 * usable
	title(w, "Reuse of external ports at the end")
	row(w, "live flows", u.Flows)
	row(w, "external ports in use (address, protocol, port)", u.Ports)
	if u.Ports > 0 {
		row(w, "reuse factor: live flows for each port in use", fmt.Sprintf("%.2f", float64(u.Flows)/float64(u.Ports)))
	}
	for n := 1; n < len(u.Serving); n++ {
		if u.Serving[n] > 0 {
			row(w, fmt.Sprintf("  ports that serve %d class%s", n, map[bool]string{true: "es"}[n > 1]), u.Serving[n])
		}
	}
	row(w, "most live flows of one address and protocol", u.Busiest)
	row(w, "  ports that it has in one port space", usable)
	row(w, "flows that one port space for each address and protocol can hold", one)
	row(w, "  live flows against that", fmt.Sprintf("%.1f %%", 100*float64(u.Flows)/float64(one)))
	row(w, fmt.Sprintf("flows that %d port spaces can hold", r.scheme.remotes.Len()), one*r.scheme.remotes.Len())
	if r.o.order == portblock.OrderKeyed {
		fmt.Fprint(w, `  Blocks come in an order that cannot be guessed, so classes meet on a port by chance while ports
  are plenty. -order sequential packs them; -usable 1024-9215 makes them scarce.
`)
	}
}

// writeClasses shows that each class has its share.
func (r *report) writeClasses(w io.Writer) {
	u := r.Reuse
	if len(u.ByClass) < 2 || u.Classes[0] > 64 || u.Classes[1] > 8 {
		return
	}
	title(w, "Live flows of each class (down: class of the server's address; across: of its port)")
	fmt.Fprint(w, "      ")
	for c := range u.Classes[1] {
		fmt.Fprintf(w, "%10d", c)
	}
	fmt.Fprintln(w)
	for a := range u.Classes[0] {
		fmt.Fprintf(w, "  %4d", a)
		for c := range u.Classes[1] {
			fmt.Fprintf(w, "%10s", count(u.ByClass[a*u.Classes[1]+c]))
		}
		fmt.Fprintln(w)
	}
}

func (r *report) writeLog(w io.Writer) {
	title(w, "%-30s%22s%22s", "Log", "records", "bytes")
	both := func(name string, a, b uint64) {
		fmt.Fprintf(w, "  %-28s%22s%22s\n", name, count(a), count(b))
	}
	both("blocks, as written", r.BlockRecords, r.BlockBytes)
	both("sessions, had they been", r.SessionRecords, r.SessionBytes)
	if r.BlockRecords > 0 {
		fmt.Fprintf(w, "  %-28s%22s%22s\n", "reduction",
			fmt.Sprintf("%.1f times", float64(r.SessionRecords)/float64(r.BlockRecords)),
			fmt.Sprintf("%.1f times", float64(r.SessionBytes)/float64(r.BlockBytes)))
	}
	r.writeCost(w)
}

// writeCost tells what the block size and the classes cost.
func (r *report) writeCost(w io.Writer) {
	held := r.Stats.Pools[0].BlocksHeating
	if held == 0 {
		return
	}
	title(w, "What blocks of %d ports cost", r.o.block)
	row(w, "blocks held at the end", held)
	row(w, "  for each client", fmt.Sprintf("%.1f", float64(held)/float64(max(r.Reuse.Clients, 1))))
	row(w, "  live flows in each", fmt.Sprintf("%.1f of 2 x %d", float64(r.Reuse.Flows)/float64(held), r.o.block))
	row(w, "blocks that exist in all port spaces", r.Blocks*len(r.scheme.addresses)*r.scheme.remotes.Len())
	row(w, "blocks that exist in one port space for each address", r.Blocks*len(r.scheme.addresses))
	row(w, "  clients would need there for these flows, at least", r.Reuse.OneSpace)
	fmt.Fprint(w, `  A client holds a block in each class that it meets, and each is recorded: classes multiply
  ports, and records with them. Smaller blocks leave fewer ports unused;
  larger ones save records only where clients would fill the smaller ones.
`)
	fmt.Fprintf(w, "  %-40s%14s%26s\n", "These flows, in blocks of another size", "blocks", "of their ports in use")
	for _, s := range r.Reuse.Sizes {
		fmt.Fprintf(w, "  %-40s%14s%26s\n", fmt.Sprintf("  %d ports", s.Ports), count(s.Blocks), fmt.Sprintf("%.1f %%", 100*float64(r.Reuse.Flows)/float64(2*s.Ports*s.Blocks)))
	}
}

func (r *report) writeLookups(w io.Writer) {
	l := r.Lookups
	title(w, "%-42s%14s%22s", "Look-ups of an instance, measured", "time", "of the rule list's")
	if r.LookupsErr != nil || l.Table == 0 || l.Index == 0 {
		fmt.Fprintf(w, "  not measured: %v\n", r.LookupsErr)
		return
	}
	one := func(name string, d time.Duration) {
		fmt.Fprintf(w, "  %-40s%14s%22s\n", name, fmt.Sprintf("%.1f ns", float64(d)/1000), fmt.Sprintf("1/%s", count(int(l.List/d))))
	}
	one(fmt.Sprintf("list of %s rules, first match", count(l.Rules)), l.List)
	one("flowmask.Table", l.Table)
	one("flowmask.Index and a slice", l.Index)
	if !l.Same {
		fmt.Fprintln(w, "  ! they do not find the same instances")
	}
	title(w, "Speed")
	fmt.Fprintf(w, "  %d ns a packet in the engine, records included; the whole run took %.1f s and %.1f GB of memory,\n  with the proof, which works beside it\n",
		r.PerPacket.Nanoseconds(), r.Wall.Seconds(), float64(r.HeapBytes)/1e9)
}

func (r *report) writeProof(w io.Writer) {
	title(w, "%-72s%12s%12s", "Proof, by code that shares nothing with the engine", "cases", "violations")
	for _, c := range r.Checks {
		fmt.Fprintf(w, "  %-70s%12s%12s\n", c.Name, count(c.Cases), count(c.Violations))
		for _, example := range c.Examples {
			fmt.Fprintf(w, "    ! %s\n", example)
		}
	}
	fmt.Fprintln(w)
	r.writeVerdict(w)
}

// writeVerdict writes the last line.
func (r *report) writeVerdict(w io.Writer) { fmt.Fprintf(w, "violations: %s\n", count(r.violations())) }
