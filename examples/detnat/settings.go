package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/portblock"
)

// setting is one word of a block: how it is read into a field and written again.
type setting struct {
	name    string
	field   string // of deterministic.Config or deterministic.RuleConfig
	example string
	list    bool // several values, and several times
	secret  bool // not for messages
	set     func(b *block, text string) error
	get     func(b *block) []string // nothing: the zero value, not written
}

func (s *setting) usage() string { return s.name + " " + s.example + ";" }

// mapSettings are all fields of deterministic.Config but the name, in its order.
var mapSettings = []setting{
	unsigned("realm", "Realm", "1", func(b *block) *uint32 { return &b.cfg.Realm }),
	unsigned("external-realm", "ExternalRealm", "1", func(b *block) *uint32 { return &b.cfg.ExternalRealm }),
	spans("internal", "Internal", "100.64.0.0/24", func(b *block) *[]deterministic.Span { return &b.cfg.Internal }),
	spans("internal-exclude", "InternalExclude", "100.64.0.1", func(b *block) *[]deterministic.Span { return &b.cfg.InternalExclude }),
	number("subscriber-bits", "SubscriberBits", "56", func(b *block) *int { return &b.cfg.SubscriberBits }),
	boolean("include-boundary-addresses", "IncludeBoundaryAddresses", func(b *block) *bool { return &b.cfg.IncludeBoundaryAddresses }),
	spans("external", "External", "192.0.2.1-192.0.2.9", func(b *block) *[]deterministic.Span { return &b.cfg.External }),
	spans("external-exclude", "ExternalExclude", "192.0.2.5", func(b *block) *[]deterministic.Span { return &b.cfg.ExternalExclude }),
	number("sharing-ratio", "SharingRatio", "64", func(b *block) *int { return &b.cfg.SharingRatio }),
	number("ports-per-subscriber", "PortsPerSubscriber", "1000", func(b *block) *int { return &b.cfg.PortsPerSubscriber }),
	number("dynamic-factor", "DynamicFactor", "2", func(b *block) *int { return &b.cfg.DynamicFactor }),
	number("dynamic-ports", "DynamicPorts", "100", func(b *block) *int { return &b.cfg.DynamicPorts }),
	number("max-ports", "MaxPorts", "5040", func(b *block) *int { return &b.cfg.MaxPorts }),
	reserved(),
	named("remainder", "Remainder", "spread", "auto, dynamic, spread or unused", func(b *block) textValue { return &b.cfg.Remainder }, func(b *block) bool { return b.cfg.Remainder == 0 }),
	named("algorithm", "Algorithm", "sequential", "sequential, staggered, round-robin, interlaced, crypto, random, map, gma or mask", func(b *block) textValue { return &b.cfg.Algorithm }, func(b *block) bool { return b.cfg.Algorithm == 0 }),
	key(),
	boolean("key-per-address", "KeyPerAddress", func(b *block) *bool { return &b.cfg.KeyPerAddress }),
	number("group-size", "GroupSize", "10", func(b *block) *int { return &b.cfg.GroupSize }),
	number("psid-offset", "PSIDOffset", "6", func(b *block) *int { return &b.cfg.PSIDOffset }),
	number("psid-len", "PSIDLen", "8", func(b *block) *int { return &b.cfg.PSIDLen }),
	number("contiguous", "Contiguous", "4", func(b *block) *int { return &b.cfg.Contiguous }),
	bits("port-range-mask", "PortRangeMask", "0x1400", func(b *block) *uint16 { return &b.cfg.PortRangeMask }),
	number("first-slot", "FirstSlot", "1", func(b *block) *int { return &b.cfg.FirstSlot }),
}

// ruleSettings are the fields of deterministic.RuleConfig, and the realms.
var ruleSettings = []setting{
	unsigned("realm", "Realm", "1", func(b *block) *uint32 { return &b.cfg.Realm }),
	unsigned("external-realm", "ExternalRealm", "1", func(b *block) *uint32 { return &b.cfg.ExternalRealm }),
	prefix("ipv6", "IPv6", "2001:db8::/40", func(b *block) *netip.Prefix { return &b.rule.IPv6 }),
	prefix("ipv4", "IPv4", "192.0.2.0/24", func(b *block) *netip.Prefix { return &b.rule.IPv4 }),
	number("ea-bits", "EABits", "16", func(b *block) *int { return &b.rule.EABits }),
	number("psid-offset", "PSIDOffset", "6", func(b *block) *int { return &b.rule.PSIDOffset }),
	number("psid-len", "PSIDLen", "8", func(b *block) *int { return &b.rule.PSIDLen }),
	bits("psid", "PSID", "0x34", func(b *block) *uint16 { return &b.rule.PSID }),
}

// settingsOf returns the settings of a kind of block.
func settingsOf(kind string) []setting {
	if kind == "rule" {
		return ruleSettings
	}
	return mapSettings
}

func findSetting(kind, name string) *setting {
	list := settingsOf(kind)
	for i := range list {
		if list[i].name == name {
			return &list[i]
		}
	}
	return nil
}

func number(name, field, example string, of func(*block) *int) setting {
	return setting{name: name, field: field, example: example,
		set: func(b *block, text string) error {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				return errors.New("is no decimal number")
			}
			*of(b) = int(n)
			return nil
		},
		get: func(b *block) []string {
			if *of(b) == 0 {
				return nil
			}
			return []string{strconv.Itoa(*of(b))}
		}}
}

func unsigned(name, field, example string, of func(*block) *uint32) setting {
	return setting{name: name, field: field, example: example,
		set: func(b *block, text string) error {
			n, err := strconv.ParseUint(text, 10, 32)
			if err != nil {
				return errors.New("is no number from 0 to 4294967295")
			}
			*of(b) = uint32(n)
			return nil
		},
		get: func(b *block) []string {
			if *of(b) == 0 {
				return nil
			}
			return []string{strconv.FormatUint(uint64(*of(b)), 10)}
		}}
}

func bits(name, field, example string, of func(*block) *uint16) setting {
	return setting{name: name, field: field, example: example,
		set: func(b *block, text string) error {
			n, err := strconv.ParseUint(text, 0, 16)
			if err != nil {
				return errors.New("is no number of 16 bits, as 0x1400 or 5120")
			}
			*of(b) = uint16(n)
			return nil
		},
		get: func(b *block) []string {
			if *of(b) == 0 {
				return nil
			}
			return []string{fmt.Sprintf("%#x", *of(b))}
		}}
}

func boolean(name, field string, of func(*block) *bool) setting {
	return setting{name: name, field: field, example: "yes",
		set: func(b *block, text string) error {
			if text != "yes" && text != "no" {
				return errors.New("is neither yes nor no")
			}
			*of(b) = text == "yes"
			return nil
		},
		get: func(b *block) []string {
			if !*of(b) {
				return nil
			}
			return []string{"yes"}
		}}
}

func spans(name, field, example string, of func(*block) *[]deterministic.Span) setting {
	return setting{name: name, field: field, example: example, list: true,
		set: func(b *block, text string) error {
			s, err := deterministic.ParseSpan(text)
			if err != nil {
				return errors.New("is no prefix, range or address")
			}
			if p, err := netip.ParsePrefix(text); err == nil && p != p.Masked() {
				return fmt.Errorf("has host bits; the prefix is %v", p.Masked())
			}
			*of(b) = append(*of(b), s)
			return nil
		},
		get: func(b *block) (out []string) {
			for _, s := range *of(b) {
				out = append(out, s.String())
			}
			return out
		}}
}

func prefix(name, field, example string, of func(*block) *netip.Prefix) setting {
	return setting{name: name, field: field, example: example,
		set: func(b *block, text string) (err error) {
			if *of(b), err = netip.ParsePrefix(text); err != nil {
				return errors.New("is no prefix")
			}
			return nil
		},
		get: func(b *block) []string {
			if !of(b).IsValid() {
				return nil
			}
			return []string{of(b).String()}
		}}
}

// textValue is an enumeration that reads and writes its name.
type textValue interface {
	UnmarshalText([]byte) error
	String() string
}

func named(name, field, example, all string, of func(*block) textValue, zero func(*block) bool) setting {
	return setting{name: name, field: field, example: example,
		set: func(b *block, text string) error {
			if of(b).UnmarshalText([]byte(text)) != nil {
				return errors.New("is none of " + all)
			}
			return nil
		},
		get: func(b *block) []string {
			if zero(b) {
				return nil
			}
			return []string{of(b).String()}
		}}
}

// reserved keeps apart the list that is absent (the default) and the empty one,
// which is written: reserved none.
func reserved() setting {
	return setting{name: "reserved", field: "Reserved", example: "0-1023 5060", list: true,
		set: func(b *block, text string) error {
			had := b.cfg.Reserved
			if had != nil && (text == "none" || len(had) == 0) {
				return errors.New("none and ranges exclude each other")
			}
			if text == "none" {
				b.cfg.Reserved = []portblock.Range{}
				return nil
			}
			r, err := portblock.ParseRange(text)
			if err != nil {
				return errors.New("is no port, range of ports, or none")
			}
			b.cfg.Reserved = append(had, r)
			return nil
		},
		get: func(b *block) (out []string) {
			if b.cfg.Reserved != nil && len(b.cfg.Reserved) == 0 {
				return []string{"none"}
			}
			for _, r := range b.cfg.Reserved {
				out = append(out, r.String())
			}
			return out
		}}
}

func key() setting {
	return setting{name: "key", field: "Key", example: "000102030405060708090a0b0c0d0e0f", secret: true,
		set: func(b *block, text string) error {
			k, err := hex.DecodeString(text)
			if err != nil || len(k) != len(b.cfg.Key) {
				return fmt.Errorf("a key has %d hexadecimal digits", 2*len(b.cfg.Key))
			}
			copy(b.cfg.Key[:], k)
			return nil
		},
		get: func(b *block) []string {
			if b.cfg.Key == [16]byte{} {
				return nil
			}
			return []string{hex.EncodeToString(b.cfg.Key[:])}
		}}
}
