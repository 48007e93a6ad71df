//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/blocknat/blocknat/natcore"
)

// printResult prints the verdict on one check as soon as it is known.
func printResult(w io.Writer, r result) {
	if r.err != nil {
		text := strings.ReplaceAll(r.err.Error(), "\n", "\n                     ")
		fmt.Fprintf(w, "  FAIL %-13s %s\n", r.name, text)
		return
	}
	fmt.Fprintf(w, "  PASS %-13s %s (%d ms)\n", r.name, r.detail, r.took.Milliseconds())
}

// printViews prints what each side saw: the first exchange of each client and
// protocol, and how many there were.
func printViews(w io.Writer, views []view) {
	fmt.Fprintln(w, "what each side saw (the first exchange of each client and protocol)")
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "  client\tprotocol\tits own endpoint\tthe server saw\texchanges")
	type key struct {
		client   *node
		protocol string
	}
	count := map[key]int{}
	for _, v := range views {
		count[key{v.client, v.protocol}]++
	}
	sorted := slices.SortedStableFunc(slices.Values(views), func(a, b view) int {
		return cmp.Or(a.client.addr.Compare(b.client.addr), cmp.Compare(a.protocol, b.protocol))
	})
	for _, v := range sorted {
		k := key{v.client, v.protocol}
		if n := count[k]; n > 0 {
			fmt.Fprintf(tw, "  %s\t%s\t%v\t%v\t%d\n", v.client.title, v.protocol, v.own, v.seen, n)
			count[k] = 0
		}
	}
	tw.Flush()
}

// printTrace prints the first client's traceroute.
func printTrace(w io.Writer, hops []hop) {
	fmt.Fprintln(w, "traceroute of client1")
	for _, h := range hops {
		fmt.Fprintf(w, "  %v\n", h)
	}
}

// printRecords prints the records as they are in the file, at most max lines.
func printRecords(w io.Writer, b []byte, max int) {
	lines := strings.SplitAfter(strings.TrimSpace(string(b)), "\n")
	fmt.Fprintln(w, "block records")
	for i, l := range lines {
		if i == max {
			fmt.Fprintf(w, "  ... and %d more\n", len(lines)-max)
			break
		}
		fmt.Fprintf(w, "  %s\n", strings.TrimSuffix(l, "\n"))
	}
}

// printStats prints all counters that are not 0.
func printStats(w io.Writer, s natcore.Stats, c *forwarderCounts) {
	fmt.Fprintln(w, "statistics")
	fmt.Fprintf(w, "  device     %d packets (%d bytes) read in %d batches of up to %d; %d packets (%d bytes) written; %d segments beyond the MTU; %d write errors\n",
		c.PacketsIn, c.BytesIn, c.Batches, c.LargestBatch, c.PacketsOut, c.BytesOut, c.Segments, c.WriteErrors)
	for dir, byVerdict := range s.Packets {
		var parts []string
		for _, v := range natcore.Verdicts() {
			if n := byVerdict[v]; n > 0 {
				parts = append(parts, fmt.Sprintf("%s %d", v, n))
			}
		}
		fmt.Fprintf(w, "  %-10s %s\n", natcore.Direction(dir), cmp.Or(strings.Join(parts, ", "), "none"))
	}
	var drops []string
	for _, r := range natcore.Reasons() {
		if n := s.Drops[r]; n > 0 {
			drops = append(drops, fmt.Sprintf("%s %d", r, n))
		}
	}
	fmt.Fprintf(w, "  drops      %s\n", cmp.Or(strings.Join(drops, ", "), "none"))
	fmt.Fprintf(w, "  sessions   %d now, %d made; mappings %d now, %d made; subscribers %d\n",
		s.Sessions, s.SessionsCreated, s.Mappings, s.MappingsCreated, s.Subscribers)
	fmt.Fprintf(w, "  blocks     %d allocated, %d released; records refused %d, lost %d\n",
		s.BlocksAllocated, s.BlocksReleased, s.RecordsRefused, s.RecordsLost)
	for _, p := range s.Pools {
		fmt.Fprintf(w, "  %-10s %d of %d addresses in use; blocks free %d, heating %d, cooling %d\n",
			p.Name, p.AddressesInUse, p.Addresses, p.BlocksFree, p.BlocksHeating, p.BlocksCooling)
	}
}

// joined prints prefixes or addresses, separated by commas.
func joined[T fmt.Stringer](list []T) string {
	var parts []string
	for _, v := range list {
		parts = append(parts, v.String())
	}
	return strings.Join(parts, ",")
}
