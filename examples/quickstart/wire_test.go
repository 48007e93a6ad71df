package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/examples/quickstart/internal/testpacket"
)

func parsed(t *testing.T, b []byte) ipv4 {
	p, ok := parseIPv4(b)
	require.True(t, ok)
	return p
}

// TestSetEndpointsAgainstGopacket compares an edited packet with the one that
// gopacket builds with the endpoint from the start.
func TestSetEndpointsAgainstGopacket(t *testing.T) {
	const internal, external, remote = "100.64.0.1:5000", "203.0.113.7:40961", "198.18.0.9:53"
	e := netip.MustParseAddrPort(external)
	for n := range 20 {
		payload := strings.Repeat("x\xff\x00", n)[:n]
		for name, build := range map[string]func(src, dst string) []byte{
			"udp":  func(src, dst string) []byte { return testpacket.UDP(src, dst, payload) },
			"tcp":  func(src, dst string) []byte { return testpacket.TCP(src, dst, testpacket.SYN, payload) },
			"icmp": func(src, dst string) []byte { return echo(src, dst, payload) },
			"gre": func(src, dst string) []byte {
				return testpacket.Other(address(src), address(dst), 47, payload)
			},
		} {
			t.Run(fmt.Sprintf("%s length=%d", name, n), func(t *testing.T) {
				b := build(internal, remote)
				parsed(t, b).setSource(e)
				require.Equal(t, build(external, remote), b, "source")
				b = build(remote, internal)
				parsed(t, b).setDestination(e)
				require.Equal(t, build(remote, external), b, "destination")
			})
		}
	}
}

// echo is an ICMP query whose identifier is the port of whichever end is not the remote one.
func echo(src, dst, payload string) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	if id := d.Port(); id != 53 {
		return testpacket.ICMP(address(src), address(dst), 0, id, 1, payload)
	}
	return testpacket.ICMP(address(src), address(dst), 8, s.Port(), 1, payload)
}

func address(s string) string { return netip.MustParseAddrPort(s).Addr().String() }

func TestWrongChecksumsStayWrongAndNoneStaysNone(t *testing.T) {
	e := netip.MustParseAddrPort("203.0.113.7:40961")
	right := testpacket.UDP("100.64.0.1:5000", "198.18.0.9:53", "query")
	want := testpacket.UDP("203.0.113.7:40961", "198.18.0.9:53", "query")

	none := bytes.Clone(right)
	clear(none[26:28])
	parsed(t, none).setSource(e)
	require.Equal(t, []byte{0, 0}, none[26:28])

	wrong := bytes.Clone(right)
	wrong[26] ^= 0x10
	wrong[10] ^= 0x10
	parsed(t, wrong).setSource(e)
	require.NotEqual(t, want[26:28], wrong[26:28])
	require.NotEqual(t, want[10:12], wrong[10:12])
	parsed(t, wrong).setSource(netip.MustParseAddrPort("100.64.0.1:5000"))
	wrong[26] ^= 0x10
	wrong[10] ^= 0x10
	require.Equal(t, right, wrong, "there and back")
}

func TestParseRefuses(t *testing.T) {
	good := testpacket.UDP("100.64.0.1:5000", "198.18.0.9:53", "query")
	for name, edit := range map[string]func(b []byte) []byte{
		"short":                          func(b []byte) []byte { return b[:19] },
		"IPv6":                           func(b []byte) []byte { b[0] = 0x65; return b },
		"header too short":               func(b []byte) []byte { b[0] = 0x44; return b },
		"header beyond the packet":       func(b []byte) []byte { b[0] = 0x4f; return b },
		"total length within the header": func(b []byte) []byte { b[3] = 19; return b },
		"nothing":                        func([]byte) []byte { return nil },
	} {
		_, ok := parseIPv4(edit(bytes.Clone(good)))
		require.False(t, ok, name)
	}
}

// TestCutPackets edits packets that end at every byte: nothing beyond is touched, nothing panics.
func TestCutPackets(t *testing.T) {
	e := netip.MustParseAddrPort("203.0.113.7:40961")
	quoted := testpacket.UDP("100.64.0.1:5000", "198.18.0.9:53", "query")
	for _, whole := range [][]byte{quoted, testpacket.TCP("100.64.0.1:5000", "198.18.0.9:53", testpacket.SYN, "x"),
		testpacket.ICMP("100.64.0.1", "198.18.0.9", 8, 1, 1, "x"), testpacket.Unreachable("198.18.0.9", "100.64.0.1", quoted)} {
		for n := range whole {
			p, ok := parseIPv4(bytes.Clone(whole[:n]))
			if !ok {
				continue
			}
			p.setSource(e)
			p.setDestination(e)
			if q, ok := p.quotation(); ok {
				q.setSource(e)
			}
			require.Len(t, p.b, n)
		}
	}
}

// TestDecodesAsGopacket compares the fields with gopacket's.
func TestDecodesAsGopacket(t *testing.T) {
	b := testpacket.Fragments(testpacket.UDP("100.64.0.1:5000", "198.18.0.9:53", strings.Repeat("x", 100)), 48)
	for i, f := range b {
		var ip layers.IPv4
		require.NoError(t, ip.DecodeFromBytes(f, gopacket.NilDecodeFeedback))
		p := parsed(t, f)
		require.Equal(t, i == 0, p.first)
		require.True(t, p.isFragment())
		require.Equal(t, ip.SrcIP.String(), p.src.String())
		require.Equal(t, []byte(ip.Payload), p.data())
		_, ok := p.source()
		require.Equal(t, i == 0, ok)
	}
}
