package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing/synctest"
	"time"

	"github.com/pion/logging"
	"github.com/pion/transport/v3/vnet"

	"github.com/blocknat/blocknat/natcore/nattest"
)

// pionNAT is an inner router with a NAT under an outer one. It runs in a bubble of testing/synctest.
type pionNAT struct {
	inner, outer *vnet.Router
	conns        map[netip.AddrPort]net.PacketConn
	nets         map[netip.Addr]*vnet.Net
	cfg          nattest.Config
	began        time.Time // of the bubble's clock, at Config.Now
	seen         vnet.Chunk
}

var pionSubject = nattest.Subject{
	New:   newPion,
	Lacks: nattest.TCP | nattest.Queries | nattest.Errors | nattest.Hairpin | nattest.Fragments | nattest.Bytes | nattest.Answers,
}

// notOffered lists what of a configuration a NAT with one address and no limits cannot do.
func notOffered(c nattest.Config) error {
	var missing []error
	for what, asked := range map[string]bool{
		"several external addresses": len(c.External) > 1, "a port range": c.LastPort > 0,
		"a limit of ports": c.PortsPerHost > 0, "a limit of sessions": c.SessionsPerHost > 0,
		"port parity": c.KeepParity, "port classes": c.KeepClass, "destinations that are not translated": c.Untranslated.IsValid(),
		"refresh by packets that arrive": c.RefreshInbound, "a timer for TCP": c.TCPTimeout > 0, "a timer for queries": c.ICMPTimeout > 0,
	} {
		if asked {
			missing = append(missing, fmt.Errorf("%s: %w", what, nattest.ErrNotOffered))
		}
	}
	return errors.Join(missing...)
}

func newPion(c nattest.Config) (nattest.NAT, error) {
	if err := notOffered(c); err != nil {
		return nil, err
	}
	n := &pionNAT{conns: map[netip.AddrPort]net.PacketConn{}, nets: map[netip.Addr]*vnet.Net{}, cfg: c, began: time.Now()}
	quiet := &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}
	var err error
	if n.outer, err = vnet.NewRouter(&vnet.RouterConfig{CIDR: "0.0.0.0/0", LoggerFactory: quiet}); err != nil {
		return nil, err
	}
	n.inner, err = vnet.NewRouter(&vnet.RouterConfig{
		CIDR: c.Internal.String(), StaticIPs: []string{c.External[0].String()}, LoggerFactory: quiet, NATType: pionType(c),
	})
	if err == nil {
		err = n.outer.AddRouter(n.inner)
	}
	if err != nil {
		return nil, err
	}
	// A packet that has been translated is noted and goes no further.
	n.outer.AddChunkFilter(func(ch vnet.Chunk) bool {
		if pionEndpoint(ch.DestinationAddr()).Addr() == c.External[0] {
			return true
		}
		n.seen = ch
		return false
	})
	n.inner.AddChunkFilter(func(ch vnet.Chunk) bool {
		if !c.Internal.Contains(pionEndpoint(ch.DestinationAddr()).Addr()) {
			return true
		}
		n.seen = ch
		return false
	})
	return n, n.outer.Start()
}

// pionType is the NAT's own default, but for what the configuration says.
func pionType(c nattest.Config) *vnet.NATType {
	behaviours := map[nattest.Behaviour]vnet.EndpointDependencyType{
		nattest.EndpointIndependent: vnet.EndpointIndependent, nattest.AddressDependent: vnet.EndpointAddrDependent,
		nattest.AddressAndPortDependent: vnet.EndpointAddrPortDependent,
	}
	t := &vnet.NATType{
		MappingBehavior: vnet.EndpointIndependent, FilteringBehavior: vnet.EndpointAddrPortDependent, MappingLifeTime: c.UDPTimeout,
	}
	if b, ok := behaviours[c.Mapping]; ok {
		t.MappingBehavior = b
	}
	if b, ok := behaviours[c.Filtering]; ok {
		t.FilteringBehavior = b
	}
	return t
}

func pionEndpoint(a net.Addr) netip.AddrPort {
	e := a.(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(e.Addr().Unmap(), e.Port())
}

func (n *pionNAT) Outbound(b []byte, now time.Time) []nattest.Packet { return n.pass(b, n.inner, now) }
func (n *pionNAT) Inbound(b []byte, now time.Time) []nattest.Packet  { return n.pass(b, n.outer, now) }

func (n *pionNAT) Advance(now time.Time) []nattest.Packet {
	time.Sleep(now.Sub(n.cfg.Now) - time.Since(n.began))
	return nil
}

// pass sends what a UDP packet holds from a socket of its source, and makes a packet of what comes out.
func (n *pionNAT) pass(b []byte, r *vnet.Router, now time.Time) []nattest.Packet {
	n.Advance(now)
	src := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:])), binary.BigEndian.Uint16(b[20:]))
	dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:])), binary.BigEndian.Uint16(b[22:]))
	conn, err := n.socket(r, src)
	if err != nil {
		panic(err) // fails the row
	}
	n.seen = nil
	if _, err := conn.WriteTo(b[28:], net.UDPAddrFromAddrPort(dst)); err != nil {
		return nil
	}
	synctest.Wait() // until every router waits for packets: what has not come out is dropped
	if n.seen == nil {
		return nil
	}
	inside := r == n.outer
	return []nattest.Packet{{Bytes: udpPacket(pionEndpoint(n.seen.SourceAddr()), pionEndpoint(n.seen.DestinationAddr()), n.seen.UserData()), Inside: inside}}
}

// socket returns the socket of an endpoint.
func (n *pionNAT) socket(r *vnet.Router, e netip.AddrPort) (net.PacketConn, error) {
	if c := n.conns[e]; c != nil {
		return c, nil
	}
	host := n.nets[e.Addr()]
	if host == nil {
		var err error
		if host, err = vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{e.Addr().String()}}); err != nil {
			return nil, err
		}
		if err := r.AddNet(host); err != nil {
			return nil, err
		}
		n.nets[e.Addr()] = host
	}
	c, err := host.ListenUDP("udp4", net.UDPAddrFromAddrPort(e))
	if err == nil {
		n.conns[e] = c
	}
	return c, err
}

// Close ends the routers.
func (n *pionNAT) Close() error {
	var errs []error
	for _, c := range n.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(append(errs, n.outer.Stop())...)
}

// udpPacket writes a UDP packet without a transport checksum.
func udpPacket(src, dst netip.AddrPort, payload []byte) []byte {
	b := make([]byte, 28, 28+len(payload))
	b[0], b[8], b[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(b[2:], uint16(28+len(payload)))
	s, d := src.Addr().As4(), dst.Addr().As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	binary.BigEndian.PutUint16(b[20:], src.Port())
	binary.BigEndian.PutUint16(b[22:], dst.Port())
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(payload)))
	return append(b, payload...)
}
