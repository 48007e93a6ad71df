package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/portblock"
)

// Every field has a setting, so that a configuration says all that the library can.
func TestSettings_are_all_fields(t *testing.T) {
	for _, c := range []struct {
		kind  string
		of    reflect.Type
		extra []string // not of the type
		apart []string // of the type, and no setting
	}{
		{"map", reflect.TypeFor[deterministic.Config](), nil, []string{"Name"}},
		{"rule", reflect.TypeFor[deterministic.RuleConfig](), []string{"Realm", "ExternalRealm"}, nil},
	} {
		wanted := slices.Clone(c.extra)
		for i := range c.of.NumField() {
			if name := c.of.Field(i).Name; !slices.Contains(c.apart, name) {
				wanted = append(wanted, name)
			}
		}
		var got []string
		for _, s := range settingsOf(c.kind) {
			got = append(got, s.field)
		}
		if !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s: settings %v\nfields %v", c.kind, got, wanted)
		}
	}
}

// A map with every field set is written and read without loss.
func TestSettings_round_trip(t *testing.T) {
	cfg := deterministic.Config{
		Name: `a "name"`, Realm: 4294967295, ExternalRealm: 2,
		Internal:        deterministic.Spans("10.0.0.0/24", "10.0.1.7", "10.0.2.0-10.0.2.9"),
		InternalExclude: deterministic.Spans("10.0.0.3"), SubscriberBits: 32, IncludeBoundaryAddresses: true,
		External: deterministic.Spans("192.0.2.0/24"), ExternalExclude: deterministic.Spans("192.0.2.1", "192.0.2.7/32"),
		SharingRatio: 3, PortsPerSubscriber: 4, DynamicFactor: 5, DynamicPorts: 6, MaxPorts: 7,
		Reserved:  []portblock.Range{portblock.RangeOf(0, 1023), portblock.RangeOf(5060, 5060)},
		Remainder: deterministic.RemainderSpread, Algorithm: deterministic.Mask, Key: [16]byte{1, 15: 255}, KeyPerAddress: true,
		GroupSize: 8, PSIDOffset: 9, PSIDLen: 10, Contiguous: 11, PortRangeMask: 0x1400, FirstSlot: 12,
	}
	for v, i := reflect.ValueOf(cfg), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("the test leaves %s out", v.Type().Field(i).Name)
		}
	}
	for _, reserved := range [][]portblock.Range{cfg.Reserved, nil, {}} {
		cfg.Reserved = reserved
		text := configText(cfg, true)
		blocks, faults := parseConfig("f", text)
		if len(faults) > 0 || len(blocks) != 1 || !reflect.DeepEqual(blocks[0].cfg, cfg) {
			t.Fatalf("%v\n%s\n%+v\n%+v", faults, text, blocks, cfg)
		}
	}
}

// A key is secret unless it is asked for.
func TestShow_leaves_keys_out(t *testing.T) {
	const hex = "000102030405060708090a0b0c0d0e0f"
	for _, flags := range []string{"", " -json"} {
		out := want(t, "show -map keyed -config testdata/peers.conf"+flags, exitFound, "")
		if strings.Contains(out, hex) {
			t.Errorf("the key is in %s", out)
		}
		contains(t, want(t, "show -keys -map keyed -config testdata/peers.conf"+flags, exitFound, ""), hex)
	}
	for _, line := range []string{"check", "table", "record", "forward 10.0.0.0 -realm 10", "reverse 192.0.2.9:35297 -realm 10"} {
		for _, flags := range []string{"", " -json"} {
			if line == "record" && flags != "" {
				continue // a line of the archive, which holds the key
			}
			_, out, errs := detnat(t, line+flags+" -config testdata/peers.conf")
			if strings.Contains(out+errs, hex) {
				t.Errorf("detnat %s%s prints the key", line, flags)
			}
		}
	}
	_, faults := parseConfig("f", "map a { key 00112233445566778899aabbccddeefg; }")
	if text := fmt.Sprint(faults); strings.Contains(text, "00112233") {
		t.Errorf("a fault prints the key: %s", text)
	}
}

// What show prints is a configuration that shows the same again.
func TestShow_is_a_configuration(t *testing.T) {
	for _, config := range []string{"sample.conf", "testdata/peers.conf", "testdata/rfc7597.conf"} {
		first := want(t, "show -keys -config "+config, exitFound, "")
		equal(t, want(t, "show -keys -config "+file(t, "shown.conf", first), exitFound, ""), first)
	}
}
