package natcore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// portless builds a packet of any protocol, with a payload that looks like nothing.
func portless(proto uint8, src, dst netip.Addr) []byte {
	b := make([]byte, 20, 64)
	b[0], b[6], b[8], b[9] = 0x45, 0x40, 64, proto
	s, d := src.As4(), dst.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	b = append(b, "\xff\xfe\x00\x01payload of a protocol"...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	c := ^sum(b[:20], 0)
	b[10], b[11] = byte(c>>8), byte(c)
	return b
}

// sends puts a packet of a protocol through and requires that nothing but addresses changes.
func (n *nat) sends(t failer, d natcore.Direction, realm natcore.Realm, proto uint8, src, dst netip.Addr) moved {
	t.Helper()
	b := portless(proto, src, dst)
	p := n.raw(d, realm, b)
	if p.Verdict == natcore.Drop {
		require.Equal(t, b, p.Bytes)
		return dropped(p.Reason)
	}
	require.EqualValues(t, 0xffff, sum(p.Bytes[:20], 0), "header checksum")
	require.Equal(t, b[20:], p.Bytes[20:], "the payload stays, and so does an SCTP checksum, which covers no address")
	from, to := netip.AddrFrom4([4]byte(p.Bytes[12:16])), netip.AddrFrom4([4]byte(p.Bytes[16:20]))
	return moved{endpoint(from, 0), endpoint(to, 0), p.Verdict, natcore.ReasonNone, p.Realm}
}

func withProtocols(p ...uint8) func(*natcore.Config) {
	return func(c *natcore.Config) { c.Protocols = p }
}

// TestB20_Protocols: GRE, ESP, SCTP, IP in IP and 6in4 leave with the host's external address, nothing else changes, and the answer returns to the host. What is not
// chosen is dropped.
//
// Rows: B20.
func TestB20_Protocols(t *testing.T) {
	n := newNAT(t, withProtocols(47, 50, 132, 4, 41))
	a := n.out(t, udp, endpoint(hostA, 4000), endpoint(server1, 80)).Addr()
	for _, proto := range []uint8{47, 50, 132, 4, 41} {
		require.Equal(t, moved{endpoint(a, 0), endpoint(server1, 0), natcore.Forward, 0, 0}, n.sends(t, natcore.Outbound, 0, proto, hostA, server1), "paired with the host's address")
		require.Equal(t, moved{endpoint(server1, 0), endpoint(hostA, 0), natcore.Forward, 0, 0}, n.sends(t, natcore.Inbound, 0, proto, server1, a))
		require.Equal(t, dropped(natcore.ReasonNoSession), n.sends(t, natcore.Inbound, 0, proto, server2, a))
	}
	require.Equal(t, dropped(natcore.ReasonProtocol), n.sends(t, natcore.Outbound, 0, 51, hostA, server1))
	require.Equal(t, dropped(natcore.ReasonProtocol), n.sends(t, natcore.Outbound, 0, 89, hostA, server1))
	require.Equal(t, dropped(natcore.ReasonProtocol), n.sends(t, natcore.Inbound, 0, 89, server1, a))
	require.Equal(t, dropped(natcore.ReasonSpoofed), n.sends(t, natcore.Inbound, 0, 47, a, a))
	check(t, n)

	n = newNAT(t)
	require.Equal(t, dropped(natcore.ReasonProtocol), n.sends(t, natcore.Outbound, 0, 47, hostA, server1))
}

// TestProtocolConflict: one host for each external address, protocol and remote address: the first; it keeps it until its session is over and recorded.
func TestProtocolConflict(t *testing.T) {
	n := newNAT(t, withProtocols(47, 50), func(c *natcore.Config) { c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5") })
	require.Equal(t, natcore.Forward, n.sends(t, natcore.Outbound, 0, 47, hostA, server1).verdict)
	require.Equal(t, dropped(natcore.ReasonConflict), n.sends(t, natcore.Outbound, 0, 47, hostB, server1))
	require.Equal(t, natcore.Forward, n.sends(t, natcore.Outbound, 0, 47, hostB, server2).verdict)
	require.Equal(t, natcore.Forward, n.sends(t, natcore.Outbound, 0, 50, hostB, server1).verdict)
	check(t, n)
	n.wait(299 * time.Second)
	require.Equal(t, natcore.Forward, n.sends(t, natcore.Inbound, 0, 47, server1, ip("203.0.113.5")).verdict)
	n.wait(time.Second) // what arrives keeps nothing alive
	require.Equal(t, dropped(natcore.ReasonNoSession), n.sends(t, natcore.Inbound, 0, 47, server1, ip("203.0.113.5")))
	n.expire()
	require.Equal(t, natcore.Forward, n.sends(t, natcore.Outbound, 0, 47, hostB, server1).verdict)
	require.Equal(t, hostB, n.sends(t, natcore.Inbound, 0, 47, server1, ip("203.0.113.5")).dst.Addr())
	check(t, n)

	// A host whose own session is over begins anew at once, also before Expire.
	n.wait(301 * time.Second)
	require.Equal(t, natcore.Forward, n.sends(t, natcore.Outbound, 0, 47, hostB, server1).verdict)
	check(t, n)
	n.wait(time.Hour)
	n.expire()
	n.expire()
	require.Zero(t, n.Stats().StaticSessions)
	require.Zero(t, n.Stats().Subscribers)
	check(t, n)
}

// TestProtocolRecords: each session has a record before its first packet leaves, with the remote address, which alone tells hosts apart, and one at its end. A log
// that refuses lets no session begin, and none be taken over.
func TestProtocolRecords(t *testing.T) {
	log := &refusing{Memory: logging.NewMemory(0)}
	n := newNAT(t, withProtocols(47), func(c *natcore.Config) {
		c.Log = log
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
	})
	records := func() (all []logging.Record) {
		for _, r := range log.Records() {
			if r.Kind == logging.SessionCreated || r.Kind == logging.SessionDeleted {
				require.NoError(t, r.Check())
				all = append(all, r)
			}
		}
		return all
	}
	log.refuse = true
	require.Equal(t, dropped(natcore.ReasonLogRefused), n.sends(t, natcore.Outbound, 0, 47, hostA, server1))
	check(t, n)
	log.refuse = false
	require.Equal(t, natcore.Forward, n.sends(t, natcore.Outbound, 0, 47, hostA, server1).verdict)
	require.Len(t, records(), 1)
	r := records()[0]
	require.Equal(t, []any{hostA, ip("203.0.113.5"), endpoint(server1, 0), uint8(47)}, []any{r.Subscriber, r.External, r.Remote, r.Protocol})

	n.wait(300 * time.Second)
	log.refuse = true
	n.expire()
	require.Equal(t, dropped(natcore.ReasonConflict), n.sends(t, natcore.Outbound, 0, 47, hostB, server1), "the end is not recorded")
	check(t, n)
	log.refuse = false
	n.expire()
	require.Len(t, records(), 2)
	require.Equal(t, logging.SessionDeleted, records()[1].Kind)
	require.Equal(t, r.Time, records()[1].Allocated)
	require.Equal(t, natcore.Forward, n.sends(t, natcore.Outbound, 0, 47, hostB, server1).verdict)
	check(t, n)

	// The answer to the question who it was, by the log alone.
	x := logging.NewIndex()
	for _, r := range records() {
		require.NoError(t, x.Append(&r))
	}
	who := x.Who(logging.Query{External: ip("203.0.113.5"), At: began.Add(time.Minute)})
	require.Len(t, who, 1)
	require.Equal(t, hostA, who[0].Subscriber)
	require.NoError(t, n.Close(n.now))
	require.Len(t, records(), 4)
}

// refusing is a log that refuses when told to.
type refusing struct {
	*logging.Memory
	refuse bool
}

func (r *refusing) Append(rec *logging.Record) error {
	if r.refuse {
		return errors.New("no room")
	}
	return r.Memory.Append(rec)
}

// TestProtocolLimits: sessions without ports are bounded for each subscriber and in all.
func TestProtocolLimits(t *testing.T) {
	n := newNAT(t, withProtocols(47), func(c *natcore.Config) {
		c.Limits.ProtocolSessions, c.Limits.ProtocolSessionsPerSubscriber = 5, 3
	})
	open := func(host netip.Addr) (opened int) {
		for i := range 10 {
			if m := n.sends(t, natcore.Outbound, 0, 47, host, netip.AddrFrom4([4]byte{198, 18, host.As4()[3], byte(i)})); m.verdict == natcore.Forward {
				opened++
			} else {
				require.Equal(t, natcore.ReasonSessionLimit, m.why)
			}
		}
		return opened
	}
	require.Equal(t, 3, open(hostA))
	require.Equal(t, 2, open(hostB))
	check(t, n)
}

// TestB21_StaticProtocols: protocols without ports through 1:1 addresses, chosen or not, also hairpinned between two of them, and from a host without one.
//
// Rows: B21, B76.
func TestB21_StaticProtocols(t *testing.T) {
	n := newNAT(t, withProtocols(47), withStatic(
		natcore.Static{Name: "a", External: ip("192.0.2.1"), Internal: hostA},
		natcore.Static{Name: "b", External: ip("192.0.2.2"), Internal: hostB},
		natcore.Static{Name: "esp", Protocol: 50, External: ip("192.0.2.3"), Internal: ip("10.9.0.1"), Sources: alloc.MustParseRanges("10.255.0.1")},
	))
	require.Equal(t, moved{endpoint(ip("192.0.2.1"), 0), endpoint(server1, 0), natcore.Forward, 0, 0}, n.sends(t, natcore.Outbound, 0, 89, hostA, server1))
	require.Equal(t, moved{endpoint(server1, 0), endpoint(hostA, 0), natcore.Forward, 0, 0}, n.sends(t, natcore.Inbound, 0, 89, server1, ip("192.0.2.1")))
	require.Equal(t, moved{endpoint(server2, 0), endpoint(hostA, 0), natcore.Forward, 0, 0}, n.sends(t, natcore.Inbound, 0, 50, server2, ip("192.0.2.1")))
	require.Equal(t, moved{endpoint(ip("192.0.2.1"), 0), endpoint(hostB, 0), natcore.Hairpin, 0, 0}, n.sends(t, natcore.Outbound, 0, 47, hostA, ip("192.0.2.2")))
	require.Equal(t, moved{endpoint(ip("192.0.2.2"), 0), endpoint(hostA, 0), natcore.Hairpin, 0, 0}, n.sends(t, natcore.Outbound, 0, 47, hostB, ip("192.0.2.1")))
	m := n.sends(t, natcore.Outbound, 0, 47, ip("10.0.0.9"), ip("192.0.2.2"))
	require.Equal(t, natcore.Hairpin, m.verdict, "%v", m.why)
	require.Equal(t, moved{endpoint(ip("192.0.2.2"), 0), endpoint(ip("10.0.0.9"), 0), natcore.Hairpin, 0, 0}, n.sends(t, natcore.Outbound, 0, 47, hostB, m.src.Addr()))
	require.Equal(t, dropped(natcore.ReasonProtocol), n.sends(t, natcore.Inbound, 0, 51, server1, ip("192.0.2.1")))

	m = n.sends(t, natcore.Inbound, 0, 50, server1, ip("192.0.2.3"))
	require.Equal(t, moved{at("10.255.0.1:0"), at("10.9.0.1:0"), natcore.Forward, 0, 0}, m)
	require.Equal(t, dropped(natcore.ReasonSourcesExhausted), n.sends(t, natcore.Inbound, 0, 50, server2, ip("192.0.2.3")))
	require.Equal(t, moved{at("192.0.2.3:0"), endpoint(server1, 0), natcore.Forward, 0, 0}, n.sends(t, natcore.Outbound, 0, 50, ip("10.9.0.1"), ip("10.255.0.1")))
	check(t, n)
}

// TestProtocolErrorsAndFragments: ICMP errors about packets without ports find back with their quotes, and later fragments follow the first one.
func TestProtocolErrorsAndFragments(t *testing.T) {
	n := newNAT(t, withProtocols(50))
	sent := portless(50, hostA, server1)
	left := n.raw(natcore.Outbound, 0, sent)
	require.Equal(t, natcore.Forward, left.Verdict)
	external := netip.AddrFrom4([4]byte(left.Bytes[12:16]))
	p := n.raw(natcore.Inbound, 0, icmpError(t, router, external, 3, 4, [4]byte{0, 0, 5, 0}, left.Bytes))
	require.Equal(t, natcore.Forward, p.Verdict, "%v", p.Reason)
	require.Equal(t, icmpError(t, router, hostA, 3, 4, [4]byte{0, 0, 5, 0}, sent), p.Bytes)
	p = n.raw(natcore.Inbound, 0, icmpError(t, router, external, 3, 4, [4]byte{0, 0, 5, 0}, portless(50, external, server2)))
	require.Equal(t, natcore.ReasonICMPNoMatch, p.Reason)

	fragments := split(bytes.Clone(sent), 16)
	require.Len(t, fragments, 2)
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		f := [][]byte{fragments[order[0]], fragments[order[1]]}
		whole := join(t, n.pass(t, natcore.Outbound, natcore.Forward, f))
		require.Equal(t, left.Bytes[20:], whole[20:])
		require.Equal(t, left.Bytes[12:20], whole[12:20])
	}
}
