package main

import "testing"

// RFC 7422 section 2.3: 192.0.2.1:58204 is dynamic, and the log says that 198.51.100.2
// had it. The block went to another subscriber later.
func TestRFC7422_dynamic_ports_are_in_the_log(t *testing.T) {
	const line = "reverse 192.0.2.1:58204 -history sample-history.jsonl -log sample-blocks.jsonl -at 2025-04-01T"
	for _, c := range []struct {
		at, begin string
		code      int
		result    string
		who       any
	}{
		{"07:59:59Z", "192.0.2.1:58204 -> nobody: dynamic\n", exitNobody, "dynamic", nil},
		{"08:30:00Z", "192.0.2.1:58204 -> 198.51.100.2 (by the log)\n", exitFound, "logged", "198.51.100.2"},
		{"10:30:00+02:00", "192.0.2.1:58204 -> 198.51.100.2 (by the log)\n", exitFound, "logged", "198.51.100.2"},
		{"09:02:00Z", "192.0.2.1:58204 -> nobody: dynamic\n", exitNobody, "dynamic", nil},
		{"09:02:00Z -tolerance 5m", "192.0.2.1:58204 -> ambiguous\n", exitNobody, "ambiguous", nil},
		{"09:30:00Z", "192.0.2.1:58204 -> 198.51.100.9 (by the log)\n", exitFound, "logged", "198.51.100.9"},
	} {
		want(t, line+c.at, c.code, c.begin)
		if a := answer(t, line+c.at, c.code); a["result"] != c.result || a["subscriber"] != c.who {
			t.Errorf("%s: %v", c.at, a)
		}
	}
	contains(t, want(t, line+"08:30:00Z", exitFound, ""), "block       198.51.100.2 had 58200-58299 from 2025-04-01T08:00:00.000Z, until 2025-04-01T09:00:00.000Z (inside)")
	contains(t, want(t, line+"09:02:00Z", exitNobody, ""), "sample-blocks.jsonl has no block with it at 2025-04-01T09:02:00Z")
	// What the formula knows needs no log.
	want(t, "reverse 192.0.2.1:2001 -history sample-history.jsonl -log none.jsonl", exitFound, "192.0.2.1:2001 -> 198.51.100.1\n")
	want(t, "reverse 192.0.2.1:80 -history sample-history.jsonl -log none.jsonl", exitNobody, "192.0.2.1:80 -> nobody: reserved\n")
}
