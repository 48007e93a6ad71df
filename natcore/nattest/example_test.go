package nattest_test

import (
	"fmt"
	"time"

	"github.com/blocknat/blocknat/natcore/nattest"
	"github.com/blocknat/blocknat/natcore/nattest/blocknat"
)

// wire is no NAT at all: it forwards everything as it is.
type wire struct{}

func (wire) Outbound(packet []byte, _ time.Time) []nattest.Packet {
	return []nattest.Packet{{Bytes: packet}}
}

func (wire) Inbound(packet []byte, _ time.Time) []nattest.Packet {
	return []nattest.Packet{{Bytes: packet, Inside: true}}
}

func (wire) Advance(time.Time) []nattest.Packet { return nil }

// In a test, nattest.Run makes each row a subtest:
//
//	func TestConformance(t *testing.T) { nattest.Run(t, subject) }
//
// Check returns the same as data.
func ExampleCheck() {
	subjects := []nattest.Subject{
		blocknat.Subject(),
		{
			New: func(c nattest.Config) (nattest.NAT, error) {
				if c.KeepParity {
					return nil, fmt.Errorf("port parity: %w", nattest.ErrNotOffered)
				}
				return wire{}, nil
			},
			Lacks: nattest.Hairpin,
		},
	}
	for _, s := range subjects {
		for _, r := range nattest.Check(s) {
			switch r.ID {
			case "3022-02", "4787-01", "4787-04", "4787-09":
				fmt.Printf("%v %s: %v %q\n", r.Level, r.ID, r.Outcome, r.Detail)
			}
		}
	}
	// Output:
	// MUST 3022-02: passed ""
	// MUST 4787-01: passed ""
	// SHOULD 4787-04: passed ""
	// MUST 4787-09: passed ""
	// MUST 3022-02: failed "the packet leaves from 10.0.0.2, which is no external address"
	// MUST 4787-01: failed "the packet leaves from 10.0.0.2, which is no external address"
	// SHOULD 4787-04: not offered "port parity: not offered"
	// MUST 4787-09: not offered "hairpinning"
}
