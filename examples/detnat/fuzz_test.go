package main

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/blocknat/blocknat/mapping/deterministic"
)

// FuzzParseConfig feeds the parser any text. It never panics, its faults have lines
// of the text, and what it reads without a fault is written and read again the same.
// Where a map can be built, its first and last subscriber lead back to themselves.
func FuzzParseConfig(f *testing.F) {
	for _, name := range []string{"sample.conf", "sample-before.conf", "testdata/rfc7597.conf", "testdata/peers.conf", "testdata/rfc7422-log.conf", "testdata/bad.conf"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("map \"quoted \\\" name\" { reserved none; reserved 0-9, 11; }")
	f.Add("rule r { ipv6 2001:db8:12:3400::/56; ipv4 192.0.2.18/32; psid-len 8; psid 0x34; psid-offset 6; }")
	f.Add("map a { internal 0.0.0.0-255.255.255.255; external 2001:db8::/96 }")
	f.Add("map\n{ } } ; \" # \r\n map x { realm ; }")
	f.Fuzz(func(t *testing.T, text string) {
		blocks, faults := parseConfig("f", text)
		lines := strings.Count(text, "\n") + 1
		for _, fault := range faultsOf(joined(faults)) {
			if fault.Line > lines || fault.Error() == "" {
				t.Fatalf("line %d of %d: %v", fault.Line, lines, fault)
			}
		}
		if len(faults) > 0 {
			return
		}
		var again strings.Builder
		for _, b := range blocks {
			writeBlock(&again, b, true)
		}
		second, faults := parseConfig("f", again.String())
		if len(faults) > 0 || len(second) != len(blocks) {
			t.Fatalf("%v in\n%s", faults, again.String())
		}
		for i, b := range blocks {
			if s := second[i]; s.kind != b.kind || s.name != b.name || !reflect.DeepEqual(s.cfg, b.cfg) || s.rule != b.rule {
				t.Fatalf("%+v\n%+v\n%s", b, s, again.String())
			}
		}
		if len(text) > 2000 { // building is the library's business; a little of it here
			return
		}
		bk, err := buildConfig("f", text)
		if err != nil {
			for _, fault := range faultsOf(err) {
				if fault.Line > lines || fault.Line == 0 && fault.Text[:3] != "and" {
					t.Fatalf("fault without a line: %v", fault)
				}
			}
			return
		}
		for _, v := range bk.versions {
			for _, n := range []uint64{0, v.Subscribers() - 1} {
				subscriber := v.Subscriber(n)
				there := bk.forward(v.Config().Realm, subscriber.Addr())
				back := bk.reverse(v.Config().ExternalRealm, there.ports.At(0))
				if there.err != nil || back.err != nil || back.subscriber != subscriber || back.v.Map != v.Map {
					t.Fatalf("%v: %v, back %v %v", subscriber, there.err, back.subscriber, back.err)
				}
			}
		}
	})
}

// FuzzConfigText writes any configuration of an archive as text and reads it again.
func FuzzConfigText(f *testing.F) {
	f.Add([]byte(`{"name":"a b","internal":["10.0.0.0/24"],"subscriber_bits":32,"external":["192.0.2.1"],"sharing_ratio":0,"reserved":null,"remainder":"spread","algorithm":"crypto","key":"000102030405060708090a0b0c0d0e0f"}`))
	f.Add([]byte(`{"name":"\u0000#{};\"","internal":["2001:db8::/40"],"subscriber_bits":56,"external":["192.0.2.0-192.0.2.9"],"sharing_ratio":1,"reserved":["0-1"],"remainder":"auto","algorithm":"gma","contiguous":4}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var cfg deterministic.Config
		if json.Unmarshal(text, &cfg) != nil || cfg.Name == "" || negative(cfg) {
			return
		}
		written := configText(cfg, true)
		blocks, faults := parseConfig("f", written)
		if len(faults) > 0 || len(blocks) != 1 {
			t.Fatalf("%v in\n%s", faults, written)
		}
		a, _ := json.Marshal(cfg)
		b, _ := json.Marshal(blocks[0].cfg)
		// An empty list and an absent one are one, but for reserved, which JSON tells apart.
		if strings.ReplaceAll(string(a), "[]", "null") != strings.ReplaceAll(string(b), "[]", "null") || (cfg.Reserved == nil) != (blocks[0].cfg.Reserved == nil) {
			t.Fatalf("%s\n%s\n%s", a, b, written)
		}
	})
}

// negative reports whether a number is none that a configuration can say: no map
// has it either.
func negative(cfg deterministic.Config) bool {
	v := reflect.ValueOf(cfg)
	for i := range v.NumField() {
		if v.Field(i).Kind() == reflect.Int && (v.Field(i).Int() < 0 || v.Field(i).Int() >= 1<<31) {
			return true
		}
	}
	for _, list := range [][]deterministic.Span{cfg.Internal, cfg.InternalExclude, cfg.External, cfg.ExternalExclude} {
		for _, s := range list {
			if !s.IsValid() {
				return true
			}
		}
	}
	for _, r := range cfg.Reserved {
		if !r.IsValid() {
			return true
		}
	}
	return false
}

type joined []error

func (j joined) Error() string   { return "" }
func (j joined) Unwrap() []error { return j }
