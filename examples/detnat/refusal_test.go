package main

import "testing"

// Each refusal says exactly which it is; the exit code is 1.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		line, result string
		parts        []string
	}{
		{"reverse 192.0.2.1:80 -config sample.conf", "reserved", []string{"port 80 is reserved: the map reserves 0-1023; no subscriber ever has it"}},
		{"reverse 192.0.2.9:0 -realm 11 -config testdata/peers.conf", "reserved", []string{"port 0 is nobody's"}},
		{"reverse 203.0.113.18:5 -config sample.conf", "reserved", []string{"PSID offset 6", "below 1024"}},
		{"reverse 192.0.2.1:65535 -config sample.conf", "dynamic", []string{"57472-65535"}},
		{"reverse 192.0.2.10:52632 -realm 9 -config testdata/peers.conf", "unused", []string{"port 52632 belongs to subscriber number 10: there is room for 10, but the map has 9 subscribers"}},
		{"reverse 192.0.2.9:65535 -realm 9 -config testdata/peers.conf", "unused", []string{"left over: the division gives it to no slot (4 ports of 131072 on 2 addresses)"}},
		{"reverse 8.8.8.8:53 -config sample.conf", "not-in-pool", []string{"8.8.8.8 is no external address of a map in sample.conf"}},
		{"reverse [2001:db8::1]:53 -config sample.conf", "no-map", []string{"no map of that family"}},
		{"reverse 192.0.2.1:2001 -realm 5 -config sample.conf", "no-map", []string{"in the external realm 5"}},
		{"forward 10.9.9.9 -config sample.conf", "not-subscriber", []string{"10.9.9.9 is no internal address of a map in sample.conf"}},
		{"reverse 192.0.2.1:2001 -history sample-history.jsonl -at 2024-12-31T23:59:59Z", "no-epoch", []string{"no epoch of sample-history.jsonl was in force at 2024-12-31T23:59:59Z", `epoch 1 of map "rfc7422" has it, from 2025-01-01T00:00:00Z until`}},
		{"reverse 192.0.2.1:2001 -history sample-history.jsonl -at 2025-03-01T00:01:00Z", "not-in-pool", []string{`epoch 2 of map "rfc7422" has it, since 2025-03-01T00:02:00Z`}},
		{"forward 198.51.100.1 -history sample-history.jsonl -at 2024-12-31T23:59:59Z", "no-epoch", []string{`epoch 1 of map "rfc7422" has it`}},
	} {
		out := want(t, c.line, exitNobody, "")
		contains(t, out, ": "+c.result+"\n")
		contains(t, flat(out), c.parts...)
		a := answer(t, c.line, exitNobody)
		if a["result"] != c.result || a["subscriber"] != nil {
			t.Errorf("%s: %v", c.line, a)
		}
		contains(t, a["reason"].(string), c.parts...)
		if ask := a["ask"]; (ask != nil) != (c.result == "dynamic") {
			t.Errorf("%s: ask %v", c.line, ask)
		}
	}
}

// The dynamic range of an archive sends to the records of the time asked for.
func TestRefusals_dynamic_names_the_time(t *testing.T) {
	a := answer(t, "reverse 192.0.2.1:58204 -history sample-history.jsonl -at 2025-04-01T12:00:00+02:00", exitNobody)
	equal(t, a["ask"].(string), "the block records (the log; -log FILE) for the block of 192.0.2.1:58204 that was allocated at 2025-04-01T10:00:00Z")
}

// Two realms have the address: the program refuses to choose.
func TestRealms(t *testing.T) {
	code, out, errs := detnat(t, "reverse 192.0.2.1:2001 -config testdata/rfc7597.conf")
	if code != exitBadData || out != "" {
		t.Fatal(code, out)
	}
	contains(t, errs, "192.0.2.1: is in realm 0 (rfc7422) and in realm 1 (example-1); say which one with -realm N")
	want(t, "reverse 192.0.2.1:2001 -realm 0 -config testdata/rfc7597.conf", exitFound, "192.0.2.1:2001 -> 198.51.100.1\n")
	want(t, "reverse 192.0.2.1:2001 -realm 1 -config testdata/rfc7597.conf", exitFound, "192.0.2.1:2001 -> 2001:db8:1:")
	want(t, "reverse ::ffff:192.0.2.18:2256 -config testdata/rfc7597.conf", exitBadData, "")
	want(t, "reverse [::ffff:192.0.2.18]:2256 -config testdata/rfc7597.conf", exitFound, "192.0.2.18:2256 -> 2001:db8:12:3400::/56\n")
}

// The room of a map is that of its statistics, for every algorithm.
func TestRoom(t *testing.T) {
	for _, algorithm := range []string{"sequential", "staggered", "round-robin", "interlaced", "crypto", "random", "map; psid-offset 6; psid-len 4", "gma; contiguous 4", "mask; port-range-mask 0x1400; first-slot 1"} {
		bk, err := buildConfig("f", "map a { internal 10.0.0.0-10.0.0.4; external 192.0.2.1-192.0.2.6; algorithm "+algorithm+"; }")
		if err != nil {
			t.Fatal(err)
		}
		v := bk.versions[0]
		if v.room() != v.Stats().Capacity {
			t.Errorf("%s: room %d, capacity %d", algorithm, v.room(), v.Stats().Capacity)
		}
	}
}
