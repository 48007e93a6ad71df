package main

import (
	"strings"
	"testing"
)

// Configurations that are wrong: the line, what is wrong, and what to do.
func TestBadConfigurations(t *testing.T) {
	const end = "internal 10.0.0.0/30; external 192.0.2.1; }"
	for _, c := range []struct {
		name, text string
		faults     []string // one a fault, in order: LINE: ... and a part of it
	}{
		{"empty", "", []string{"no map in the file; write: map NAME {"}},
		{"only a comment", "# nothing", []string{"no map in the file"}},
		{"not a block", "realm 1;\nmap a { " + end, []string{`1: "realm" begins no block; blocks are: map NAME { ... }`}},
		{"a brace too many", "map a { " + end + "\n}", []string{`2: "}" begins no block`}},
		{"no name", "map {\n" + end, []string{"1: a map without a name; write: map NAME {"}},
		{"no brace", "map a\ninternal 10.0.0.0/30;", []string{`2: "internal" instead of { behind the name of map "a"`}},
		{"not closed", "\nmap a { internal 10.0.0.0/30;", []string{`2: map "a" is not closed; end it with }`}},
		{"name twice", "map a { " + end + "\nmap a { " + end, []string{`2: the name "a" is taken by the map in line 1`}},
		{"unknown setting", "map a {\n inernal 10.0.0.0/30;\n}", []string{`2: "inernal" is no setting of a map; did you mean internal?`}},
		{"underscores", "map a { max_ports 9; }", []string{"did you mean max-ports?"}},
		{"far from any setting", "rule a { qwertyuiop 9; }", []string{"there are: realm, external-realm, ipv6, ipv4, ea-bits, psid-offset, psid-len, psid"}},
		{"missing semicolon", "map a {\n internal 10.0.0.0/30\n external 192.0.2.1;\n}", []string{"2: internal: ; is missing behind the value"}},
		{"missing semicolon at the end", "map a {\n internal 10.0.0.0/30\n}", []string{"2: internal: ; is missing"}},
		{"set twice", "map a {\n realm 1;\n realm 2;\n" + end, []string{"3: realm: is set in line 2 already; keep one"}},
		{"two values", "map a {\n realm 1 2;\n" + end, []string{"2: realm: has 2 values, one is needed; write: realm 1;"}},
		{"no value", "map a {\n realm;\n internal;\n}", []string{"2: realm: has 0 values", "3: internal: has no value; write: internal 100.64.0.0/24;"}},
		{"no number", "map a {\n sharing-ratio ten;\n" + end, []string{`2: map "a": sharing-ratio "ten": is no decimal number; write: sharing-ratio 64;`}},
		{"negative", "map a { max-ports -1;" + end, []string{`max-ports "-1": is no decimal number`}},
		{"realm too large", "map a { realm 4294967296;" + end, []string{"is no number from 0 to 4294967295"}},
		{"no address", "map a {\n internal\n 10.0.0.300;\n}", []string{`3: map "a": internal "10.0.0.300": is no prefix, range or address`}},
		{"host bits", "map a { internal 10.0.0.1/24; }", []string{"has host bits; the prefix is 10.0.0.0/24"}},
		{"no algorithm", "map a { algorithm best; }", []string{"is none of sequential, staggered,"}},
		{"no remainder", "map a { remainder all; }", []string{"is none of auto, dynamic, spread or unused"}},
		{"neither yes nor no", "map a { include-boundary-addresses true; }", []string{"is neither yes nor no"}},
		{"short key", "map a { key 0011; }", []string{`key: a key has 32 hexadecimal digits`}},
		{"reserved backwards", "map a { reserved 1023-0; }", []string{`reserved "1023-0": is no port, range of ports, or none`}},
		{"none and ranges", "map a { reserved none 5060; }", []string{"none and ranges exclude each other"}},
		{"mask too wide", "map a { port-range-mask 0x10000; }", []string{"is no number of 16 bits"}},
		{"open quote", "map \"a {\n" + end, []string{"1: a text in quotes does not end on its line"}},
		{"bytes that are no text", "map a { realm \x00; }", []string{`1: a character that is no text: "\x00"`}},
		{"internal missing", "map a {\n external 192.0.2.1;\n}", []string{`1: map "a": internal: at least one span is needed; list the internal addresses`}},
		{"too few addresses", "map a {\n internal 10.0.0.0/24;\n external\n 192.0.2.1;\n sharing-ratio 10;\n}", []string{`4: map "a": external 1 addresses: 254 subscribers at 10 an address need 26 addresses; add external addresses, or allow a sharing-ratio of 254`}},
		{"limit below the ports", "map a { internal 10.0.0.0/30; external 192.0.2.1;\n max-ports 5; }", []string{`2: map "a": max-ports 5: at least the 32256 deterministic ports`}},
		{"field of another algorithm", "map a { internal 10.0.0.0/30; external 192.0.2.1;\n psid-len 4; }", []string{`2: map "a": psid-len: is used by MAP; leave it unset, or change algorithm`}},
		{"overlap in a map", "map a {\n internal 10.0.0.0/30\n 10.0.0.2;\n external 192.0.2.1; }", []string{`3: map "a": internal: overlaps with internal of line 2: both have 10.0.0.2`}},
		{"overlap outside", "map a { internal 10.0.0.0/30; external 192.0.2.0/24; }\nmap b { internal 10.1.0.0/30; external 192.0.2.9; }",
			[]string{`2: map "b": overlaps with map "a" of line 1: both claim the external addresses 192.0.2.9 in realm 0`}},
		{"overlap inside, with a rule", "rule r { ipv6 2001:db8::/40; ipv4 192.0.2.0/24; ea-bits 16; psid-offset 6; }\n\nmap b { internal 2001:db8::/60; external 192.0.3.0/24; }",
			[]string{`3: map "b": overlaps with rule "r" of line 1: both claim the internal addresses 2001:db8::-2001:db8:0:f:ffff:ffff:ffff:ffff in realm 0`}},
		{"rule with host bits", "rule r {\n ipv6 2001:db8::1/40;\n ipv4 192.0.2.0/24;\n ea-bits 16;\n psid-offset 6; }", []string{`2: rule "r": ipv6 2001:db8::1/40: an IPv6 prefix without host bits; mask it`}},
		{"rule without prefixes", "rule r { ea-bits 16; }", []string{`1: rule "r": ipv6 invalid Prefix`, `1: rule "r": ipv4`}},
		{"rule for whole prefixes", "rule r { ipv6 2001:db8::/40; ipv4 192.0.2.0/24;\n ea-bits 4; }", []string{`2: rule "r": ea-bits 4: a map gives ports of one address, this rule gives whole IPv4 prefixes`}},
		{"setting of a map in a rule", "rule r { max-ports 4; }", []string{`"max-ports" is no setting of a rule`}},
		{"all faults at once", "map a {\n realm x;\n}\nmap b {\n external 192.0.2.1; \n}\nmap c { foo 1; }\nmap d { " + end,
			[]string{`2: map "a": realm "x"`, `7: "foo" is no setting`, `4: map "b": internal: at least one span`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := file(t, "bad.conf", c.text)
			code, out, errs := detnat(t, "check -config "+path)
			if code != exitBadData || out != "" {
				t.Fatalf("exit %d: %s", code, out)
			}
			lines := strings.Split(strings.TrimSpace(errs), "\n")
			if len(lines) != len(c.faults) {
				t.Fatalf("%d faults, want %d:\n%s", len(lines), len(c.faults), errs)
			}
			for i, l := range lines {
				text, ok := strings.CutPrefix(l, "detnat check: "+path+":")
				if !ok || !strings.Contains(text, c.faults[i]) || c.faults[i][0] <= '9' && c.faults[i][0] >= '1' && !strings.HasPrefix(text, c.faults[i][:strings.Index(c.faults[i], ":")]) {
					t.Errorf("got  %s\nwant %s", l, c.faults[i])
				}
			}
			a := answer(t, "check -config "+path, exitBadData)
			if a["result"] != "bad-input" || len(a["faults"].([]any)) != len(lines) {
				t.Errorf("JSON: %v", a)
			}
		})
	}
}

// Command lines that are wrong.
func TestBadCommandLines(t *testing.T) {
	archive := file(t, "broken.jsonl", "{}\n\n{\"epoch\":1,\"from\":\"2025-01-01T00:00:00Z\"}\nnonsense\n")
	for _, c := range []struct{ line, part string }{
		{"", "detnat forward ADDR"},
		{"frobnicate", `there is no command "frobnicate"; detnat help lists them`},
		{"reverse", "ADDR:PORT: is missing; usage: detnat reverse ADDR:PORT [flags]"},
		{"reverse 192.0.2.1:1", "-config: or -history is missing; name a configuration or an archive"},
		{"reverse 192.0.2.1:1 192.0.2.1:2 -config sample.conf", `"192.0.2.1:2": is one argument too many`},
		{"reverse 192.0.2.1 -config sample.conf", "without the port nobody can be named (RFC 6302); ask for the source port and write 192.0.2.1:2001"},
		{"reverse 2001:db8::1 -config sample.conf", "has no port"},
		{"reverse 192.0.2.1:65536 -config sample.conf", `"192.0.2.1:65536": is no address with a port; write 192.0.2.1:2001`},
		{"reverse 192.0.2.1:x -config sample.conf", "is no address with a port"},
		{"reverse [fe80::1%eth0]:5 -config sample.conf", "has a zone; write the address without %eth0"},
		{"forward nobody -config sample.conf", `ADDR "nobody": is no address; write 198.51.100.1`},
		{"forward 10.0.0.0/8 -config sample.conf", `is a prefix; write one address of it, such as 10.0.0.0`},
		{"forward 10.0.0.1:80 -config sample.conf", "has a port; write the address alone"},
		{"forward fe80::1%eth0 -config sample.conf", "has a zone"},
		{"forward 10.0.0.1 -config sample.conf -history sample-history.jsonl", "-config: and -history exclude each other"},
		{"forward 10.0.0.1 -config sample.conf -at 2025-02-01T00:00:00Z", "-at: needs -history; a configuration does not say when it was in force"},
		{"forward 10.0.0.1 -history sample-history.jsonl -at 2025-02-01T12:00:00", `-at "2025-02-01T12:00:00": has no zone; write 2025-02-01T12:00:00Z if it is UTC, or its offset as in 2025-02-01T12:00:00+01:00`},
		{"forward 10.0.0.1 -history sample-history.jsonl -at 2025-02-01", "has no zone; write 2025-02-01T00:00:00Z"},
		{"forward 10.0.0.1 -history sample-history.jsonl -at yesterday", "is no time of RFC 3339; write 2025-02-01T12:00:00Z"},
		{"forward 10.0.0.1 -history sample-history.jsonl -at 2025-02-30T12:00:00Z", "is no time of RFC 3339"},
		{"forward 10.0.0.1 -config sample.conf -realm -1", `invalid value "-1" for flag -realm: write a number from 0 to 4294967295`},
		{"forward 10.0.0.1 -config sample.conf -block -5", "-block: is not negative"},
		{"forward 10.0.0.1 -config sample.conf -frob", "flag provided but not defined: -frob; detnat forward -h lists the flags"},
		{"forward 10.0.0.1 -config none.conf", "none.conf: -config: the file cannot be read: no such file or directory; check the name"},
		{"forward 10.0.0.1 -history none.jsonl", "none.jsonl: -history: the file cannot be read"},
		{"forward 10.0.0.1 -config .", "the file cannot be read"},
		{"forward 10.0.0.1 -history sample.conf", "sample.conf:1: deterministic: malformed text"},
		{"forward 10.0.0.1 -history " + archive, "broken.jsonl:4: "},
		{"table -map nix -config sample.conf", `-map "nix": is no map; there are: rfc7422, vpp, map-e`},
		{"table sample.conf", `"sample.conf": is one argument too many`},
		{"reverse 192.0.2.1:58204 -config sample.conf -log sample-blocks.jsonl", "-log: needs -history; what was dynamic at the time is in the archive"},
		{"reverse 192.0.2.1:58204 -history sample-history.jsonl -log none.jsonl", "none.jsonl: -log: the file cannot be read: no such file"},
		{"reverse 192.0.2.1:58204 -history sample-history.jsonl -log .", "-log: "},
		{"reverse 192.0.2.1:58204 -history sample-history.jsonl -log sample.conf", "sample.conf: -log: logging: line 1, byte 0: expected '{'; name a file of JSON lines"},
		{"reverse 192.0.2.1:58204 -history sample-history.jsonl -log sample-blocks.jsonl -tolerance -1s", "-tolerance: is not negative"},
		{"check", "-config: is missing; name a configuration"},
		{"check -config sample.conf -old sample.conf -history sample-history.jsonl", "-old: and -history exclude each other"},
		{"check -config sample.conf -at 2025-02-01T00:00:00Z", "-at: needs -history"},
		{"check -config sample.conf -old sample.conf -gap -2m", "-hold-down and -gap: are not negative"},
		{"check -config sample.conf -old testdata/none.conf", "testdata/none.conf: -old: the file cannot be read"},
		{"record", "-config: is missing"},
		{"record -config sample.conf -history sample-history.jsonl -at 2024-01-01T00:00:00Z", "epochs begin in the order of time"},
		{"record -config sample.conf -history testdata/none/archive.jsonl -at 2024-01-01T00:00:00Z", "the archive cannot be written"},
		{"show -config sample.conf -keys=perhaps", "invalid boolean value"},
	} {
		code, out, errs := detnat(t, c.line)
		if code != exitBadData {
			t.Errorf("detnat %s: exit %d: %s", c.line, code, out)
		}
		contains(t, errs, c.part)
		if out != "" {
			t.Errorf("detnat %s: prints %s", c.line, out)
		}
	}
}
