package natcore_test

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/natcore"
	"github.com/stretchr/testify/require"
)

// FuzzProcess gives the engine arbitrary bytes as packets of either direction,
// in a row, as the input says: first a control byte (direction, flags, and how much time passes),
// then a length byte and the packet (rule 8). A dropped, held or exempted packet is as it came, no packet
// changes its length, and the engine stays consistent.
func FuzzProcess(f *testing.F) {
	for _, s := range []string{
		"450000261c4640004011ea410a000002c633640a9c400035001243674e415420766563746f72",                                                         // UDP
		"4500003c1c4640004006ea360a000002c633640a9c4001bb1122334400000000a002faf0366d0000020405b40402080a",                                     // TCP SYN, cut
		"450000241c4640004001ea530a000002c633640a08005435123400016162636465666768",                                                             // echo request
		"450000422b2b00003701f24cc633640acb0071050303636400000000450000261c4640003911bf3dcb007105c633640ac35000350012ea524e415420766563746f72", // ICMP 3/3
		"450000241c4620004011ea530a000002c633640a9c4000350024000061626364",                                                                     // first fragment
		"450000241c4600044011ea530a000002c633640a6162636465666768",                                                                             // later fragment
		"6000000000080640", // IPv6
	} {
		b, err := hex.DecodeString(s)
		require.NoError(f, err)
		f.Add(append([]byte{0, byte(len(b))}, b...))
		f.Add(append([]byte{1, byte(len(b))}, b...))
		f.Add(append(append([]byte{0, byte(len(b))}, b...), append([]byte{0x84, byte(len(b))}, b...)...))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		n := newNAT(t)
		for len(input) >= 2 {
			control, size := input[0], min(int(input[1]), len(input)-2)
			p := natcore.Packet{
				Bytes: bytes.Clone(input[2 : 2+size]), Realm: natcore.Realm(control >> 1 & 1),
				Direction: natcore.Direction(control & 1), Flags: natcore.Flags(control >> 2 & 1),
			}
			input = input[2+size:]
			before := bytes.Clone(p.Bytes)
			n.wait(time.Duration(control>>4) * 10 * time.Second)
			batch := []natcore.Packet{p}
			n.Process(batch, n.now)
			require.Len(t, batch[0].Bytes, len(before))
			if v := batch[0].Verdict; v != natcore.Forward && v != natcore.Hairpin {
				require.Equal(t, before, batch[0].Bytes, "%v: %v", v, batch[0].Reason)
			}
			require.Equal(t, batch[0].Verdict == natcore.Drop, batch[0].Reason != natcore.ReasonNone)
			if control&8 != 0 {
				after := bytes.Clone(batch[0].Bytes)
				n.Reject(&batch[0], rewrite.FragmentationNeeded(600), n.now)
				require.Equal(t, after, batch[0].Bytes)
				for _, d := range n.Drain(nil) {
					var h rewrite.Packet4
					require.Equal(t, rewrite.FaultNone, rewrite.Parse4(d.Bytes, &h), "what is to be sent is a packet")
					require.NotEqual(t, natcore.Drop, d.Verdict)
				}
			}
		}
		n.Drain(nil)
		require.NoError(t, n.CheckInvariants())
		for range 3 {
			n.wait(3 * time.Hour)
			n.expire()
		}
		st := n.Stats()
		require.Zero(t, st.Sessions+st.Mappings+st.Subscribers+st.Datagrams)
		require.NoError(t, n.CheckInvariants())
	})
}
