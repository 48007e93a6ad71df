package main

import (
	"fmt"
	"strings"
	"testing"
)

// rfc7422Ranges are the 14 ranges of the example of RFC 7422 section 2.3.
var rfc7422Ranges = []string{"1024-5055", "5056-9087", "9088-13119", "13120-17151", "17152-21183", "21184-25215", "25216-29247",
	"29248-33279", "33280-37311", "37312-41343", "41344-45375", "45376-49407", "49408-53439", "53440-57471"}

func TestRFC7422_forward(t *testing.T) {
	for k, r := range rfc7422Ranges {
		host := fmt.Sprintf("198.51.100.%d", k+1)
		want(t, "forward "+host+" -config sample.conf", exitFound, host+" -> 192.0.2.1:"+r+"\n  map         rfc7422 (realm 0, external realm 0)\n  ports       4032 on 192.0.2.1: "+r+"\n")
		first, last, _ := strings.Cut(r, "-")
		for _, port := range []string{first, last} {
			want(t, "reverse 192.0.2.1:"+port+" -config sample.conf", exitFound, "192.0.2.1:"+port+" -> "+host+"\n")
		}
	}
}

func TestRFC7422_reverse(t *testing.T) {
	for port, wanted := range map[int]string{
		0: "nobody: reserved", 80: "nobody: reserved", 1023: "nobody: reserved",
		1024: "198.51.100.1", 2001: "198.51.100.1", 5055: "198.51.100.1", 5056: "198.51.100.2", 57471: "198.51.100.14",
		57472: "nobody: dynamic", 58204: "nobody: dynamic", 65535: "nobody: dynamic",
	} {
		code := exitFound
		if strings.HasPrefix(wanted, "nobody") {
			code = exitNobody
		}
		want(t, fmt.Sprintf("reverse -config sample.conf 192.0.2.1:%d", port), code, fmt.Sprintf("192.0.2.1:%d -> %s\n", port, wanted))
	}
	out := want(t, "reverse 192.0.2.1:58204 -config sample.conf", exitNobody, "")
	contains(t, out, "dynamic range 57472-65535", "ask         the block records (the log; -log FILE) for the block of 192.0.2.1:58204")
	out = want(t, "reverse 192.0.2.1:80 -config sample.conf", exitNobody, "")
	contains(t, out, "the map reserves 0-1023")
}

func TestRFC7422_overflow(t *testing.T) {
	out := want(t, "forward 198.51.100.2 -block 100 -config sample.conf", exitFound, "")
	contains(t, out, "dynamic     57472-65535", "up to 5040 ports in all, 1008 more than its own: 10 blocks of 100 ports")
	a := answer(t, "forward 198.51.100.2 -block 100 -config sample.conf", exitFound)
	if n := a["overflow"].(map[string]any)["blocks"]; n != 10.0 {
		t.Fatalf("%v blocks, the RFC has 10", n)
	}
}

func TestRFC7422_boundary_addresses(t *testing.T) {
	for _, host := range []string{"198.51.100.0", "198.51.100.15"} {
		out := want(t, "forward "+host+" -config sample.conf", exitNobody, host+" -> nothing: not-subscriber\n")
		contains(t, out, "boundary address of 198.51.100.0/28", "include-boundary-addresses")
	}
}

func TestRFC7422_log_line(t *testing.T) {
	equal(t, want(t, "record -config testdata/rfc7422-log.conf -at 2000-10-11T16:32:52+02:00", exitFound, ""),
		"[Wed Oct 11 14:32:52 2000]:198.51.100.0:28:192.0.2.0:32:2:5040:0:1-1023,5004,5060\n")
}

func TestRFC7422_table(t *testing.T) {
	out := want(t, "table -map rfc7422 -config sample.conf", exitFound, "rfc7422: 14 subscribers on 1 address, ratio 14\n  reserved    0-1023\n  dynamic     57472-65535\n")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for k, r := range rfc7422Ranges {
		equal(t, strings.Join(strings.Fields(lines[k+4]), " "), fmt.Sprintf("198.51.100.%d 4032 192.0.2.1:%s", k+1, r))
	}
	if len(lines) != 4+14 {
		t.Fatalf("%d lines", len(lines))
	}
}

func TestRFC7422_check(t *testing.T) {
	out := want(t, "check -map rfc7422 -config sample.conf", exitFound, "sample.conf: valid, 3 maps, no overlaps\n")
	contains(t, out, "subscribers 14, room for 14", "1 address, ratio 14", "4032 for each subscriber, 5040 with dynamic blocks",
		"assigned       56448  86.13 %", "reserved        1024   1.56 %", "dynamic         8064  12.30 %", "all ports      65536")
}

// The numbers of VPP's test, FD.io CSIT, VyOS and nftables-cgnat.
func TestB1_peer_numbers(t *testing.T) {
	for _, c := range []struct{ config, flags, host, first, last, wanted string }{
		{"sample.conf", "", "172.16.255.20", "6064", "6315", "172.17.255.50:6064-6315"},
		{"testdata/peers.conf", "", "192.168.16.0", "1024", "1086", "68.142.68.4:1024-1086"},
		{"testdata/peers.conf", "", "192.168.31.255", "65473", "65535", "68.142.68.7:65473-65535"},
		{"testdata/peers.conf", "", "172.16.22.1", "1150", "1275", "35.156.134.3:1150-1275"},
		{"testdata/peers.conf", "-realm 0", "100.64.0.1", "17024", "33023", "203.0.113.1:17024-33023"},
		{"testdata/peers.conf", "-realm 0", "100.64.0.7", "49024", "65023", "192.0.2.1:49024-65023"},
		{"testdata/peers.conf", "-realm 7", "100.64.0.3", "25024", "33023", "192.0.2.0:25024-33023"},
	} {
		want(t, fmt.Sprintf("forward %s %s -config %s", c.host, c.flags, c.config), exitFound, c.host+" -> "+c.wanted+"\n")
		address, _, _ := strings.Cut(c.wanted, ":")
		for _, port := range []string{c.first, c.last} {
			want(t, fmt.Sprintf("reverse %s:%s %s -config %s", address, port, c.flags, c.config), exitFound, address+":"+port+" -> "+c.host+"\n")
		}
	}
}

// RFC 7597 appendix A, examples 1 and 2.
func TestRFC7597_rule(t *testing.T) {
	out := want(t, "forward 2001:db8:12:3400::1 -config testdata/rfc7597.conf", exitFound, "2001:db8:12:3400::1 -> 192.0.2.18:1232-1235,2256-2259,")
	contains(t, out, "subscriber  2001:db8:12:3400::/56", "252 on 192.0.2.18: 1232-1235,", "63696-63699, 64720-64723\n",
		"MAP address 2001:db8:12:3400:0:c000:212:34", "PSID        0x34")
	for _, port := range []string{"1232", "1235", "64723"} {
		want(t, "reverse 192.0.2.18:"+port+" -config testdata/rfc7597.conf", exitFound, "192.0.2.18:"+port+" -> 2001:db8:12:3400::/56\n")
	}
	out = want(t, "reverse 192.0.2.18:1023 -config testdata/rfc7597.conf", exitNobody, "192.0.2.18:1023 -> nobody: reserved\n")
	contains(t, out, "PSID offset 6 keeps the ports below 1024 out (RFC 7597 section 5.1)")
}

// RFC 6431 section 2.1: PRM 0x1400 with the value 0x0400 is the second set (slot 1).
func TestRFC6431_mask(t *testing.T) {
	out := want(t, "forward 10.0.0.0 -realm 11 -config testdata/peers.conf", exitFound, "10.0.0.0 -> 192.0.2.9:1024-2047,3072-4095,")
	contains(t, out, "16384 on 192.0.2.9: 1024-2047, 3072-4095, 9216-10239, 11264-12287,", "58368-59391,", "60416-61439\n")
}

// RFC 6431 section 2.2, key 000102...0f: E(1024) is 35297, so it is the first subscriber's.
func TestRFC6431_crypto(t *testing.T) {
	for _, port := range []string{"35297", "25359", "33618"} {
		want(t, "reverse 192.0.2.9:"+port+" -realm 10 -config testdata/peers.conf", exitFound, "192.0.2.9:"+port+" -> 10.0.0.0\n")
	}
}
