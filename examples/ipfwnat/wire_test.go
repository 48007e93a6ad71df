package main

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"
)

// TestPacketsAreAsGopacketWritesThem compares packets with those of an independent serializer.
func TestPacketsAreAsGopacketWritesThem(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, seed))
	for range 2000 {
		from, to := end{r.Uint32(), uint16(r.Uint32())}, end{r.Uint32(), uint16(r.Uint32())}
		ip := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Flags: layers.IPv4DontFragment, SrcIP: addr4(from.addr).AsSlice(), DstIP: addr4(to.addr).AsSlice()}
		var transport gopacket.SerializableLayer
		var got []byte
		if r.IntN(2) == 0 {
			ip.Protocol = layers.IPProtocolUDP
			u := &layers.UDP{SrcPort: layers.UDPPort(from.port), DstPort: layers.UDPPort(to.port)}
			require.NoError(t, u.SetNetworkLayerForChecksum(ip))
			transport, got = u, appendPacket(nil, udp, from, to, 0, 0, 0)
		} else {
			ip.Protocol = layers.IPProtocolTCP
			c := &layers.TCP{SrcPort: layers.TCPPort(from.port), DstPort: layers.TCPPort(to.port), Seq: r.Uint32(), Ack: r.Uint32(), Window: 65535, SYN: true, ACK: true}
			require.NoError(t, c.SetNetworkLayerForChecksum(ip))
			transport, got = c, appendPacket(nil, tcp, from, to, c.Seq, c.Ack, flagSYN|flagACK)
		}
		b := gopacket.NewSerializeBuffer()
		require.NoError(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, transport))
		require.Equal(t, b.Bytes(), got, "seed %d", seed)
		require.Equal(t, from, source(got))
	}
}

func TestNumbersOfSegments(t *testing.T) {
	for _, c := range []struct {
		flags    byte
		seq, ack uint32
	}{
		{flagSYN, 10, 0},
		{flagSYN | flagACK, 10, 21},
		{flagACK, 11, 21},
		{flagFIN | flagACK, 11, 21},
	} {
		seq, ack := numbers(c.flags, 10, 20)
		require.Equal(t, []uint32{c.seq, c.ack}, []uint32{seq, ack}, "flags %d", c.flags)
	}
}

func TestWorldIsPublic(t *testing.T) {
	w := newWorld(optionsOf(t, "-clients", "100"), [32]byte{1}, []netip.Addr{netip.MustParseAddr("8.8.8.8")})
	require.Len(t, w.taken, 100)
	for _, c := range w.clients {
		require.True(t, w.internal.Contains(addr4(c.addr)))
	}
	protocols := map[uint8]int{}
	for _, s := range w.services {
		require.True(t, public(addr4(s.addr)), addr4(s.addr))
		require.NotZero(t, s.port)
		protocols[s.proto]++
	}
	require.InDelta(t, 0.6, float64(protocols[tcp])/numServices, 0.05)
	require.Len(t, protocols, 2)
	weights := 0
	for _, p := range servicePorts {
		weights += p.weight
	}
	require.Equal(t, 100, weights)
}
