package layers_test

import (
	"fmt"
	"net/netip"

	"github.com/google/gopacket"
	gplayers "github.com/google/gopacket/layers"

	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/mapping/rewrite/layers"
)

// A decoded packet is translated and serialised without computing anything.
func ExampleApply() {
	b := []byte{
		0x45, 0, 0, 0x26, 0x1c, 0x46, 0x40, 0, 0x40, 0x11, 0xea, 0x41, 10, 0, 0, 2, 198, 51, 100, 10,
		0x9c, 0x40, 0, 0x35, 0, 0x12, 0x43, 0x67, 'N', 'A', 'T', ' ', 'v', 'e', 'c', 't', 'o', 'r',
	}
	var (
		ip      gplayers.IPv4
		udp     gplayers.UDP
		payload gopacket.Payload
		decoded []gopacket.LayerType
	)
	parser := gopacket.NewDecodingLayerParser(gplayers.LayerTypeIPv4, &ip, &udp, &payload)
	parser.IgnoreUnsupported = true
	if err := parser.DecodeLayers(b, &decoded); err != nil {
		fmt.Println(err)
		return
	}
	t := rewrite.Translation{Source: netip.MustParseAddrPort("203.0.113.5:50000")}
	if err := layers.Apply([]gopacket.Layer{&ip, &udp, payload}, t); err != nil {
		fmt.Println("drop:", err)
		return
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{}, &ip, &udp, payload)
	fmt.Println(err, ip.SrcIP, uint16(udp.SrcPort))
	fmt.Printf("%04x %04x\n", ip.Checksum, udp.Checksum)
	// Output:
	// <nil> 203.0.113.5 50000
	// b83d ea52
}
