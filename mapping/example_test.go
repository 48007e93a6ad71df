package mapping_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/portblock"
)

// A block of ports leads packets of both directions to one session.
func Example() {
	began := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	table := mapping.NewTable([24]byte{1}, mapping.Timeouts{UDP: 300 * time.Second}, began)
	in, _ := mapping.EndpointOf(netip.MustParseAddrPort("100.64.0.7:40000"))
	out, _ := mapping.EndpointOf(netip.MustParseAddrPort("203.0.113.5:20481"))
	remote, _ := mapping.EndpointOf(netip.MustParseAddrPort("198.51.100.10:443"))

	// Ports 20480 to 20735 of the address are this host's.
	block := table.AddBlock(mapping.Block{Internal: in.Addr, External: out.Addr, Ports: 256})

	now := table.Advance(began)
	anywhere := mapping.Scope{} // that of an endpoint-independent mapping
	table.AddMapping(&mapping.Mapping{Space: portblock.UDP, Internal: in, External: out, Scope: anywhere, Block: block}, now)
	table.Open(&mapping.Session{Space: portblock.UDP, Internal: in, External: out, Remote: remote}, anywhere, nil, now)

	now = table.Advance(began.Add(time.Minute))
	e, ok := table.Outbound(0, portblock.UDP, in, remote, nil, now)
	fmt.Println("outbound", e, ok)
	e, _, ok = table.Inbound(portblock.UDP, out, 0, remote, nil, now)
	fmt.Println("inbound ", e, ok)

	var ended mapping.Sweep
	now = table.Advance(began.Add(6 * time.Minute))
	for !table.Expire(now, 1000, &ended) {
	}
	fmt.Println("over    ", ended.Sessions[0].Remote, ended.Sessions[0].Unmapped, table.Sessions())
	// Output:
	// outbound 203.0.113.5:20481 true
	// inbound  100.64.0.7:40000 true
	// over     198.51.100.10:443 true 0
}
