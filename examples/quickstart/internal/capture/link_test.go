package capture

import (
	"bytes"
	"testing"

	"github.com/blocknat/blocknat/examples/quickstart/internal/testpacket"
)

func TestLinkTypes(t *testing.T) {
	ip := testpacket.UDP("100.64.0.1:5000", "198.18.0.1:53", "query")
	mac := bytes.Repeat([]byte{2}, 12)
	frames := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, c := range []struct {
		name  string
		link  uint16
		frame []byte
		none  string
	}{
		{"raw", 101, ip, ""},
		{"raw, BSD", 12, ip, ""},
		{"raw, OpenBSD", 14, ip, ""},
		{"IPv4", 228, ip, ""},
		{"IPv6 link type", 229, ip, ""},
		{"Ethernet", 1, frames(mac, []byte{8, 0}, ip), ""},
		{"Ethernet with VLAN", 1, frames(mac, []byte{0x81, 0, 0, 7, 8, 0}, ip), ""},
		{"Ethernet with QinQ", 1, frames(mac, []byte{0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, 8, 0}, ip), ""},
		{"Ethernet with old QinQ", 1, frames(mac, []byte{0x91, 0, 0, 7, 0x81, 0, 0, 8, 8, 0}, ip), ""},
		{"Ethernet with PPPoE", 1, frames(mac, []byte{0x88, 0x64, 0x11, 0, 0, 1, 0, 35, 0, 0x21}, ip), ""},
		{"Ethernet with PPPoE discovery", 1, frames(mac, []byte{0x88, 0x64, 0x11, 9, 0, 1, 0, 35, 0, 0x21}, ip), noneOther},
		{"Ethernet with ARP", 1, frames(mac, []byte{8, 6}, ip), noneARP},
		{"Ethernet with LLC", 1, frames(mac, []byte{0, 38}, ip), noneOther},
		{"Ethernet, cut", 1, mac, noneShort},
		{"Ethernet, cut in the tag", 1, frames(mac, []byte{0x81, 0, 0}), noneShort},
		{"SLL", 113, frames(make([]byte, 14), []byte{8, 0}, ip), ""},
		{"SLL with VLAN", 113, frames(make([]byte, 14), []byte{0x81, 0, 0, 7, 8, 0}, ip), ""},
		{"SLL, cut", 113, make([]byte, 15), noneShort},
		{"SLL2", 276, frames([]byte{8, 0}, make([]byte, 18), ip), ""},
		{"SLL2 with ARP", 276, frames([]byte{8, 6}, make([]byte, 18), ip), noneARP},
		{"null, little endian", 0, frames([]byte{2, 0, 0, 0}, ip), ""},
		{"null, big endian", 0, frames([]byte{0, 0, 0, 2}, ip), ""},
		{"null, IPv6 of macOS", 0, frames([]byte{30, 0, 0, 0}, ip), ""},
		{"null, other", 0, frames([]byte{7, 0, 0, 0}, ip), noneOther},
		{"loop", 108, frames([]byte{0, 0, 0, 2}, ip), ""},
		{"loop, cut", 108, []byte{0, 0}, noneShort},
		{"PPP", 9, frames([]byte{0, 0x21}, ip), ""},
		{"PPP in HDLC", 9, frames([]byte{0xff, 3, 0, 0x21}, ip), ""},
		{"PPP with a short protocol", 50, frames([]byte{0x21}, ip), ""},
		{"PPP, IPv6", 9, frames([]byte{0, 0x57}, ip), ""},
		{"PPP, LCP", 9, frames([]byte{0xc0, 0x21}, ip), noneOther},
		{"PPP, cut", 9, []byte{0xff, 3}, noneShort},
		{"PPP, Cisco HDLC", 9, frames([]byte{0x0f, 0, 8, 0}, ip), ""},
		{"PPPoE", 51, frames([]byte{0x11, 0, 0, 1, 0, 35, 0, 0x21}, ip), ""},
		{"PPPoE, cut", 51, []byte{0x11, 0}, noneShort},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, none := linkTypes[c.link](c.frame)
			if none != c.none {
				t.Fatalf("counted as %q, want %q", none, c.none)
			}
			if none == "" && !bytes.Equal(got, ip) {
				t.Fatalf("the IP packet is % x, want % x", got, ip)
			}
		})
	}
}
