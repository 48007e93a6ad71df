package natcore_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// What a client finds out about the NAT: the tests of RFC 5780, and of RFC 3489 before it, played against the engine.

// behaviour is what a client finds out about a NAT with the help of a server that has two addresses and two ports.
type behaviour struct{ mapping, filtering natcore.Behaviour }

// discover carries out the mapping and filtering tests of RFC 5780 sections 4.3 and 4.4 from two fresh sockets of a host.
func (n *nat) discover(t failer, k kind, host netip.Addr, port int) behaviour {
	t.Helper()
	var b behaviour
	socket := endpoint(host, port)
	if one := n.out(t, k, socket, s1p1); one != n.out(t, k, socket, s2p1) {
		b.mapping = natcore.AddressDependent
		if n.out(t, k, socket, s2p1) != n.out(t, k, socket, s2p2) {
			b.mapping = natcore.AddressAndPortDependent
		}
	}
	socket = endpoint(host, port+1)
	e := n.out(t, k, socket, s1p1)
	switch {
	case n.passes(t, k, s2p2, e, socket):
		b.filtering = natcore.EndpointIndependent
	case n.passes(t, k, s1p2, e, socket):
		b.filtering = natcore.AddressDependent
	default:
		b.filtering = natcore.AddressAndPortDependent
	}
	return b
}

// TestRFC5780_01_02_Discovery: a client finds the configured behaviour, for each of the nine combinations
// and both transports; mapping and filtering do not depend on each other.
//
// Rows: 4787-08d, 5382-03a, 3489-01.
func TestRFC5780_01_02_Discovery(t *testing.T) {
	// How RFC 3489 section 5 calls them.
	classic := map[behaviour]string{
		{natcore.EndpointIndependent, natcore.EndpointIndependent}:     "full cone",
		{natcore.EndpointIndependent, natcore.AddressDependent}:        "restricted cone",
		{natcore.EndpointIndependent, natcore.AddressAndPortDependent}: "port restricted cone",
	}
	for m := natcore.EndpointIndependent; m <= natcore.AddressAndPortDependent; m++ {
		for f := natcore.EndpointIndependent; f <= natcore.AddressAndPortDependent; f++ {
			n := newNAT(t, func(c *natcore.Config) { c.Pools[0].Mapping, c.Pools[0].Filtering = m, f })
			for _, k := range []kind{udp, tcp} {
				require.Equal(t, behaviour{m, f}, n.discover(t, k, hostA, 40000), k)
			}
			if name := n.classic(t, hostB, 50000); m == natcore.EndpointIndependent {
				require.Equal(t, classic[behaviour{m, f}], name)
			} else {
				require.Equal(t, "symmetric", name)
			}
			check(t, n)
		}
	}
}

// classic carries out tests I to III of RFC 3489 section 10.1.
func (n *nat) classic(t failer, host netip.Addr, port int) string {
	t.Helper()
	socket := endpoint(host, port)
	e := n.out(t, udp, socket, s1p1)
	require.True(t, n.passes(t, udp, s1p1, e, socket), "test I")
	require.NotEqual(t, socket, e)
	switch {
	case n.out(t, udp, endpoint(host, port+1), s1p1) != n.out(t, udp, endpoint(host, port+1), s2p2):
		return "symmetric"
	case n.passes(t, udp, s2p2, e, socket):
		return "full cone"
	case n.passes(t, udp, s1p2, e, socket):
		return "restricted cone"
	}
	return "port restricted cone"
}

// TestRFC5780_03_BindingLifetime: another socket asks the server to answer to the mapping of the first.
func TestRFC5780_03_BindingLifetime(t *testing.T) {
	for _, at := range []time.Duration{119 * time.Second, 299 * time.Second, 300 * time.Second} {
		n := newNAT(t)
		e := n.out(t, udp, a40000, s1p1)
		n.wait(at)
		n.expire()
		n.out(t, udp, endpoint(hostA, 40001), s1p1)
		require.Equal(t, at < 300*time.Second, n.passes(t, udp, s1p1, e, a40000), "%v", at)
	}
}

// TestRFC5780_04_RefreshDirection: answers that another socket asks for keep the first one's mapping only where inbound packets refresh.
func TestRFC5780_04_RefreshDirection(t *testing.T) {
	for _, on := range []bool{false, true} {
		n := newNAT(t, func(c *natcore.Config) { c.RefreshInbound = on })
		e := n.out(t, udp, a40000, s1p1)
		for range 4 {
			n.wait(99 * time.Second)
			n.expire()
			n.out(t, udp, endpoint(hostA, 40001), s1p1)
			_, _, _ = n.in(t, udp, s1p1, e)
		}
		require.Equal(t, on, n.passes(t, udp, s1p1, e, a40000))
	}
}

// TestRFC5780_06_Fragments: requests and answers that are cut pass both ways and hairpin, and the mapping is the same.
func TestRFC5780_06_Fragments(t *testing.T) {
	n := newNAT(t)
	payload := bytes.Repeat([]byte("padding "), 190)
	request := func(dst netip.AddrPort) netip.AddrPort {
		passed := n.pass(t, natcore.Outbound, natcore.Forward, split(build(t, udp, a40000, dst, payload, tcpFlags{}), 1480))
		require.Len(t, passed, 2)
		return read(t, join(t, passed)).src
	}
	e := request(s1p1)
	require.Equal(t, e, request(s2p2))
	for _, from := range []netip.AddrPort{s1p1, endpoint(stranger, 9)} {
		passed := n.pass(t, natcore.Inbound, natcore.Forward, split(build(t, udp, from, e, payload, tcpFlags{}), 1480))
		require.Equal(t, build(t, udp, from, a40000, payload, tcpFlags{}), join(t, passed))
	}
	passed := n.pass(t, natcore.Outbound, natcore.Hairpin, split(build(t, udp, endpoint(hostB, 41000), e, payload, tcpFlags{}), 1480))
	require.Equal(t, a40000, read(t, join(t, passed)).dst)
}
