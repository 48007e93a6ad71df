package portblock

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestConfigZeroIsLegal(t *testing.T) {
	l, err := NewLayout(Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config()
	if c.BlockSize != 256 || c.FirstBlockSize != 256 || c.Ports != RangeOf(1024, 65535) || c.Spaces != AllSpaces ||
		c.HoldDown != 120*time.Second || c.GuardTime != 120*time.Second || c.IdleTimeout != 300*time.Second || c.ActiveTimeout != Off ||
		c.MaxBlocks != 8 || c.MaxRetiring != 8 {
		t.Fatalf("defaults: %+v", c)
	}
	if l.Blocks() != 256 || l.BlockSize(false) != 256 || l.BlockSize(true) != 256 {
		t.Fatal("sizes")
	}
	if again, err := NewLayout(c); err != nil || !reflect.DeepEqual(again.Config(), c) {
		t.Fatalf("a filled configuration is legal and stays: %v", err)
	}
}

// faults lists the fields of all faults in an error.
func faults(err error) []string {
	var out []string
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range j.Unwrap() {
			out = append(out, faults(e)...)
		}
		return out
	}
	var c *ConfigError
	if errors.As(err, &c) {
		out = append(out, c.Field)
	}
	return out
}

func TestConfigFaults(t *testing.T) {
	for _, v := range []struct {
		c    Config
		want string
	}{
		{Config{Spaces: 8}, "Spaces"},
		{Config{Ports: RangeOf(0, 0), Spaces: TCP.Set()}, "Ports"},
		{Config{Reserved: []Reservation{{}}}, "Reserved"},
		{Config{Reserved: []Reservation{{RangeOf(1, 2), 9}}}, "Reserved"},
		{Config{Scheme: 9}, "Scheme"},
		{Config{BlockSize: 8}, "BlockSize"},
		{Config{BlockSize: 100}, "BlockSize"},
		{Config{BlockSize: -256}, "BlockSize"},
		{Config{BlockSize: 8192}, "BlockSize"},
		{Config{FirstBlockSize: 17}, "FirstBlockSize"},
		{Config{Scheme: PSID, PSIDLength: 1}, "PSIDLength"},
		{Config{Scheme: PSID, PSIDLength: 13}, "PSIDLength"},
		{Config{Scheme: PSID, PSIDLength: 8, PSIDOffset: 9}, "PSIDOffset"},
		{Config{Scheme: PSID, PSIDLength: 8, BlockSize: 256}, "BlockSize"},
		{Config{Scheme: PSID, PSIDLength: 8, FirstBlockSize: 256}, "FirstBlockSize"},
		{Config{PSIDLength: 8}, "PSIDLength"},
		{Config{PSIDOffset: 8}, "PSIDOffset"},
		{Config{Mask: 8}, "Mask"},
		{Config{Scheme: MaskValue, Mask: 8}, "Mask"},
		{Config{Scheme: MaskValue, Mask: 0xffff}, "Mask"},
		{Config{CryptoKey: [16]byte{1}}, "CryptoKey"},
		{Config{Ratio: 1}, "Ratio"},
		{Config{Run: 1}, "Run"},
		{Config{Scheme: GMA, Ratio: 1, Run: 1}, "Ratio"},
		{Config{Scheme: GMA, Ratio: 5000, Run: 1}, "Ratio"},
		{Config{Scheme: GMA, Ratio: 60}, "Run"},
		{Config{Scheme: GMA, Ratio: 60, Run: 5000}, "Run"},
		{Config{Scheme: GMA, Ratio: 4096, Run: 4096}, "Run"},
		{Config{Scheme: GMA, Ratio: 2, Run: 4}, "Run"}, // sets of more than 16384
		{Config{Scheme: GMA, Ratio: 4096, Run: 16}, "Run"},
		{Config{Order: 2}, "Order"},
		{Config{Resting: 2}, "Resting"},
		{Config{Choice: 2}, "Choice"},
		{Config{Parity: 3}, "Parity"},
		{Config{Class: 3}, "Class"},
		{Config{HoldDown: -2}, "HoldDown"},
		{Config{HoldDown: MaxDuration + 1}, "HoldDown"},
		{Config{GuardTime: -2}, "GuardTime"},
		{Config{GuardTime: 119 * time.Second}, "GuardTime"},
		{Config{GuardTime: Off}, "GuardTime"},
		{Config{IdleTimeout: -2}, "IdleTimeout"},
		{Config{ActiveTimeout: -2}, "ActiveTimeout"},
		{Config{MaxResting: -1}, "MaxResting"},
		{Config{MaxBlocks: -1}, "MaxBlocks"},
		{Config{MaxBlocks: 1024, MaxRetiring: 1}, "MaxBlocks"},
		{Config{MaxBlocks: math.MaxInt, MaxRetiring: math.MaxInt}, "MaxBlocks"},
		{Config{MaxPorts: [3]int{0, -1, 0}}, "MaxPorts"},
		{Config{MaxPortsTotal: -1}, "MaxPortsTotal"},
		{Config{BlockSize: 3, MaxBlocks: -1, HoldDown: time.Hour, GuardTime: time.Minute}, "BlockSize GuardTime MaxBlocks"},
	} {
		l, err := NewLayout(v.c)
		if got := strings.Join(faults(err), " "); l != nil || got != v.want {
			t.Errorf("%+v: faults %q, want %q", v.c, got, v.want)
		}
	}
	if _, err := NewLayout(Config{CryptoKey: [16]byte{0xab}}); strings.Contains(err.Error(), "171") || strings.Contains(err.Error(), "ab") {
		t.Errorf("a key is in the error: %v", err)
	}
}

func TestConfigGuardFollowsHoldDown(t *testing.T) {
	l := mustLayout(t, Config{HoldDown: time.Hour})
	if l.Config().GuardTime != time.Hour {
		t.Fatalf("guard %v", l.Config().GuardTime)
	}
	if l := mustLayout(t, Config{HoldDown: 1}); l.hold != 1 {
		t.Fatal("a rest is rounded up to the tick")
	}
}

// H59: no configuration panics, and a legal one serves.
func FuzzConfig(f *testing.F) {
	f.Add(uint8(0), 256, 512, uint8(0), uint8(0), uint16(0), 0, 0, uint16(1024), uint16(65535), int64(0), int64(0), 0)
	f.Add(uint8(1), 0, 0, uint8(6), uint8(8), uint16(0), 0, 0, uint16(0), uint16(65535), int64(-1), int64(-1), 4)
	f.Add(uint8(2), 0, 0, uint8(0), uint8(0), uint16(0x1400), 0, 0, uint16(0), uint16(9), int64(5), int64(6), 1000)
	f.Add(uint8(4), 0, 0, uint8(0), uint8(0), uint16(0), 60, 4, uint16(1024), uint16(65535), int64(1e9), int64(1e9), 2)
	f.Fuzz(func(t *testing.T, scheme uint8, size, first int, a, k uint8, mask uint16, ratio, run int, lo, hi uint16, hold, guard int64, blocks int) {
		if Scheme(scheme) == Crypto {
			return // milliseconds each
		}
		l, err := NewLayout(Config{
			Scheme: Scheme(scheme), BlockSize: size, FirstBlockSize: first, PSIDOffset: a, PSIDLength: k, Mask: mask, Ratio: ratio, Run: run,
			Ports: RangeOf(lo, hi), HoldDown: time.Duration(hold), GuardTime: time.Duration(guard), MaxBlocks: blocks,
		})
		if err != nil {
			if len(faults(err)) == 0 {
				t.Fatalf("untyped fault %v", err)
			}
			return
		}
		addr, h := l.NewAddress(0), l.NewHolding()
		now := ms(1)
		b, err := addr.TakeBlockOf(1, h.Want(ICMP), now)
		if err != nil {
			if addr.FreeBlocks(now) > 0 && l.group == 1 {
				t.Fatalf("refused with %d free blocks", addr.FreeBlocks(now))
			}
			return
		}
		if err := h.AddBlock(b, now); err != nil {
			t.Fatal(err)
		}
		if p, err := h.TakePort(ICMP, 0, nil, now); err != nil || !l.cfg.Ports.Contains(p.Number) {
			t.Fatal(p, err)
		}
		if err := errors.Join(h.CheckInvariants(), addr.CheckInvariants()); err != nil {
			t.Fatal(err)
		}
	})
}
