package natcore_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/natcore"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// lowest is the address that stands for the engine where none is configured.
var lowest = netip.MustParseAddr("203.0.113.5")

// ownError builds with gopacket the ICMP error that the engine has to send about a packet.
func ownError(t failer, src, dst netip.Addr, icmpType, code uint8, mtu uint16, about []byte) []byte {
	t.Helper()
	ip := &layers.IPv4{
		Version: 4, TTL: 64, Flags: layers.IPv4DontFragment, TOS: about[1] &^ 3, Protocol: layers.IPProtocolICMPv4,
		SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
	}
	l := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(icmpType, code), Seq: mtu}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	require.NoError(t, gopacket.SerializeLayers(buf, opts, ip, l, gopacket.Payload(about[:min(len(about), 548)])))
	return bytes.Clone(buf.Bytes())
}

// answer gives a packet of a realm to the engine, requires that it is dropped for a reason, and returns the error about it, if any.
func (n *nat) answer(t failer, p natcore.Packet, want natcore.Reason) []natcore.Packet {
	t.Helper()
	before := bytes.Clone(p.Bytes)
	batch := []natcore.Packet{p}
	n.Process(batch, n.now)
	require.Equal(t, natcore.Drop, batch[0].Verdict)
	require.Equal(t, want, batch[0].Reason)
	require.Equal(t, before, batch[0].Bytes)
	return n.Drain(nil)
}

// insideError is what Drain returns for an error to an internal host.
func insideError(b []byte, realm natcore.Realm) []natcore.Packet {
	return []natcore.Packet{{Bytes: b, Realm: realm, Direction: natcore.Inbound, Verdict: natcore.Forward, Flags: natcore.Generated}}
}

// TestRFC6888_11b_HostUnreachable: whoever gets no session because something has run out is told so by ICMP 3/1, a soft
// error, that quotes the packet as it was sent; by 3/13, or by nothing, where that is chosen.
//
// Rows: 5461-01.
func TestRFC6888_11b_HostUnreachable(t *testing.T) {
	full := true
	limits := map[natcore.Reason]func(c *natcore.Config){
		natcore.ReasonSessionLimit: func(c *natcore.Config) { c.Limits.SessionsPerSubscriber = 1 },
		natcore.ReasonPortLimit:    func(c *natcore.Config) { c.Pools[0].Blocks.MaxPorts = [3]int{1, 1, 1} },
		natcore.ReasonBlockLimit: func(c *natcore.Config) {
			small(1024, 2047, 1)(c)
			c.Pools[0].Blocks.BlockSize = 16
			c.Pools[0].Blocks.MaxBlocks = 1
		},
		natcore.ReasonBlocksExhausted:    small(1024, 1039, 16),
		natcore.ReasonSubscriberLimit:    func(c *natcore.Config) { c.Limits.Subscribers = 1 },
		natcore.ReasonAddressesExhausted: small(1024, 1039, 16),
		natcore.ReasonLogRefused: func(c *natcore.Config) {
			c.Log = logging.LogFunc(func(*logging.Record) error {
				if full {
					return logging.ErrFull
				}
				return nil
			})
		},
	}
	for why, limit := range limits {
		for answer, code := range map[natcore.Answer]uint8{natcore.AnswerDefault: 1, natcore.AnswerHost: 1, natcore.AnswerProhibited: 13, natcore.AnswerNone: 0} {
			for _, k := range []kind{udp, tcp, icmp} {
				n := newNAT(t, limit, func(c *natcore.Config) { c.ICMP.Exhausted = answer })
				src := endpoint(hostB, 1)
				full = why == natcore.ReasonLogRefused
				if !full {
					src = endpoint(hostA, 1)
					for i := range 16 {
						b := build(t, k, endpoint(hostA, 100+i), endpoint(server1, 0), nil, tcpFlags{syn: true})
						n.Outbound(b, n.now)
					}
					n.Drain(nil)
					n.wait(time.Second) // the bucket is full again
				}
				if why == natcore.ReasonSubscriberLimit || why == natcore.ReasonAddressesExhausted {
					src = endpoint(hostB, 1)
				}
				b := build(t, k, src, endpoint(server1, 0), bytes.Repeat([]byte("x"), 900), tcpFlags{syn: true})
				b[1] = 0xb9
				refit(b)
				got := n.answer(t, natcore.Packet{Bytes: b}, why)
				if answer == natcore.AnswerNone {
					require.Empty(t, got)
					continue
				}
				require.Equal(t, insideError(ownError(t, lowest, src.Addr(), 3, code, 0, b), 0), got, "%v %v", why, k)
				require.EqualValues(t, 0xb8, got[0].Bytes[1])
				require.Len(t, got[0].Bytes, 576)
			}
		}
	}
}

// TestRFC5508_08_Prohibited: whoever a rule refuses, or none covers, is told so by ICMP 3/13, in its realm, from
// the address that the NAT has there.
//
// Rows: 5508-09.
func TestRFC5508_08_Prohibited(t *testing.T) {
	inner := netip.MustParseAddr("10.0.0.254")
	rules := func(c *natcore.Config) {
		c.ICMP.Internal = inner
		c.Rules = []natcore.Rule{
			{Realm: 7, Internal: netip.MustParsePrefix("10.0.0.2/32"), Action: natcore.Refuse},
			{Realm: 7, Internal: netip.MustParsePrefix("10.0.0.3/32"), Pool: "cgn"},
		}
	}
	for src, why := range map[netip.Addr]natcore.Reason{hostA: natcore.ReasonRuleDrop, netip.MustParseAddr("10.0.0.4"): natcore.ReasonNoRule} {
		for _, k := range []kind{udp, tcp, icmp} {
			n := newNAT(t, rules)
			b := build(t, k, endpoint(src, 1), endpoint(server1, 0), nil, tcpFlags{syn: true})
			got := n.answer(t, natcore.Packet{Bytes: b, Realm: 7}, why)
			require.Equal(t, insideError(ownError(t, inner, src, 3, 13, 0, b), 7), got)
			require.Empty(t, n.Drain(nil), "one error")
			for _, off := range []func(c *natcore.Config){
				func(c *natcore.Config) { c.ICMP.Off = true }, func(c *natcore.Config) { c.ICMP.Refused = natcore.AnswerNone },
			} {
				n = newNAT(t, rules, off)
				require.Empty(t, n.answer(t, natcore.Packet{Bytes: bytes.Clone(b), Realm: 7}, why))
			}
		}
	}
}

// TestRFC5508_10d_ClassOfService: the error has the class of service of the packet, without its ECN bits.
func TestRFC5508_10d_ClassOfService(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Rules = []natcore.Rule{{Action: natcore.Refuse}} })
	for tos := range 256 {
		n.wait(time.Second)
		b := build(t, udp, a40000, s1p1, nil, tcpFlags{})
		b[1] = byte(tos)
		refit(b)
		got := n.answer(t, natcore.Packet{Bytes: b}, natcore.ReasonRuleDrop)
		require.Len(t, got, 1)
		require.EqualValues(t, tos&0xfc, got[0].Bytes[1])
	}
}

// TestRFC5508_10e_NeverAnswered: ICMP errors, later fragments, resets, and whatever has a source or destination that is no single host's, a
// wrong header checksum, or comes from outside.
func TestRFC5508_10e_NeverAnswered(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Rules = []natcore.Rule{{Action: natcore.Refuse}} })
	silent := func(b []byte) {
		t.Helper()
		for _, d := range []natcore.Direction{natcore.Outbound, natcore.Inbound} {
			batch := []natcore.Packet{{Bytes: b, Direction: d}}
			n.Process(batch, n.now)
			require.NotEqual(t, natcore.Forward, batch[0].Verdict)
			require.Empty(t, n.Drain(nil))
			require.False(t, n.Reject(&natcore.Packet{Bytes: b, Direction: d}, rewrite.TimeExceeded(), n.now))
			require.Empty(t, n.Drain(nil))
		}
	}
	good := build(t, udp, a40000, s1p1, make([]byte, 100), tcpFlags{})
	require.Len(t, n.answer(t, natcore.Packet{Bytes: bytes.Clone(good)}, natcore.ReasonRuleDrop), 1)
	silent(icmpError(t, hostA, server1, 3, 3, [4]byte{}, good))
	silent(icmpError(t, hostA, server1, 9, 0, [4]byte{}, nil))
	silent(split(good, 64)[1])
	silent(build(t, tcp, a40000, s1p1, nil, tcpFlags{rst: true}))
	broken := bytes.Clone(good)
	broken[10]++
	silent(broken)
	for _, odd := range []string{"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"} {
		a := netip.MustParseAddr(odd)
		silent(build(t, udp, endpoint(a, 1), s1p1, nil, tcpFlags{}))
		silent(build(t, udp, a40000, endpoint(a, 1), nil, tcpFlags{}))
	}
	n.wait(time.Second)
	first := split(good, 64)[0]
	got := n.answer(t, natcore.Packet{Bytes: bytes.Clone(first)}, natcore.ReasonRuleDrop)
	require.Equal(t, insideError(ownError(t, lowest, hostA, 3, 13, 0, first), 0), got, "a first fragment is answered")
	require.Empty(t, n.answer(t, natcore.Packet{Bytes: build(t, udp, s1p1, endpoint(lowest, 2000), nil, tcpFlags{}), Direction: natcore.Inbound},
		natcore.ReasonNoMapping), "strangers are not told that nobody is there")
}

// TestRFC5508_10f_RateLimit: one receiver gets as many errors a second as it may, all together as many as they may, each a bucket of a second, and
// the rest is counted.
func TestRFC5508_10f_RateLimit(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Rules = []natcore.Rule{{Action: natcore.Refuse}}
		c.ICMP.PerSecond, c.ICMP.PerReceiver = 20, 4
	})
	ask := func(i, times int) (answers int) {
		for range times {
			answers += len(n.answer(t, natcore.Packet{Bytes: build(t, udp, endpoint(host(i), 1), s1p1, nil, tcpFlags{})}, natcore.ReasonRuleDrop))
		}
		return answers
	}
	require.Equal(t, 4, ask(0, 10))
	n.wait(250 * time.Millisecond)
	require.Equal(t, 1, ask(0, 10))
	n.wait(249 * time.Millisecond)
	require.Equal(t, 0, ask(0, 10))
	n.wait(time.Millisecond)
	require.Equal(t, 1, ask(0, 10))
	n.wait(time.Hour)
	require.Equal(t, 4, ask(0, 10), "a bucket of one second, however long the pause")
	all := 4
	for i := 1; i < 30; i++ {
		all += ask(i, 1)
	}
	require.Equal(t, 20, all)
	n.wait(50 * time.Millisecond)
	require.Equal(t, 1, ask(50, 1)+ask(51, 1))
	st := n.Stats()
	require.EqualValues(t, 4+1+1+20+1, st.ErrorsBuilt)
	require.EqualValues(t, 6+9+10+9+6+13+1, st.ErrorsSuppressed)
}

// TestErrorsThatNobodyFetches are bounded.
func TestErrorsThatNobodyFetches(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Rules = []natcore.Rule{{Action: natcore.Refuse}}
		c.ICMP.PerSecond, c.ICMP.PerReceiver = 1_000_000, 1_000_000
	})
	for i := range 3000 {
		n.Outbound(build(t, udp, endpoint(host(i), 1), s1p1, nil, tcpFlags{}), n.now)
	}
	require.Len(t, n.Drain(nil), 1024)
	require.EqualValues(t, 3000-1024, n.Stats().ErrorsSuppressed)
	require.Empty(t, n.Drain(nil))
}

// TestICMPConfig: faults are told, and defaults are those of the documentation.
func TestICMPConfig(t *testing.T) {
	cfg := config(logging.NewMemory(0))
	cfg.ICMP = natcore.ICMPConfig{
		Exhausted: 9, Refused: 9, SYNWait: time.Second, SYNs: -1, SYNsPerAddress: -1, PerSecond: -1, PerReceiver: -1,
		LeastMTU: 68, QuotedWindow: -1, Internal: netip.MustParseAddr("::1"), External: netip.MustParseAddr("224.0.0.1"),
	}
	_, err := natcore.New(cfg, began)
	faults := faultsOf(t, err)
	for _, field := range []string{"Exhausted", "Refused", "SYNWait", "SYNs", "SYNsPerAddress", "PerSecond", "PerReceiver", "LeastMTU", "QuotedWindow", "Internal", "External"} {
		require.Contains(t, faults, "ICMP."+field)
	}
	cfg.ICMP = natcore.ICMPConfig{SYNWait: 5 * time.Second}
	_, err = natcore.New(cfg, began)
	require.ErrorContains(t, err, "RFC 5382")
	cfg.ICMP = natcore.ICMPConfig{SYNWait: -1, Internal: netip.MustParseAddr("::ffff:10.0.0.1")}
	_, err = natcore.New(cfg, began)
	require.NoError(t, err)
}
