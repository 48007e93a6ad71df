package proof

import (
	"errors"
	"hash/fnv"
	"io"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// Pcap reads the file of translated packets and compares it with the packets
// that were judged, one by one. It is called after the last packet.
func (p *Proof) Pcap(r io.Reader) error {
	f, err := pcapgo.NewReader(r)
	if err != nil {
		return err
	}
	if f.LinkType() != layers.LinkTypeRaw {
		p.pcap.fail("the link type is %v, not raw IP", f.LinkType())
	}
	n := 0
	for ; ; n++ {
		data, ci, err := f.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		p.pcap.Cases++
		switch {
		case n >= len(p.sums):
			p.pcap.fail("frame %d was not judged", n+1)
		case sum64(data) != p.sums[n]:
			p.pcap.fail("frame %d is not the packet that was judged", n+1)
		case ci.Length < ci.CaptureLength:
			p.pcap.fail("frame %d is longer than its original", n+1)
		}
	}
	if n < len(p.sums) {
		p.pcap.fail("%d packets are missing in the file", len(p.sums)-n)
	}
	return nil
}

func sum64(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}
