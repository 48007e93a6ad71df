package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/pion/logging"
	"github.com/pion/transport/v3/vnet"

	"github.com/blocknat/blocknat/benchmarks/workload"
)

var pionKind = Kind{
	Name: "pion", Note: "pion vnet, a NAT for tests: UDP only, one address, ports never used again; two router goroutines are in the path",
	Flows: 10_000, Garbage: true, New: newPion,
}

// pion is a vnet: an inner router with a NAT under an outer one. The NAT
// itself is not exported, so packets enter through sockets of the virtual network, one for each
// endpoint, and are taken out by filters of the routers. A packet so passes two
// queues and wakes two goroutines; a batch wakes them once.
type pion struct {
	inner, outer *vnet.Router
	internal     map[Endpoint]net.PacketConn
	remote       map[Endpoint]net.PacketConn
	nets         map[uint32]*vnet.Net
	got          [2]chan Endpoint // the translated endpoints, by direction
}

// pionWait is how long a packet is waited for before it counts as dropped.
const pionWait = time.Second

const pionExternal = workload.ExternalBase + 1

func newPion(time.Time) (NAT, error) {
	n := &pion{
		internal: map[Endpoint]net.PacketConn{}, remote: map[Endpoint]net.PacketConn{}, nets: map[uint32]*vnet.Net{},
	}
	for d := range n.got {
		n.got[d] = make(chan Endpoint, workload.RingSize)
	}
	quiet := &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}
	var err error
	if n.outer, err = vnet.NewRouter(&vnet.RouterConfig{CIDR: "0.0.0.0/0", LoggerFactory: quiet}); err != nil {
		return nil, err
	}
	n.inner, err = vnet.NewRouter(&vnet.RouterConfig{
		CIDR: "100.64.0.0/10", StaticIPs: []string{pionIP(pionExternal).String()}, LoggerFactory: quiet,
		NATType: &vnet.NATType{
			MappingBehavior: vnet.EndpointIndependent, FilteringBehavior: vnet.EndpointIndependent,
			MappingLifeTime: time.Hour,
		},
	})
	if err != nil {
		return nil, err
	}
	if err := n.outer.AddRouter(n.inner); err != nil {
		return nil, err
	}
	// A packet that has been translated is noted and goes no further.
	n.outer.AddChunkFilter(func(c vnet.Chunk) bool {
		to := pionEndpoint(c.DestinationAddr())
		if to.Addr == pionExternal {
			return true
		}
		n.got[Out] <- pionEndpoint(c.SourceAddr())
		return false
	})
	n.inner.AddChunkFilter(func(c vnet.Chunk) bool {
		to := pionEndpoint(c.DestinationAddr())
		if to.Addr>>22 != workload.InternalBase>>22 {
			return true
		}
		n.got[In] <- to
		return false
	})
	return n, n.outer.Start()
}

func pionIP(a uint32) net.IP { return binary.BigEndian.AppendUint32(nil, a) }

func pionEndpoint(a net.Addr) Endpoint {
	u := a.(*net.UDPAddr)
	return Endpoint{binary.BigEndian.Uint32(u.IP.To4()), uint16(u.Port)}
}

// Prepare opens the sockets that packets between two endpoints are sent from.
func (n *pion) Prepare(internal, remote Endpoint) error {
	return errors.Join(n.open(n.internal, n.inner, internal), n.open(n.remote, n.outer, remote))
}

func (n *pion) open(conns map[Endpoint]net.PacketConn, r *vnet.Router, e Endpoint) error {
	if conns[e] != nil {
		return nil
	}
	host := n.nets[e.Addr]
	if host == nil {
		var err error
		if host, err = vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{pionIP(e.Addr).String()}}); err != nil {
			return err
		}
		if err := r.AddNet(host); err != nil {
			return err
		}
		n.nets[e.Addr] = host
	}
	c, err := host.ListenUDP("udp4", &net.UDPAddr{IP: pionIP(e.Addr), Port: int(e.Port)})
	if err != nil {
		return fmt.Errorf("pion: socket: %w", err)
	}
	conns[e] = c
	return nil
}

func (n *pion) Translate(d Direction, batch [][]byte, _ time.Time) (forwarded int) {
	sent := make([][]byte, 0, len(batch))
	for _, b := range batch {
		t, ok := tupleOf(b)
		if !ok || t.proto != workload.UDP {
			continue
		}
		conns, router := n.internal, n.inner
		if d == In {
			conns, router = n.remote, n.outer
		}
		from := Endpoint{t.src, t.srcPort}
		if n.open(conns, router, from) != nil {
			continue
		}
		to := &net.UDPAddr{IP: pionIP(t.dst), Port: int(t.dstPort)}
		if _, err := conns[from].WriteTo(b[28:], to); err == nil {
			sent = append(sent, b)
		}
	}
	for _, b := range sent {
		e, ok := n.receive(d)
		if !ok {
			return forwarded
		}
		if d == Out {
			rewriteEndpoint(b, 12, 20, e.Addr, e.Port)
		} else {
			rewriteEndpoint(b, 16, 22, e.Addr, e.Port)
		}
		forwarded++
	}
	return forwarded
}

// receive waits for the next packet that was translated. The virtual network keeps their order.
// A drop in the middle of a batch shifts those behind it, so drops are only told apart in batches of one.
func (n *pion) receive(d Direction) (Endpoint, bool) {
	select {
	case e := <-n.got[d]:
		return e, true
	default:
	}
	late := time.NewTimer(pionWait)
	defer late.Stop()
	select {
	case e := <-n.got[d]:
		return e, true
	case <-late.C:
		return Endpoint{}, false
	}
}

// Expire does nothing: the virtual network has the wall clock only.
func (n *pion) Expire(time.Time) {}

func (n *pion) Sessions() int { return -1 }

func (n *pion) Close() {
	for _, m := range []map[Endpoint]net.PacketConn{n.internal, n.remote} {
		for _, c := range m {
			_ = c.Close()
		}
	}
	_ = n.outer.Stop()
}
