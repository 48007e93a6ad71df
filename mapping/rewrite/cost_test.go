package rewrite

import (
	"net/netip"
	"reflect"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestSizes guards the values that engines keep on their stacks or in batches.
func TestSizes(t *testing.T) {
	require.Equal(t, uintptr(44), unsafe.Sizeof(Packet4{}))
	require.Equal(t, uintptr(84), unsafe.Sizeof(Packet6{}))
	require.LessOrEqual(t, unsafe.Sizeof(Packet4{}), uintptr(64))
}

// TestPointerFree: the collector never scans a batch of packets.
func TestPointerFree(t *testing.T) {
	for _, v := range []any{Packet4{}, Packet6{}} {
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			k := typ.Field(i).Type.Kind()
			if k == reflect.Array {
				k = typ.Field(i).Type.Elem().Kind()
			}
			require.True(t, k >= reflect.Int8 && k <= reflect.Uint64, "%s.%s", typ, typ.Field(i).Name)
		}
	}
}

// TestAllocatesNothing is the table of calls that allocate nothing.
func TestAllocatesNothing(t *testing.T) {
	udp, tcp, echo, icmp := unhex(t, vectors[0].before), unhex(t, vectors[3].before), unhex(t, vectors[4].before), unhex(t, vectors[5].before)
	icmp6 := plain6(58, addr6R, addr6E, icmp4(3, 0, 0, plain6(17, addr6E, addr6S, udp4(50000, 53, nil))))
	out, back := from(outsideA), to(insideA)
	back6 := Translation{Destination: netip.AddrPortFrom(netip.AddrFrom16(addr6A), 40000)}
	var p, q Packet4
	var p6, q6 Packet6
	for name, f := range map[string]func(){
		"Parse4":      func() { Parse4(udp, &p) },
		"SetSource":   func() { Parse4(tcp, &p); p.SetSource(tcp, addrE, 50000) },
		"SetQuery":    func() { Parse4(echo, &p); p.SetDestination(echo, addrE, 50000) },
		"Check":       func() { Parse4(tcp, &p); p.CheckHeader(tcp); p.CheckTransport(tcp) },
		"TTL MSS ID":  func() { Parse4(tcp, &p); p.DecrementTTL(tcp); p.ClampMSS(tcp, 1000); p.SetID(tcp, 1) },
		"Quoted":      func() { Parse4(icmp, &p); ParseQuoted4(icmp, &p, &q); p.SetQuotedSource(icmp, &q, addrA, 1) },
		"Apply":       func() { _ = Apply(udp, out) },
		"Apply error": func() { _ = Apply(icmp, back) },
		"refusal":     func() { Parse4(udp[:10], &p) },
		"Parse6":      func() { Parse6(icmp6, &p6) },
		"Quoted6": func() {
			Parse6(icmp6, &p6)
			ParseQuoted6(icmp6, &p6, &q6)
			p6.SetDestination(icmp6, addr6A, 0)
			p6.SetQuotedSource(icmp6, &q6, addr6A, 1)
			p6.CheckTransport(icmp6)
		},
		"Apply6":        func() { _ = Apply(icmp6, back6) },
		"Apply refuses": func() { _ = Apply(udp[:25], out) },
		"Checksum":      func() { Checksum(tcp) },
	} {
		require.Zero(t, testing.AllocsPerRun(100, f), name)
	}
}
