package main

import (
	"testing"

	"github.com/blocknat/blocknat/examples/ipfwnat/internal/proof"
)

// FuzzParseScheme gives any text as a script: it is refused, or it is complete and consistent.
func FuzzParseScheme(f *testing.F) {
	f.Add(reportScript)
	f.Add("table natout create type flow:src-ip,dst-port\ntable natout setmask 0.32.0.0,6\nnat 7 config ip 198.51.100.9\nnat 3 config ip 198.51.100.1\ntable natout add 100.96.0.0,0 7 100.64.0.0,0 3\n") // two groups
	f.Add("table natout create type flow:src-ip valtype nat\ntable natout setmask 255.192.0.0\nnat 1 config ip 192.0.2.1\ntable natout add 100.64.0.0 1\n")                                               // one instance
	f.Add("table natout create type flow:src-ip\ntable natout setmask ::1\ntable natout add ::1 1\n")                                                                                                     // IPv6
	f.Add("table natout create type flow:src-ip\ntable natout setmask 0.0.0.1\nnat 1 config ip 192.0.2.1\ntable natout add ::1 1 ::2 1\n")                                                                // an entry of another family
	f.Add("table natout create type flow:proto\ntable natout setmask 1\ntable natin create type flow:proto,dst-ip\ntable natin setmask 1,::\n")                                                           // no clients
	o, err := parseFlags(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseScheme(text, o)
		if err != nil {
			return
		}
		if _, err := proof.ReadRules(s.text, o.outTable, o.inTable); err != nil {
			t.Fatalf("the proof cannot read the complete script: %v", err)
		}
		for place, n := range s.order {
			if group := place % len(s.addresses); s.nats[n] != s.addresses[group] {
				t.Fatalf("nat %d of group %d has %v, not %v", n, group, s.nats[n], s.addresses[group])
			}
		}
		if s.outTable.Len() < s.places() || s.inTable.Len() != s.places() {
			t.Fatalf("%d and %d entries for %d places", s.outTable.Len(), s.inTable.Len(), s.places())
		}
	})
}
