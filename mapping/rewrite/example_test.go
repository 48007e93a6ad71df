package rewrite_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"

	"github.com/blocknat/blocknat/mapping/rewrite"
)

func packet(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// A program without an engine gives each packet its endpoints with Apply.
func ExampleApply() {
	b := packet("450000261c4640004011ea410a000002c633640a9c400035001243674e415420766563746f72")
	err := rewrite.Apply(b, rewrite.Translation{Source: netip.MustParseAddrPort("203.0.113.5:50000")})
	fmt.Println(err, rewrite.IPv4Header(b).Source(), rewrite.UDPHeader(b[20:]).SourcePort())
	// Output: <nil> 203.0.113.5 50000
}

// An engine parses once, looks up, and sets what the mapping says.
func ExamplePacket4_SetSource() {
	b := packet("450000261c4640004011ea410a000002c633640a9c400035001243674e415420766563746f72")
	var p rewrite.Packet4
	if f := rewrite.Parse4(b, &p); f != rewrite.FaultNone {
		fmt.Println("drop:", f)
		return
	}
	p.SetSource(b, 0xcb007105, 50000) // 203.0.113.5
	fmt.Println(p.Kind, p.SrcPort, p.CheckHeader(b), p.CheckTransport(b))
	// Output: udp 50000 right right
}

// An ICMP error belongs to the session of the packet that it quotes.
func ExampleParseQuoted4() {
	b := packet("45000038010100003c017ec0c00002fecb0071050304ee1000000578450005c81c4640003c06b6a6cb007105c633640ac35001bb11223345")
	var outer, inner rewrite.Packet4
	rewrite.Parse4(b, &outer)
	if f := rewrite.ParseQuoted4(b, &outer, &inner); f != rewrite.FaultNone {
		fmt.Println("drop:", f)
		return
	}
	fmt.Println(outer.Kind, outer.ICMPType, outer.ICMPCode, "about", inner.Kind, inner.SrcPort, "to", inner.DstPort)
	// RFC 5508 REQ-3 and REQ-3a.
	fmt.Println(outer.CheckTransport(b), inner.CheckHeader(b))
	outer.SetDestination(b, 0x0a000002, 0)
	outer.SetQuotedSource(b, &inner, 0x0a000002, 40000)
	fmt.Println(outer.CheckTransport(b), inner.CheckHeader(b))
	// Output:
	// icmp-error 3 4 about tcp 50000 to 443
	// right right
	// right right
}

// Packets from a TUN device with offloads hold a partial checksum.
func ExampleFlags_partial() {
	b := packet("450000280000000040060000" + "0a000002c633640a" + "9c4001bb00000000000000005010ffff00000000")
	var p rewrite.Packet4
	rewrite.Parse4(b, &p)
	p.Flags |= rewrite.PartialChecksum
	p.SetSource(b, 0xcb007105, 50000)
	fmt.Println(p.SrcPort, p.CheckTransport(b))
	// Output: 50000 unknown
}

// Other changes of a packet are made with deltas.
func ExampleDelta() {
	tos := rewrite.Delta(0).Word16(0x4500, 0x45b8)
	fmt.Printf("%04x\n", tos.Update(0xea41))
	// Output: e989
}

// A SYN's MSS is lowered where the path behind the translator is narrower.
func ExamplePacket4_ClampMSS() {
	b := packet("4500003c1c4640004006ea360a000002c633640a9c4001bb1122334400000000a002faf0366d0000020405b40402080a000000010000000001030307")
	var p rewrite.Packet4
	rewrite.Parse4(b, &p)
	fmt.Println(p.ClampMSS(b, 1400), p.ClampMSS(b, 1400), p.CheckTransport(b))
	// Output: true false right
}
