package natcore_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
)

// The endpoints of the tables: two ports on two servers, and a host of the remote realm that nobody has written to.
var (
	s1p1, s1p2 = endpoint(server1, 3478), endpoint(server1, 3479)
	s2p1, s2p2 = endpoint(server2, 3478), endpoint(server2, 3479)
	stranger   = netip.MustParseAddr("192.0.2.77")
	a40000     = endpoint(hostA, 40000)
)

const tick = time.Millisecond

// lasts requires that all sessions are there a tick before d has passed, and that none is left when it has.
func (n *nat) lasts(t failer, d time.Duration) {
	t.Helper()
	n.expire()
	before := n.Stats().Sessions
	require.NotZero(t, before)
	n.wait(d - tick)
	n.expire()
	require.Equal(t, before, n.Stats().Sessions, "a tick before %v", d)
	n.wait(tick)
	n.expire()
	st := n.Stats()
	require.Zero(t, st.Sessions+st.Mappings, "after %v", d)
}

// passes reports whether a packet from a remote endpoint comes in, and requires that it comes to the right host.
func (n *nat) passes(t failer, k kind, src, external, internal netip.AddrPort) bool {
	t.Helper()
	to, verdict, why := n.in(t, k, src, external, tcpFlags{syn: k == tcp, seq: 77})
	if verdict == natcore.Drop {
		require.Contains(t, []natcore.Reason{natcore.ReasonFiltered, natcore.ReasonNoMapping}, why)
		return false
	}
	require.Equal(t, internal, to)
	return true
}

func TestRFC4787_01_EndpointIndependentMapping(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, udp, a40000, s1p1)
	for _, to := range []netip.AddrPort{s1p2, s2p1, s2p2} {
		require.Equal(t, e, n.out(t, udp, a40000, to))
	}
	t.Run("4787-01b", func(t *testing.T) {
		external := map[netip.AddrPort]netip.AddrPort{}
		for round := range 20 {
			for socket := range 3 {
				src := endpoint(hostA, 50000+socket)
				dst := endpoint(server1, 1+round*socket*7)
				got := n.out(t, udp, src, dst)
				if known, ok := external[src]; ok {
					require.Equal(t, known, got, "towards %v", dst)
				}
				external[src] = got
			}
		}
		require.Len(t, external, 3)
	})
	check(t, n)
}

func TestRFC4787_02_PairedPooling(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, udp, a40000, s1p1)
	for i := range 500 {
		require.Equal(t, e.Addr(), n.out(t, udp, endpoint(hostA, 1024+i), s2p1).Addr())
	}
}

// TestRFC4787_03_NoPortOverloading: B gets a port of its own though it asks for A's, by the same source port where ports are preserved.
//
// Rows: ATK-06.
func TestRFC4787_03_NoPortOverloading(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) {
		c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
		c.Pools[0].Blocks.Preserve = true
	})
	for _, k := range []kind{udp, tcp, icmp} {
		a := n.out(t, k, endpoint(hostA, 5000), endpoint(server1, 53))
		require.NotEqual(t, a, n.out(t, k, endpoint(hostB, 5000), endpoint(server1, 53)))
		require.NotEqual(t, a, n.out(t, k, endpoint(hostB, 5000), endpoint(server2, 53)))
	}
	// Port 0 is mapped as any other: the answer comes back to it.
	t.Run("4787-03b", func(t *testing.T) {
		zero := endpoint(hostA, 0)
		e := n.out(t, udp, zero, s1p1)
		require.NotZero(t, e.Port())
		require.Equal(t, e, n.out(t, udp, zero, s2p1))
		require.True(t, n.passes(t, udp, s1p1, e, zero))
		check(t, n)
	})
}

func TestRFC4787_04_Parity(t *testing.T) {
	for _, p := range []portblock.Preference{portblock.Prefer, portblock.Require} {
		n := newNAT(t, func(c *natcore.Config) {
			c.Pools[0].Blocks.BlockSize = 16
			c.Pools[0].Blocks.MaxBlocks = 1
			c.Pools[0].Blocks.Parity = p
		})
		require.EqualValues(t, 1, n.out(t, udp, endpoint(hostA, 40001), s1p1).Port()&1)
		for i := range 8 {
			require.Zero(t, n.out(t, udp, endpoint(hostA, 40000+2*i), s1p1).Port()&1)
		}
		// No even port is left: the configuration says what happens.
		e, verdict, why := n.try(t, udp, endpoint(hostA, 50000), s1p1)
		if p == portblock.Prefer {
			require.Equal(t, natcore.Forward, verdict)
			require.EqualValues(t, 1, e.Port()&1)
		} else {
			require.Equal(t, natcore.ReasonBlockLimit, why)
		}
	}
	t.Run("4787-04b", func(t *testing.T) {
		n := newNAT(t)
		contiguous := 0
		for i := range 64 {
			even, odd := n.out(t, udp, endpoint(hostA, 40000+2*i), s1p1), n.out(t, udp, endpoint(hostA, 40001+2*i), s1p1)
			if odd.Port() == even.Port()+1 {
				contiguous++
			}
		}
		require.Less(t, contiguous, 16, "ports of a pair are drawn independently of each other")
	})
}

func TestRFC4787_05_MappingTimer(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Timeouts.UDP = 120 * time.Second })
	e := n.out(t, udp, a40000, s1p1)
	n.wait(120*time.Second - tick)
	n.expire()
	require.True(t, n.passes(t, udp, s1p1, e, a40000))
	require.Equal(t, e, n.out(t, udp, a40000, s1p1))
	n.lasts(t, 120*time.Second)
	require.False(t, n.passes(t, udp, s1p1, e, a40000))
	t.Run("4787-05b", func(t *testing.T) {
		for d, fault := range map[time.Duration]bool{120*time.Second - tick: true, 120 * time.Second: false, 20 * time.Minute: false} {
			c := config(n.log)
			c.Timeouts.UDP = d
			_, err := natcore.New(c, began)
			require.Equal(t, fault, err != nil, "%v: %v", d, err)
		}
	})
	t.Run("4787-05c", func(t *testing.T) {
		n := newNAT(t)
		n.out(t, udp, a40000, s1p1)
		n.lasts(t, 300*time.Second)
	})
}

func TestRFC4787_06_OutboundRefresh(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, udp, a40000, s1p1)
	for range 5 {
		n.wait(300*time.Second - tick)
		require.Equal(t, e, n.out(t, udp, a40000, s1p1))
	}
	n.lasts(t, 300*time.Second)
}

// TestRFC4787_06a_InboundRefresh: what only comes in keeps a mapping alive if and only if that was asked for.
func TestRFC4787_06a_InboundRefresh(t *testing.T) {
	for _, on := range []bool{false, true} {
		n := newNAT(t, func(c *natcore.Config) { c.RefreshInbound = on })
		e := n.out(t, udp, a40000, s1p1)
		for minute := 1; minute <= 10; minute++ {
			n.wait(time.Minute)
			n.expire()
			require.Equal(t, on || minute < 5, n.passes(t, udp, s1p1, e, a40000), "refresh %v, minute %d", on, minute)
		}
	}
}

// TestRFC4787_07_OverlappingRealms: the external realm uses the addresses of the internal one. Every internal
// host reaches every remote host of the same numbers.
func TestRFC4787_07_OverlappingRealms(t *testing.T) {
	n := newNAT(t)
	for i := range 8 {
		for j := range 8 {
			src := endpoint(netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + i)}), 40000)
			dst := endpoint(netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + j)}), 53)
			e := n.out(t, udp, src, dst)
			require.True(t, n.External(e.Addr()))
			require.True(t, n.passes(t, udp, dst, e, src))
		}
	}
	check(t, n)
}

func TestRFC4787_08_Filtering(t *testing.T) {
	open := func(t *testing.T, f natcore.Behaviour) (*nat, netip.AddrPort) {
		n := newNAT(t, func(c *natcore.Config) { c.Pools[0].Filtering = f })
		return n, n.out(t, udp, a40000, s1p1)
	}
	t.Run("4787-08a", func(t *testing.T) {
		n, e := open(t, natcore.EndpointIndependent)
		require.True(t, n.passes(t, udp, endpoint(stranger, 9999), e, a40000))
	})
	t.Run("4787-08b", func(t *testing.T) {
		n, e := open(t, natcore.AddressDependent)
		require.True(t, n.passes(t, udp, s1p2, e, a40000))
		require.False(t, n.passes(t, udp, s2p2, e, a40000))
		require.Equal(t, e, n.out(t, udp, a40000, s2p1))
		require.True(t, n.passes(t, udp, s2p2, e, a40000))
	})
	t.Run("4787-08c", func(t *testing.T) {
		n, e := open(t, natcore.AddressAndPortDependent)
		require.True(t, n.passes(t, udp, s1p1, e, a40000))
		require.False(t, n.passes(t, udp, s1p2, e, a40000))
		require.Equal(t, e, n.out(t, udp, a40000, s1p2))
		require.True(t, n.passes(t, udp, s1p2, e, a40000))
	})
}

// hairpin sends a packet of one internal endpoint to the external endpoint of another and returns what arrives.
func (n *nat) hairpin(t failer, k kind, src, dst netip.AddrPort, payload []byte) seen {
	t.Helper()
	batch := []natcore.Packet{{Bytes: build(t, k, src, dst, payload, tcpFlags{syn: true, seq: 5})}}
	n.Process(batch, n.now)
	require.Equal(t, natcore.Hairpin, batch[0].Verdict, "%v", batch[0].Reason)
	s := read(t, batch[0].Bytes)
	require.True(t, s.right && s.rightIP)
	require.Equal(t, payload, s.payload)
	return s
}

// TestRFC4787_09_Hairpinning: B gets what A sends to B's external endpoint, from A's external endpoint, and answers it.
//
// Rows: 4787-09a, 5382-08, 5382-08a, 5780-05.
func TestRFC4787_09_Hairpinning(t *testing.T) {
	for _, k := range []kind{udp, tcp} {
		for _, mapped := range []bool{true, false} {
			n := newNAT(t)
			a, b := a40000, endpoint(hostB, 41000)
			var ea netip.AddrPort
			if mapped {
				ea = n.out(t, k, a, s1p1)
			}
			eb := n.out(t, k, b, s1p1)
			s := n.hairpin(t, k, a, eb, []byte("to B"))
			require.Equal(t, b, s.dst)
			if mapped {
				require.Equal(t, ea, s.src)
			} else {
				require.True(t, n.External(s.src.Addr()), "A's mapping is made on the way")
			}
			answer := n.hairpin(t, k, b, s.src, []byte("to A"))
			require.Equal(t, a, answer.dst)
			require.Equal(t, eb, answer.src)
			check(t, n)
		}
	}
}

// TestRFC4787_09b_HairpinToOneself: A reaches itself from its external endpoint. The packet that it gets does not pass a second time: its source is ours.
func TestRFC4787_09b_HairpinToOneself(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, udp, a40000, s1p1)
	b := build(t, udp, a40000, e, []byte("self"), tcpFlags{})
	verdict, _ := n.Outbound(b, n.now)
	require.Equal(t, natcore.Hairpin, verdict)
	s := read(t, b)
	require.Equal(t, a40000, s.dst)
	require.Equal(t, e, s.src)
	verdict, why := n.Outbound(bytes.Clone(b), n.now)
	require.Equal(t, natcore.Drop, verdict)
	require.Equal(t, natcore.ReasonSpoofed, why)
	verdict, _ = n.Inbound(b, n.now)
	require.Equal(t, natcore.Drop, verdict)
}

// TestRFC4787_10_NoGateways: payloads with addresses and ports in them pass as they are, on the ports where gateways would look.
//
// Rows: 5382-06, 5780-08, ATK-16.
func TestRFC4787_10_NoGateways(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, udp, a40000, s1p1)
	payloads := map[int]string{
		21:   "PORT 10,0,0,2,156,64\r\n",
		69:   "\x00\x01boot\x00octet\x00",
		554:  "SETUP rtsp://198.51.100.10/a RTSP/1.0\r\nTransport: RTP/AVP;client_port=40000-40001\r\n\r\n",
		1723: "\x00\x9c\x00\x01\x1a\x2b\x3c\x4d\x00\x07\x00\x00",
		3478: "\x00\x01\x00\x08\x0a\x00\x00\x02\x9c\x40" + string(e.Addr().AsSlice()),
		5060: "REGISTER sip:10.0.0.2 SIP/2.0\r\nContact: <sip:a@10.0.0.2:40000>\r\n\r\n",
		6667: "DCC SEND file 167772162 40000 1\r\n",
	}
	for port, payload := range payloads {
		for _, k := range []kind{udp, tcp} {
			mappings := n.Stats().Mappings
			b := build(t, k, endpoint(hostA, 30000+port), endpoint(server1, port), []byte(payload), tcpFlags{syn: true, seq: 3})
			verdict, why := n.Outbound(b, n.now)
			require.Equal(t, natcore.Forward, verdict, why)
			s := read(t, b)
			require.Equal(t, payload, string(s.payload))
			require.Equal(t, mappings+1, n.Stats().Mappings, "no port is opened by a payload")
		}
	}
}

// TestRFC4787_11_Deterministic: the behaviour is the same for hosts that have to give way to others' ports, at any fill.
func TestRFC4787_11_Deterministic(t *testing.T) {
	for _, filled := range []int{0, 31, 62} {
		n := newNAT(t, func(c *natcore.Config) {
			c.Pools[0].Addresses = alloc.MustParseRanges("203.0.113.5")
			c.Pools[0].Blocks.Preserve = true
			c.Pools[0].Blocks.BlockSize = 64
			c.Pools[0].Blocks.MaxBlocks = 1
		})
		for host := byte(2); host < 5; host++ {
			x := netip.AddrFrom4([4]byte{10, 0, 0, host})
			for i := range filled {
				n.out(t, udp, endpoint(x, 20000+i), s1p1)
			}
			want := behaviour{natcore.EndpointIndependent, natcore.EndpointIndependent}
			require.Equal(t, want, n.discover(t, udp, x, 40000), "host %v, %d of 64 ports in use", x, filled)
		}
		check(t, n)
	}
}

// everyError are all ICMP errors that rows 4787-12 and 5382-10 name.
func everyError() (all []struct{ t, c uint8 }) {
	for t, codes := range map[uint8]int{3: 16, 4: 1, 5: 4, 11: 2, 12: 3} {
		for c := range codes {
			all = append(all, struct{ t, c uint8 }{t, uint8(c)})
		}
	}
	return all
}

// TestRFC4787_12_EveryTypeAndCode: no ICMP error from either side changes a session, whatever type and code it has.
func TestRFC4787_12_EveryTypeAndCode(t *testing.T) {
	n := newNAT(t)
	left := build(t, udp, a40000, s1p1, []byte("payload"), tcpFlags{})
	_, _ = n.Outbound(left, n.now)
	e := read(t, left).src
	arrived := build(t, udp, s1p1, a40000, []byte("answer"), tcpFlags{})
	before := n.only(t)
	n.wait(100 * time.Second)
	for _, et := range everyError() {
		_, _ = n.Inbound(icmpError(t, router, e.Addr(), et.t, et.c, [4]byte{0, 0, 5, 120}, left), n.now)
		_, _ = n.Outbound(icmpError(t, hostA, server1, et.t, et.c, [4]byte{0, 0, 5, 120}, arrived), n.now)
		require.Equal(t, before, n.only(t), "%d/%d", et.t, et.c)
	}
	n.lasts(t, 200*time.Second)
}

// only returns the one session that there is.
func (n *nat) only(t failer) natcore.SessionInfo {
	t.Helper()
	var all []natcore.SessionInfo
	for s := range n.Sessions() {
		all = append(all, s)
	}
	require.Len(t, all, 1)
	return all[0]
}

// TestRFC4787_12a_ErrorsOfAnyRouter: the strictest filtering admits the errors of routers that nobody has written to.
//
// Rows: 5927-04.
func TestRFC4787_12a_ErrorsOfAnyRouter(t *testing.T) {
	for f := natcore.EndpointIndependent; f <= natcore.AddressAndPortDependent; f++ {
		n := newNAT(t, func(c *natcore.Config) { c.Pools[0].Filtering = f })
		sent := build(t, udp, a40000, s1p1, []byte("payload"), tcpFlags{})
		left := bytes.Clone(sent)
		_, _ = n.Outbound(left, n.now)
		b := icmpError(t, router, read(t, left).src.Addr(), 3, 1, [4]byte{}, left)
		verdict, why := n.Inbound(b, n.now)
		require.Equal(t, natcore.Forward, verdict, why)
		require.Equal(t, icmpError(t, router, hostA, 3, 1, [4]byte{}, sent), b)
	}
}

// refit writes the total length and the checksum of a 20-byte header anew.
func refit(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[10], b[11] = 0, 0
	c := ^sum(b[:20], 0)
	b[10], b[11] = byte(c>>8), byte(c)
	return b
}

// TestRFC4787_15_TinyFragments: fragments that are made to slip past a translator (RFC 1858, RFC 3128).
func TestRFC4787_15_TinyFragments(t *testing.T) {
	n := newNAT(t)
	payload := make([]byte, 64)
	wholeTCP := build(t, tcp, a40000, s1p1, payload, tcpFlags{syn: true})
	wholeUDP := build(t, udp, a40000, s1p1, payload, tcpFlags{})
	shortUDP := refit(bytes.Clone(split(wholeUDP, 8)[0][:24]))
	for name, b := range map[string][]byte{
		"TCP, 8 bytes first":  split(wholeTCP, 8)[0],
		"TCP, 16 bytes first": split(wholeTCP, 16)[0],
		"TCP, offset 1":       split(wholeTCP, 8)[1],
		"UDP, 4 bytes first":  shortUDP,
	} {
		for _, d := range []natcore.Direction{natcore.Outbound, natcore.Inbound} {
			batch := []natcore.Packet{{Bytes: bytes.Clone(b), Direction: d}}
			n.Process(batch, n.now)
			require.Equal(t, natcore.Drop, batch[0].Verdict, name)
			require.Equal(t, natcore.ReasonTinyFragment, batch[0].Reason, name)
		}
	}
	require.Len(t, n.pass(t, natcore.Outbound, natcore.Forward, split(wholeTCP, 24)), 4, "24 bytes are enough")
	require.Zero(t, n.Stats().FragmentsHeld)
}

// TestRFC4787_14a_DatagramsAreBounded: no more datagrams are followed than configured; what is followed goes on, and room comes back.
func TestRFC4787_14a_DatagramsAreBounded(t *testing.T) {
	n := newNAT(t, func(c *natcore.Config) { c.Limits.Fragments = 10 })
	whole := build(t, udp, a40000, s1p1, make([]byte, 64), tcpFlags{})
	piece := func(id, i int) []byte {
		f := split(whole, 32)[i]
		binary.BigEndian.PutUint16(f[4:], uint16(id))
		return refit(f)
	}
	for id := range 10 {
		verdict, why := n.Outbound(piece(id, 0), n.now)
		require.Equal(t, natcore.Forward, verdict, why)
	}
	for id := 10; id < 1000; id++ {
		verdict, why := n.Outbound(piece(id, 1), n.now)
		require.Equal(t, natcore.Drop, verdict)
		require.Equal(t, natcore.ReasonFragment, why)
	}
	require.EqualValues(t, 10, n.Stats().Datagrams)
	for id := range 10 {
		verdict, why := n.Outbound(piece(id, 1), n.now)
		require.Equal(t, natcore.Forward, verdict, why)
	}
	n.out(t, udp, a40000, s2p1)
	n.wait(10 * time.Second)
	verdict, why := n.Outbound(piece(10, 0), n.now)
	require.Equal(t, natcore.Forward, verdict, why)
}

// TestATK_12_Spoofed: our addresses are nobody's source, on either side.
func TestATK_12_Spoofed(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, udp, a40000, s1p1)
	for _, k := range []kind{udp, tcp, icmp} {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			_, verdict, why := n.try(t, k, endpoint(e.Addr(), 999), s1p1)
			require.Equal(t, natcore.Drop, verdict)
			require.Equal(t, natcore.ReasonSpoofed, why)
			_, verdict, why = n.in(t, k, endpoint(e.Addr(), 999), e)
			require.Equal(t, natcore.Drop, verdict)
			require.Equal(t, natcore.ReasonSpoofed, why)
		})
	}
	require.EqualValues(t, 1, n.Stats().Mappings)
}

// TestATK_08_StrangersKeepNothingAlive: who writes to a mapping from ever new ports does not keep it beyond the idle time after the internal host's last packet.
func TestATK_08_StrangersKeepNothingAlive(t *testing.T) {
	for _, k := range []kind{udp, tcp} {
		n := newNAT(t)
		e := n.out(t, k, a40000, s1p1)
		for i := range 40 {
			n.wait(30 * time.Second)
			n.expire()
			_, _, _ = n.in(t, k, endpoint(stranger, 1000+i), e, tcpFlags{syn: true, seq: 1})
		}
		require.False(t, n.passes(t, k, s1p1, e, a40000), "%v: 20 minutes after the last outbound packet", k)
	}
}

// TestExpiryDoesNotWaitForExpire: a session whose time is over takes no packet of either direction, found by Expire or not.
func TestExpiryDoesNotWaitForExpire(t *testing.T) {
	n := newNAT(t)
	e := n.out(t, udp, a40000, s1p1)
	n.wait(300 * time.Second)
	require.False(t, n.passes(t, udp, s1p1, e, a40000))
	n = newNAT(t)
	c := n.connection().play(t, handshake+"<R")
	n.wait(1000 * time.Second)
	verdict, _ := c.try(t, "<D")
	require.Equal(t, natcore.Drop, verdict)
	require.NotEqual(t, "established", c.state())
}
