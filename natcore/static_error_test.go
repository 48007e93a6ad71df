package natcore_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// raw sends bytes through and returns them with what became of them.
func (n *nat) raw(d natcore.Direction, realm natcore.Realm, b []byte) natcore.Packet {
	batch := []natcore.Packet{{Bytes: bytes.Clone(b), Direction: d, Realm: realm}}
	n.Process(batch, n.now)
	return batch[0]
}

// TestB27_StaticErrors: ICMP errors about packets of static sessions reach the packet's sender with the packet as he sent it, in both directions, for
// a mapping of a port, of an address, with twice NAT, and across a hairpin; all checksums are right.
//
// Rows: B27.
func TestB27_StaticErrors(t *testing.T) {
	twice := natcore.Static{Name: "s", External: ip("192.0.2.9"), Internal: ip("10.9.0.1"), Sources: alloc.MustParseRanges("10.255.0.1")}
	whole := twice
	whole.Sources = nil
	port := natcore.Static{Name: "s", External: ip("192.0.2.9"), ExternalPort: 80, Internal: ip("10.9.0.1"), InternalPort: 8080}
	for name, s := range map[string]natcore.Static{"twice": twice, "whole": whole, "port": port} {
		for _, k := range []kind{udp, tcp, icmp} {
			if k == icmp && name == "port" {
				continue
			}
			for _, cut := range []int{1000, 28} {
				t.Run(fmt.Sprintf("%s/%v/%d", name, k, cut), func(t *testing.T) {
					n := newNAT(t, withStatic(s))
					c, to := endpoint(server1, 4000), at("192.0.2.9:80")
					if k == icmp {
						to = at("192.0.2.9:0")
					}
					quote := func(b []byte) []byte { return b[:min(cut, len(b))] }

					// The internal host and a router in front of it complain about what arrived.
					sent := build(t, k, c, to, []byte("payload"), synFlags)
					got := n.raw(natcore.Inbound, 0, sent)
					require.Equal(t, natcore.Forward, got.Verdict, "%v", got.Reason)
					seen := read(t, got.Bytes)
					for _, from := range []netip.Addr{ip("10.9.0.1"), ip("10.9.0.254")} {
						b := icmpError(t, from, seen.src.Addr(), 3, 3, [4]byte{}, quote(got.Bytes))
						left := n.raw(natcore.Outbound, 0, b)
						require.Equal(t, natcore.Forward, left.Verdict, "%v", left.Reason)
						require.Equal(t, icmpError(t, ip("192.0.2.9"), server1, 3, 3, [4]byte{}, quote(sent)), left.Bytes)
					}

					// The client and a router on the way complain about the answer.
					answer := build(t, k, seen.dst, seen.src, []byte("answer"), tcpFlags{ack: true, syn: true, seq: 9})
					left := n.raw(natcore.Outbound, 0, answer)
					require.Equal(t, natcore.Forward, left.Verdict, "%v", left.Reason)
					for _, from := range []netip.Addr{server1, router} {
						b := icmpError(t, from, ip("192.0.2.9"), 11, 0, [4]byte{}, quote(left.Bytes))
						come := n.raw(natcore.Inbound, 0, b)
						require.Equal(t, natcore.Forward, come.Verdict, "%v", come.Reason)
						if from == server1 {
							from = seen.src.Addr() // the client is what the host knows it as
						}
						require.Equal(t, icmpError(t, from, ip("10.9.0.1"), 11, 0, [4]byte{}, quote(answer)), come.Bytes)
					}
					// An error about nothing that there is.
					stray := build(t, k, at("192.0.2.9:81"), endpoint(server2, 9), nil, synFlags)
					p := n.raw(natcore.Inbound, 0, icmpError(t, router, ip("192.0.2.9"), 3, 1, [4]byte{}, stray))
					require.Equal(t, natcore.ReasonICMPNoMatch, p.Reason)
					check(t, n)
				})
			}
		}
	}
}

// TestB69_HairpinErrors: errors across a hairpin by a static mapping, from the server about a client's packet and from the client about the answer.
//
// Rows: B69.
func TestB69_HairpinErrors(t *testing.T) {
	for _, shards := range []int{1, 8} {
		n := newNAT(t, withStatic(natcore.Static{Name: "s", Protocol: 17, External: ip("203.0.113.5"), ExternalPort: 80, Internal: hostB, InternalPort: 8080}),
			func(c *natcore.Config) { c.Shards = shards })
		sent := build(t, udp, endpoint(hostA, 4000), at("203.0.113.5:80"), []byte("payload"), synFlags)
		got := n.raw(natcore.Outbound, 0, sent)
		require.Equal(t, natcore.Hairpin, got.Verdict, "%v", got.Reason)
		seen := read(t, got.Bytes)
		back := n.raw(natcore.Outbound, 0, icmpError(t, hostB, seen.src.Addr(), 3, 3, [4]byte{}, got.Bytes))
		require.Equal(t, natcore.Hairpin, back.Verdict, "%v", back.Reason)
		require.Equal(t, icmpError(t, ip("203.0.113.5"), hostA, 3, 3, [4]byte{}, sent), back.Bytes)

		answer := build(t, udp, seen.dst, seen.src, []byte("answer"), synFlags)
		got = n.raw(natcore.Outbound, 0, answer)
		require.Equal(t, natcore.Hairpin, got.Verdict, "%v", got.Reason)
		back = n.raw(natcore.Outbound, 0, icmpError(t, hostA, ip("203.0.113.5"), 3, 3, [4]byte{}, got.Bytes))
		require.Equal(t, natcore.Hairpin, back.Verdict, "%v", back.Reason)
		require.Equal(t, icmpError(t, seen.src.Addr(), hostB, 3, 3, [4]byte{}, answer), back.Bytes)
	}
}

// TestB25_StaticFragments: fragments to a static mapping and of its answers follow their first one, in any order, for TCP, UDP and ICMP, with twice NAT
// and across a hairpin.
//
// Rows: B25, B26, B80.
func TestB25_StaticFragments(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789abcdef"), 100)
	for _, twice := range []bool{false, true} {
		for _, k := range []kind{udp, tcp, icmp} {
			s := natcore.Static{Name: "s", External: ip("192.0.2.9"), Internal: ip("10.9.0.1")}
			if twice {
				s.Sources = alloc.MustParseRanges("10.255.0.1")
			}
			n := newNAT(t, withStatic(s))
			c, to := endpoint(server1, 4000), at("192.0.2.9:80")
			if k == icmp {
				to = at("192.0.2.9:0")
			}
			fragments := split(build(t, k, c, to, payload, synFlags), 512)
			reversed := [][]byte{fragments[3], fragments[2], fragments[1], fragments[0]}
			got := read(t, join(t, n.pass(t, natcore.Inbound, natcore.Forward, reversed)))
			require.True(t, got.right)
			require.Equal(t, payload, got.payload)
			require.Equal(t, ip("10.9.0.1"), got.dst.Addr())
			require.Equal(t, twice, got.src.Addr() == ip("10.255.0.1"))

			answer := split(build(t, k, got.dst, got.src, payload, synAckFlags), 512)
			back := read(t, join(t, n.pass(t, natcore.Outbound, natcore.Forward, answer)))
			require.True(t, back.right)
			require.Equal(t, ip("192.0.2.9"), back.src.Addr())
			require.Equal(t, server1, back.dst.Addr())

			// From another internal host, by the external address.
			fragments = split(build(t, k, endpoint(hostA, 4000), to, payload, synFlags), 512)
			reversed = [][]byte{fragments[1], fragments[0], fragments[3], fragments[2]}
			got = read(t, join(t, n.pass(t, natcore.Outbound, natcore.Hairpin, reversed)))
			require.True(t, got.right)
			require.Equal(t, ip("10.9.0.1"), got.dst.Addr())
			check(t, n)
		}
	}
}
