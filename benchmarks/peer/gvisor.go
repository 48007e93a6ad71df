package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/blocknat/blocknat/benchmarks/workload"
)

var gvisorKind = Kind{
	Name: "gvisor", Note: "gVisor netstack: a whole router with connection tracking and an SNAT rule; one external address",
	Flows: 100_000, Clock: true, TCP: true, Garbage: true, Slow: true, New: newGvisor, NewSmall: newGvisor,
}

// Gvisor is a netstack that forwards between two interfaces, with a rule that
// translates what leaves through the second one.
type Gvisor struct {
	stack *stack.Stack
	nics  [2]*channel.Endpoint // internal, external
	clock *faketime.ManualClock
	now   time.Time
}

const (
	nicInternal tcpip.NICID = 1 + iota
	nicExternal
)

// gvisorHeaders is how much of a packet can change: an IPv4 header without options and a TCP header.
const gvisorHeaders = 40

func newGvisor(now time.Time) (NAT, error) {
	address := func(a uint32) netip.Addr { return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, a))) }
	return NewGvisor(now, netip.PrefixFrom(address(workload.InternalBase), 10), netip.PrefixFrom(address(workload.ExternalBase+1), 16))
}

// NewGvisor returns a netstack that translates what the internal hosts send to the external address, which stands with its prefix.
func NewGvisor(now time.Time, internal, external netip.Prefix) (*Gvisor, error) {
	n := &Gvisor{clock: faketime.NewManualClock(), now: now}
	n.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{udp.NewProtocol, tcp.NewProtocol, icmp.NewProtocol4},
		Clock:              n.clock,
	})
	const mtu = 1500
	for i, id := range []tcpip.NICID{nicInternal, nicExternal} {
		n.nics[i] = channel.New(workload.RingSize, mtu, "")
		if err := n.stack.CreateNIC(id, n.nics[i]); err != nil {
			return nil, fmt.Errorf("gvisor: create interface: %v", err)
		}
	}
	first := internal.Masked().Addr().As4()
	router := [4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(first[:])|1<<(32-internal.Bits())-2))
	for _, a := range []struct {
		nic tcpip.NICID
		at  netip.Prefix
	}{
		{nicInternal, netip.PrefixFrom(netip.AddrFrom4(router), internal.Bits())},
		{nicExternal, netip.PrefixFrom(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, workload.RemoteBase|254))), 24)},
		{nicExternal, external},
	} {
		p := tcpip.ProtocolAddress{
			Protocol:          ipv4.ProtocolNumber,
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(a.at.Addr().As4()), PrefixLen: a.at.Bits()},
		}
		if err := n.stack.AddProtocolAddress(a.nic, p, stack.AddressProperties{}); err != nil {
			return nil, fmt.Errorf("gvisor: add address: %v", err)
		}
	}
	inside := tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(internal.Addr().As4()), PrefixLen: internal.Bits()}
	n.stack.SetRouteTable([]tcpip.Route{
		{Destination: inside.Subnet(), NIC: nicInternal},
		{Destination: header.IPv4EmptySubnet, NIC: nicExternal},
	})
	if err := n.stack.SetForwardingDefaultAndAllNICs(ipv4.ProtocolNumber, true); err != nil {
		return nil, fmt.Errorf("gvisor: forwarding: %v", err)
	}
	return n, n.translateSources(tcpip.AddrFrom4(external.Addr().As4()))
}

// translateSources adds the rule: what leaves through the external interface gets the external address.
func (n *Gvisor) translateSources(external tcpip.Address) error {
	tables := n.stack.IPTables()
	table := tables.GetTable(stack.NATID, false)
	filter := stack.EmptyFilter4()
	filter.OutputInterface = n.stack.FindNICNameFromID(nicExternal)
	if len(table.Rules) != 5 || table.BuiltinChains[stack.Postrouting] != 3 {
		return errors.New("gvisor: its default NAT table has another shape")
	}
	rules := append([]stack.Rule(nil), table.Rules[:3]...)
	rules = append(rules, stack.Rule{Filter: filter, Target: &stack.SNATTarget{
		Addr: external, NetworkProtocol: header.IPv4ProtocolNumber,
		ChangeAddress: true, ChangePort: true,
	}})
	table.Rules = append(rules, table.Rules[3:]...)
	table.Underflows[stack.Postrouting] = 4
	tables.ReplaceTable(stack.NATID, table, false)
	return nil
}

func (n *Gvisor) Translate(d Direction, batch [][]byte, now time.Time) (forwarded int) {
	n.advance(now)
	from, to := n.nics[d], n.nics[1-d]
	for _, b := range batch {
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
		from.InjectInbound(ipv4.ProtocolNumber, p)
		p.DecRef()
		q := to.Read()
		if q == nil {
			continue
		}
		at := 0
		for _, s := range q.AsSlices() {
			if at += copy(b[at:min(gvisorHeaders, len(b))], s); at >= gvisorHeaders {
				break
			}
		}
		q.DecRef()
		forwarded++
	}
	// What goes back, as an ICMP error, is nobody's.
	from.Drain()
	return forwarded
}

// Send hands the stack one packet and returns all that leaves on the other side, and all that goes back.
func (n *Gvisor) Send(d Direction, packet []byte, now time.Time) (onward, back [][]byte) {
	n.advance(now)
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
	n.nics[d].InjectInbound(ipv4.ProtocolNumber, p)
	p.DecRef()
	return sentBy(n.nics[1-d]), sentBy(n.nics[d])
}

func sentBy(nic *channel.Endpoint) (all [][]byte) {
	for p := nic.Read(); p != nil; p = nic.Read() {
		view := p.ToView()
		all = append(all, append([]byte(nil), view.AsSlice()...))
		view.Release()
		p.DecRef()
	}
	return all
}

func (n *Gvisor) advance(now time.Time) {
	if d := now.Sub(n.now); d > 0 {
		n.clock.Advance(d)
		n.now = now
	}
}

// Expire lets the connection tracking's own timers run.
func (n *Gvisor) Expire(now time.Time) { n.advance(now) }

func (n *Gvisor) Sessions() int { return -1 }

func (n *Gvisor) Close() {
	n.stack.Close()
	n.stack.Destroy()
}
