package peer_test

import (
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/benchmarks/peer"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

var began = time.Date(2026, 5, 1, 2, 30, 0, 0, time.UTC)

// view is a packet as gopacket sees it.
type view struct {
	src, dst peer.Endpoint
	rest     []byte // the transport payload
}

// read parses a packet with gopacket and requires that serialising it anew gives the
// same bytes: so all its checksums and lengths are right.
func read(t *testing.T, b []byte) view {
	t.Helper()
	p := gopacket.NewPacket(b, layers.LayerTypeIPv4, gopacket.Default)
	require.Nil(t, p.ErrorLayer())
	ip := p.NetworkLayer().(*layers.IPv4)
	v := view{rest: p.TransportLayer().LayerPayload()}
	number := func(a []byte) uint32 { return uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3]) }
	v.src.Addr, v.dst.Addr = number(ip.SrcIP.To4()), number(ip.DstIP.To4())
	var transport gopacket.SerializableLayer
	switch l := p.TransportLayer().(type) {
	case *layers.UDP:
		v.src.Port, v.dst.Port, transport = uint16(l.SrcPort), uint16(l.DstPort), l
		require.NoError(t, l.SetNetworkLayerForChecksum(ip))
	case *layers.TCP:
		v.src.Port, v.dst.Port, transport = uint16(l.SrcPort), uint16(l.DstPort), l
		require.NoError(t, l.SetNetworkLayerForChecksum(ip))
	}
	buf := gopacket.NewSerializeBuffer()
	require.NoError(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		ip, transport, gopacket.Payload(v.rest)))
	require.Equal(t, buf.Bytes(), b)
	return v
}

func each(t *testing.T, f func(t *testing.T, k peer.Kind, n peer.NAT)) {
	for _, k := range append(peer.Kinds(), peer.Floor) {
		t.Run("peer="+k.Name, func(t *testing.T) {
			n, err := k.New(began)
			require.NoError(t, err)
			defer n.Close()
			f(t, k, n)
		})
	}
}

// TestRoundTrip sends a packet of each flow out and its answer back, and holds both against
// gopacket's view: the remote end stays, the internal end comes back, no two sessions share an external endpoint.
func TestRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, k peer.Kind, n peer.NAT) {
		flows := workload.Uniform(1, 300)
		flows = append(flows, workload.IMIX(1, workload.Uniform(2, 300)[250:])...)
		if k.TCP {
			flows = append(flows, workload.SYNFlood(1, 100)...)
		}
		ring := workload.NewRing(true)
		used := map[[2]peer.Endpoint]workload.Flow{}
		for _, f := range flows {
			b := ring.Fill([]workload.Flow{f})[0]
			payload := read(t, b).rest
			require.Equal(t, 1, n.Translate(peer.Out, [][]byte{b}, began))
			v := read(t, b)
			require.Equal(t, peer.Endpoint{Addr: f.Dst, Port: f.DstPort}, v.dst)
			require.EqualValues(t, workload.ExternalBase>>16, v.src.Addr>>16, "%+v", v)
			require.GreaterOrEqual(t, v.src.Port, uint16(1024))
			require.Equal(t, payload, v.rest)
			before, taken := used[[2]peer.Endpoint{v.src, v.dst}]
			require.False(t, taken && (before.Src != f.Src || before.SrcPort != f.SrcPort), "%+v and %+v", before, f)
			used[[2]peer.Endpoint{v.src, v.dst}] = f

			b = ring.Fill([]workload.Flow{f.Answer(v.src.Addr, v.src.Port)})[0]
			require.Equal(t, 1, n.Translate(peer.In, [][]byte{b}, began))
			v = read(t, b)
			require.Equal(t, peer.Endpoint{Addr: f.Src, Port: f.SrcPort}, v.dst)
			require.Equal(t, peer.Endpoint{Addr: f.Dst, Port: f.DstPort}, v.src)
		}
		// The same packets once more, as batches, leave as they did.
		for at := 0; at < 256; at += 64 {
			batch := ring.Fill(flows[at : at+64])
			require.Equal(t, 64, n.Translate(peer.Out, batch, began))
			for i, b := range batch {
				v := read(t, b)
				f, ok := used[[2]peer.Endpoint{v.src, v.dst}]
				require.True(t, ok && f.Src == flows[at+i].Src && f.SrcPort == flows[at+i].SrcPort)
			}
		}
	})
}

// TestOneOwner gives many hosts one source port and one remote endpoint, more hosts than the peer has addresses:
// no two leave with the same external endpoint.
func TestOneOwner(t *testing.T) {
	each(t, func(t *testing.T, k peer.Kind, n peer.NAT) {
		hosts := map[string]int{"gvisor": 5000, "pion": 500}[k.Name]
		if hosts == 0 {
			hosts = 70_000
		}
		flows := make([]workload.Flow, hosts)
		for i := range flows {
			flows[i] = workload.Flow{
				Src: workload.InternalBase + 1 + uint32(i), SrcPort: 5000, Dst: workload.RemoteBase + 1, DstPort: 53,
				Proto: workload.UDP, Size: workload.MinSize,
			}
		}
		ring := workload.NewRing(false)
		owners := map[peer.Endpoint]bool{}
		for len(flows) > 0 {
			packets := ring.Fill(flows)
			require.Equal(t, len(packets), n.Translate(peer.Out, packets, began))
			for _, p := range packets {
				addr, port := workload.Source(p)
				require.False(t, owners[peer.Endpoint{Addr: addr, Port: port}])
				owners[peer.Endpoint{Addr: addr, Port: port}] = true
			}
			flows = flows[len(packets):]
		}
	})
}

func TestUnknownInboundIsDropped(t *testing.T) {
	each(t, func(t *testing.T, _ peer.Kind, n peer.NAT) {
		f := workload.Uniform(1, 1)[0]
		b := workload.NewRing(false).Fill([]workload.Flow{f.Answer(workload.ExternalBase+1, 5555)})
		require.Zero(t, n.Translate(peer.In, b, began))
	})
}

func TestExpire(t *testing.T) {
	each(t, func(t *testing.T, k peer.Kind, n peer.NAT) {
		if !k.Clock {
			n.Expire(began) // has no clock of the caller's: there is nothing to see
			return
		}
		f := workload.Uniform(1, 1)[0]
		ring := workload.NewRing(false)
		b := ring.Fill([]workload.Flow{f})
		require.Equal(t, 1, n.Translate(peer.Out, b, began))
		addr, port := workload.Source(b[0])
		answer := []workload.Flow{f.Answer(addr, port)}
		n.Expire(began.Add(100 * time.Second))
		require.Equal(t, 1, n.Translate(peer.In, ring.Fill(answer), began.Add(100*time.Second)))
		if n.Sessions() >= 0 {
			require.Equal(t, 1, n.Sessions())
		}
		end := began.Add(100*time.Second + peer.IdleTime)
		n.Expire(end)
		if n.Sessions() >= 0 {
			require.Zero(t, n.Sessions())
		}
		require.Zero(t, n.Translate(peer.In, ring.Fill(answer), end))
	})
}
