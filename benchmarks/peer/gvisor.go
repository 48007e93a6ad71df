package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/faketime"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/blocknat/blocknat/benchmarks/workload"
)

var gvisorKind = Kind{
	Name: "gvisor", Note: "gVisor netstack: a whole router with connection tracking and an SNAT rule; one external address",
	Flows: 100_000, Clock: true, TCP: true, New: newGvisor,
}

// gvisor is a netstack that forwards between two interfaces, with a rule that
// translates what leaves through the second one.
type gvisor struct {
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
	n := &gvisor{clock: faketime.NewManualClock(), now: now}
	n.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{udp.NewProtocol, tcp.NewProtocol},
		Clock:              n.clock,
	})
	const mtu = 1500
	for i, id := range []tcpip.NICID{nicInternal, nicExternal} {
		n.nics[i] = channel.New(workload.RingSize, mtu, "")
		if err := n.stack.CreateNIC(id, n.nics[i]); err != nil {
			return nil, fmt.Errorf("gvisor: create interface: %v", err)
		}
	}
	for _, a := range []struct {
		nic    tcpip.NICID
		addr   uint32
		prefix int
	}{
		{nicInternal, workload.InternalBase | 0x3ffffe, 10},
		{nicExternal, workload.RemoteBase | 254, 24},
		{nicExternal, workload.ExternalBase + 1, 16},
	} {
		p := tcpip.ProtocolAddress{
			Protocol:          ipv4.ProtocolNumber,
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: gvisorAddress(a.addr), PrefixLen: a.prefix},
		}
		if err := n.stack.AddProtocolAddress(a.nic, p, stack.AddressProperties{}); err != nil {
			return nil, fmt.Errorf("gvisor: add address: %v", err)
		}
	}
	n.stack.SetRouteTable([]tcpip.Route{
		{Destination: gvisorSubnet(workload.InternalBase, 10), NIC: nicInternal},
		{Destination: header.IPv4EmptySubnet, NIC: nicExternal},
	})
	if err := n.stack.SetForwardingDefaultAndAllNICs(ipv4.ProtocolNumber, true); err != nil {
		return nil, fmt.Errorf("gvisor: forwarding: %v", err)
	}
	return n, n.translateSources()
}

// translateSources adds the rule: what leaves through the external interface gets the external address.
func (n *gvisor) translateSources() error {
	tables := n.stack.IPTables()
	table := tables.GetTable(stack.NATID, false)
	filter := stack.EmptyFilter4()
	filter.OutputInterface = n.stack.FindNICNameFromID(nicExternal)
	if len(table.Rules) != 5 || table.BuiltinChains[stack.Postrouting] != 3 {
		return errors.New("gvisor: its default NAT table has another shape")
	}
	rules := append([]stack.Rule(nil), table.Rules[:3]...)
	rules = append(rules, stack.Rule{Filter: filter, Target: &stack.SNATTarget{
		Addr: gvisorAddress(workload.ExternalBase + 1), NetworkProtocol: header.IPv4ProtocolNumber,
		ChangeAddress: true, ChangePort: true,
	}})
	table.Rules = append(rules, table.Rules[3:]...)
	table.Underflows[stack.Postrouting] = 4
	tables.ReplaceTable(stack.NATID, table, false)
	return nil
}

func gvisorAddress(a uint32) tcpip.Address {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], a)
	return tcpip.AddrFrom4(b)
}

func gvisorSubnet(a uint32, prefix int) tcpip.Subnet {
	return tcpip.AddressWithPrefix{Address: gvisorAddress(a), PrefixLen: prefix}.Subnet()
}

func (n *gvisor) Translate(d Direction, batch [][]byte, now time.Time) (forwarded int) {
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

func (n *gvisor) advance(now time.Time) {
	if d := now.Sub(n.now); d > 0 {
		n.clock.Advance(d)
		n.now = now
	}
}

// Expire lets the connection tracking's own timers run.
func (n *gvisor) Expire(now time.Time) { n.advance(now) }

func (n *gvisor) Sessions() int { return -1 }

func (n *gvisor) Close() {
	n.stack.Close()
	n.stack.Destroy()
}
