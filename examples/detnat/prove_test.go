package main

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/blocknat/blocknat/mapping/deterministic"
)

// externalPort is an external port: realm, address, port.
type externalPort struct {
	realm   uint32
	address netip.Addr
	port    int
}

// owners is the golden model of a change: who has each external port, read from the
// answers of every port, by realm, address and port.
func owners(bk *book) map[externalPort]string {
	out := map[externalPort]string{}
	for _, v := range bk.versions {
		cfg := v.Config()
		realm := fmt.Sprint(cfg.Realm, " ")
		for i := range v.Externals() {
			for port := range 65536 {
				p, err := v.Reverse(v.External(i), uint16(port))
				key := externalPort{cfg.ExternalRealm, v.External(i), port}
				switch err {
				case nil:
					out[key] = realm + p.String()
				case deterministic.ErrDynamic:
					out[key] = "dynamic"
				}
			}
		}
	}
	return out
}

// The counts of a change are those of the model, also where addresses go from one
// map to another.
func TestProve_counts_every_port(t *testing.T) {
	const base = "map a { internal 10.0.0.0/28; external 192.0.2.1 192.0.2.2; dynamic-factor 1; }\nmap b { realm 1; internal 10.0.0.0/28; external 192.0.2.3; }\n"
	for name, next := range map[string]string{
		"same":                             base,
		"renamed":                          "map z { internal 10.0.0.0/28; external 192.0.2.1 192.0.2.2; dynamic-factor 1; }\nmap b { realm 1; internal 10.0.0.0/28; external 192.0.2.3; }\n",
		"an address goes to the other map": "map a { internal 10.0.0.0/28; external 192.0.2.1; dynamic-factor 1; }\nmap b { realm 1; internal 10.0.0.0/28; external 192.0.2.2 192.0.2.3; }\n",
		"ratio":                            "map a { internal 10.0.0.0/28; external 192.0.2.1 192.0.2.2; dynamic-factor 1; sharing-ratio 9; }\nmap b { realm 1; internal 10.0.0.0/28; external 192.0.2.3; reserved none; }\n",
		"other realm outside":              "map a { internal 10.0.0.0/28; external-realm 1; external 192.0.2.1 192.0.2.2; dynamic-factor 1; }\n",
		"other addresses":                  "map a { internal 10.0.0.0/28; external 192.0.2.7; }\n",
	} {
		t.Run(name, func(t *testing.T) {
			old, err := buildConfig("old", base)
			if err != nil {
				t.Fatal(err)
			}
			bk, err := buildConfig("next", next)
			if err != nil {
				t.Fatal(err)
			}
			c, err := prove(&options{changes: -1, holdDown: 1}, old, bk)
			if err != nil {
				t.Fatal(err)
			}
			var same, moved, freed, taken, listed uint64
			was, is := owners(old), owners(bk)
			for key, a := range was {
				switch b, ok := is[key]; {
				case !ok:
					freed++
				case a == b:
					same++
				default:
					moved++
				}
			}
			for key := range is {
				if _, ok := was[key]; !ok {
					taken++
				}
			}
			for _, r := range c.Runs {
				listed += uint64(r.Ports.Len())
			}
			equal(t, fmt.Sprint(c.Same, c.Moved, c.Freed, c.Taken, listed, c.Safe), fmt.Sprint(same, moved, freed, taken, moved, moved == 0))
		})
	}
}

// The exit code is the verdict: 1 without the rest, 0 with it.
func TestCheck_change(t *testing.T) {
	const line = "check -config sample.conf -map vpp -old sample-before.conf "
	out := want(t, line+"-changes 1", exitNobody, "")
	contains(t, out, "moved          48384", "192.0.2.1 ports 5056-5631 from 198.51.100.1 to 198.51.100.2", "and more; -changes -1 lists all",
		"NOT SAFE: 48384 ports would change owner without a rest of 2m0s; leave -gap 2m0s")
	contains(t, want(t, line+"-gap 2m", exitFound, ""), "safe: every port that changes owner rests for the hold-down")
	want(t, line+"-gap 119s", exitNobody, "")
	want(t, line+"-gap 10s -hold-down 10s", exitFound, "")
	contains(t, want(t, "check -config sample.conf -old sample.conf", exitFound, ""), "safe: no port goes from one owner to another")
	contains(t, want(t, "check -config sample.conf -history sample-history.jsonl -at 2025-02-01T00:00:00Z", exitNobody, ""), "moved          48384")
	want(t, "check -config sample.conf -history sample-history.jsonl -at 2025-04-01T00:00:00Z", exitFound, "")
	contains(t, want(t, line+"-changes -1", exitNobody, ""), "57472-60927 from 198.51.100.13 to dynamic")
}

func TestCheck_counts(t *testing.T) {
	out := want(t, "check -config testdata/peers.conf", exitFound, "testdata/peers.conf: valid, 7 maps, no overlaps\n")
	contains(t, out,
		"unused          1024   0.78 %  left over by the division",        // VyOS: 512 on each of two addresses
		"unused         12902   9.84 %  slots without a subscriber",       // one slot of gaps
		"2081 or 2082 for each subscriber", "(realm 7, external realm 7)") // keyed: 64512 / 31
}
