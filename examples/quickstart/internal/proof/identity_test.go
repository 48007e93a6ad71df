package proof

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/examples/quickstart/internal/testpacket"
)

// loose is a packet that may be fragmented, with an identification and a right header checksum.
func loose(b []byte, id uint16) []byte {
	binary.BigEndian.PutUint16(b[4:], id)
	b[6] &^= 0x40
	b[10], b[11] = 0, 0
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return b
}

// TestIdentifications: what two hosts send behind one address, with the identifications before and after.
func TestIdentifications(t *testing.T) {
	type step struct {
		after   time.Duration
		host    string
		piece   int // -1 is a whole datagram
		id, now uint16
	}
	for name, c := range map[string]struct {
		steps []step
		want  int
	}{
		"distinct":                      {[]step{{0, sub, -1, 1, 100}, {0, other, -1, 1, 101}, {0, sub, -1, 1, 102}}, 0},
		"two hosts":                     {[]step{{0, sub, -1, 1, 100}, {119 * time.Second, other, -1, 1, 100}}, 1},
		"one host":                      {[]step{{0, sub, -1, 1, 100}, {time.Second, sub, -1, 2, 100}}, 1},
		"later":                         {[]step{{0, sub, -1, 1, 100}, {2 * time.Minute, other, -1, 1, 100}}, 0},
		"fragments":                     {[]step{{0, sub, 0, 1, 100}, {0, other, 0, 1, 101}, {0, sub, 1, 1, 100}, {0, other, 1, 1, 101}, {0, sub, 0, 1, 100}}, 0},
		"fragments apart":               {[]step{{0, sub, 0, 1, 100}, {0, sub, 1, 1, 101}}, 1},
		"fragments mixed":               {[]step{{0, sub, 0, 1, 100}, {0, other, 1, 1, 100}}, 1},
		"a fragment and another packet": {[]step{{0, sub, 0, 1, 100}, {0, other, -1, 1, 100}}, 1},
	} {
		p := New(times)
		for i, s := range c.steps {
			given, result := testpacket.UDP(s.host+":5000", remote, "thirty-two bytes are four units."), testpacket.UDP(ext+":2000", remote, "thirty-two bytes are four units.")
			if s.piece >= 0 {
				given, result = testpacket.Fragments(given, 16)[s.piece], testpacket.Fragments(result, 16)[s.piece]
			}
			before, err := decode(loose(given, s.id))
			require.NoError(t, err)
			after, err := decode(loose(result, s.now))
			require.NoError(t, err)
			p.identification(Case{Number: i, Time: start.Add(s.after), Way: Outbound}, before, after)
		}
		require.Equal(t, c.want, p.numbers.Violations, "%s: %v", name, p.numbers.Examples)
		require.Equal(t, len(c.steps), p.numbers.Cases)
	}
}
