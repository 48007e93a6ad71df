package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/google/gopacket/pcapgo"
)

// maxFrame bounds one captured frame: as libpcap's MAXIMUM_SNAPLEN.
const maxFrame = 262144

// classic reads pcap files, with gopacket's reader. The link type is read
// here, because gopacket keeps 8 bits of it and LINKTYPE_LINUX_SLL2 is 276.
type classic struct {
	r    *pcapgo.Reader
	link uint16
}

func newClassic(r *bufio.Reader) (*classic, error) {
	head, err := r.Peek(24)
	if len(head) >= 4 {
		switch binary.LittleEndian.Uint32(head) {
		case 0xa1b2c3d4, 0xd4c3b2a1, 0xa1b23c4d, 0x4d3cb2a1:
		default:
			return nil, fmt.Errorf("it is no capture file (it starts with the bytes % x)", head[:4])
		}
	}
	if err != nil {
		return nil, errors.New("the capture's header is cut")
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[0] == 0xa1 {
		order = binary.BigEndian
	}
	// The upper 16 bits say whether frames carry their check sequence.
	link := uint16(order.Uint32(head[20:]))
	p, err := pcapgo.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("its header is not understood (%w)", err)
	}
	// Writers exceed the snap length that they announce; readers take their own bound.
	p.SetSnaplen(maxFrame)
	return &classic{p, link}, nil
}

func (c *classic) next() (frame, error) {
	data, ci, err := c.r.ReadPacketData()
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || len(data) > 0 {
			err = errors.New("it ends within a frame")
		}
		return frame{}, err
	}
	return frame{link: c.link, time: ci.Timestamp, bytes: data, length: ci.Length}, nil
}
