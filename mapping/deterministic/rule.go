package deterministic

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/blocknat/blocknat/portblock"
)

// ErrSpoofed says that a packet's source IPv4 address and port are not those of
// its source IPv6 address (RFC 7597 section 8.1): it must be dropped and counted.
var ErrSpoofed = errors.New("deterministic: source does not match its MAP address")

// RuleConfig is a MAP Basic Mapping Rule (RFC 7597 section 5.2).
type RuleConfig struct {
	// IPv6 is the rule IPv6 prefix, without host bits.
	IPv6 netip.Prefix
	// IPv4 is the rule IPv4 prefix (length r), without host bits.
	IPv4 netip.Prefix
	// EABits is o, the length of the embedded address bits. Legal: 0 to 48, and
	// with the length of IPv6 at most 128. The end-user prefix has the length of
	// IPv6 plus o.
	EABits int
	// PSIDOffset is a. Legal: 0 to 15. No default: 0 means 0; RFC 7597 section
	// 5.1 has 6 for CEs that are told none.
	PSIDOffset int
	// PSIDLen and PSID are k and the PSID where they are provisioned apart (by
	// DHCP): legal with EABits 0 and a /32 only. Else k = o - (32-r) follows.
	PSIDLen int
	PSID    uint16
}

// Rule is a checked RuleConfig. It is immutable and safe for concurrent use.
type Rule struct {
	cfg    RuleConfig
	suffix int // p' = min(o, 32-r): bits of the IPv4 address in the EA bits
	k      int // q, or PSIDLen
}

// NewRule checks cfg and reports all faults together, each a *FieldError.
func NewRule(cfg RuleConfig) (*Rule, error) {
	var f faultList
	ok6 := cfg.IPv6.IsValid() && cfg.IPv6.Addr().Is6() && !cfg.IPv6.Addr().Is4In6() && cfg.IPv6 == cfg.IPv6.Masked()
	ok4 := cfg.IPv4.IsValid() && cfg.IPv4.Addr().Is4() && cfg.IPv4 == cfg.IPv4.Masked()
	if !ok6 {
		f.add("IPv6", cfg.IPv6.String(), "an IPv6 prefix without host bits", "mask it")
	}
	if !ok4 {
		f.add("IPv4", cfg.IPv4.String(), "an IPv4 prefix without host bits", "mask it")
	}
	r := &Rule{cfg: cfg}
	if cfg.EABits < 0 || cfg.EABits > 48 || ok6 && cfg.IPv6.Bits()+cfg.EABits > 128 {
		f.add("EABits", fmt.Sprint(cfg.EABits), "0 to 48, and the end-user prefix is at most /128 (RFC 7597 section 5.2)", "lower it")
	} else if ok4 {
		r.suffix = min(cfg.EABits, 32-cfg.IPv4.Bits())
		r.k = cfg.EABits - r.suffix
	}
	if cfg.PSIDOffset < 0 || cfg.PSIDOffset > 15 {
		f.add("PSIDOffset", fmt.Sprint(cfg.PSIDOffset), "0 to 15", "RFC 7597 section 5.1 suggests 6")
	}
	switch {
	case cfg.PSIDLen < 0 || cfg.PSIDLen > 16:
		f.add("PSIDLen", fmt.Sprint(cfg.PSIDLen), "0 to 16", "leave it 0, it follows from the prefixes")
	case cfg.PSIDLen == 0 && cfg.PSID == 0:
	case ok4 && (cfg.EABits != 0 || cfg.IPv4.Bits() != 32):
		f.add("PSIDLen", fmt.Sprint(cfg.PSIDLen), "a PSID is provisioned apart only with EABits 0 and an IPv4 /32", "leave PSIDLen and PSID 0")
	case int(cfg.PSID)>>cfg.PSIDLen != 0:
		f.add("PSID", fmt.Sprintf("%#x", cfg.PSID), fmt.Sprintf("fits in PSIDLen %d bits", cfg.PSIDLen), "raise PSIDLen")
	default:
		r.k = cfg.PSIDLen
	}
	if cfg.PSIDOffset+r.k > 16 {
		f.add("EABits", fmt.Sprint(cfg.EABits), fmt.Sprintf("PSIDOffset %d and PSID length %d have at most 16 bits together (RFC 7597 section 5.1)", cfg.PSIDOffset, r.k),
			"lower EABits or PSIDOffset")
	}
	if len(f) > 0 {
		return nil, errors.Join(f...)
	}
	return r, nil
}

// Config returns the rule's configuration.
func (r *Rule) Config() RuleConfig { return r.cfg }

// EndUserBits returns the length of end-user prefixes.
func (r *Rule) EndUserBits() int { return r.cfg.IPv6.Bits() + r.cfg.EABits }

// PSIDLen returns k, the length of the PSID: the sharing ratio is 2^k.
func (r *Rule) PSIDLen() int { return r.k }

// CE is what a rule gives to one customer edge. It is a comparable value.
type CE struct {
	EndUser netip.Prefix // the end-user IPv6 prefix
	IPv4    netip.Prefix // its IPv4 prefix; a /32 for a whole or shared address
	PSID    uint16
	PSIDLen int        // 0: the address is not shared
	Offset  int        // a, the PSID offset
	Address netip.Addr // the MAP address of RFC 7597 section 6
}

// CE derives IPv4 address, PSID and MAP address of an end-user prefix from any
// address in it: the EA bits are the first bits of the IPv4 suffix, then the PSID
// (RFC 7597 section 5.2). ErrNotSubscriber if it is outside of the rule.
func (r *Rule) CE(endUser netip.Addr) (CE, error) {
	if endUser.Zone() != "" || !r.cfg.IPv6.Contains(endUser) {
		return CE{}, ErrNotSubscriber
	}
	n := r.EndUserBits()
	ea := u128Of(endUser).shr(128-n).lo & (1<<r.cfg.EABits - 1)
	if r.cfg.EABits == 0 {
		ea = 0
	}
	return r.edge(ea), nil
}

// edge returns the customer edge with the embedded address bits ea.
func (r *Rule) edge(ea uint64) CE {
	n, psid := r.EndUserBits(), r.cfg.PSID
	suffix := ea
	if r.cfg.EABits > 0 {
		psid = uint16(ea & (1<<r.k - 1))
		suffix = ea >> r.k
	}
	bits4 := r.cfg.IPv4.Bits() + r.suffix
	v4 := u128Of(r.cfg.IPv4.Addr()).or(u128{0, suffix << (32 - bits4)})
	prefix := u128Of(r.cfg.IPv6.Addr()).or(u128{0, ea}.shl(128 - n))
	// Interface identifier: 16 zero bits, the IPv4 address, the PSID. The prefix
	// overwrites it where it is longer than /64.
	id := u128{0, v4.lo<<16 | uint64(psid)}
	id = id.and(u128{0, 1}.shl(128 - n).dec())
	return CE{
		EndUser: netip.PrefixFrom(prefix.addr(false), n),
		IPv4:    netip.PrefixFrom(v4.addr(true), bits4),
		PSID:    psid,
		PSIDLen: r.k,
		Offset:  r.cfg.PSIDOffset,
		Address: prefix.or(id).addr(false),
	}
}

// Reverse derives the customer edge from an IPv4 address and port: what a border
// relay does with every packet from outside. ErrNotInPool if the address is not
// of the rule, ErrReserved for the lowest 2^(16-a) ports (a > 0) of a shared
// address, ErrUnused for another PSID than the one provisioned apart.
func (r *Rule) Reverse(ipv4 netip.Addr, port uint16) (CE, error) {
	ipv4 = ipv4.Unmap()
	if !r.cfg.IPv4.Contains(ipv4) {
		return CE{}, ErrNotInPool
	}
	psid := uint64(0)
	if r.k > 0 {
		if r.cfg.PSIDOffset > 0 && port>>(16-r.cfg.PSIDOffset) == 0 {
			return CE{}, ErrReserved
		}
		psid = uint64(port) >> (16 - r.cfg.PSIDOffset - r.k) & (1<<r.k - 1)
	}
	if r.cfg.EABits == 0 {
		if psid != uint64(r.cfg.PSID) {
			return CE{}, ErrUnused
		}
		return r.edge(0), nil
	}
	suffix := u128Of(ipv4).lo & (1<<(32-r.cfg.IPv4.Bits()) - 1) >> (32 - r.cfg.IPv4.Bits() - r.suffix)
	return r.edge(suffix<<r.k | psid), nil
}

// CheckSource reports whether a packet from the MAP address source may carry that
// source IPv4 address and port: nil, or ErrSpoofed.
func (r *Rule) CheckSource(source, ipv4 netip.Addr, port uint16) error {
	ce, err := r.Reverse(ipv4, port)
	if err != nil || ce.Address != source {
		return ErrSpoofed
	}
	return nil
}

// Map returns the configuration of the deterministic map that has the end-user
// prefixes of the rule as subscribers. It is for rules that give a subscriber a
// whole or a shared address. Port 0 is no port of a map, although it is in the
// set of PSID 0 if a is 0.
func (r *Rule) Map() (Config, error) {
	if r.cfg.IPv4.Bits()+r.suffix < 32 {
		return Config{}, &FieldError{Field: "EABits", Value: fmt.Sprint(r.cfg.EABits),
			Rule: "a map gives ports of one address, this rule gives whole IPv4 prefixes", Fix: "raise EABits, or use the Rule"}
	}
	cfg := Config{
		Internal:       []Span{PrefixSpan(r.cfg.IPv6)},
		SubscriberBits: r.EndUserBits(),
		External:       []Span{PrefixSpan(r.cfg.IPv4)},
		Reserved:       []portblock.Range{},
		Algorithm:      MAP,
		PSIDLen:        r.k,
		SharingRatio:   1 << r.k,
	}
	if r.k > 0 { // an address that is not shared has all its ports
		cfg.PSIDOffset = r.cfg.PSIDOffset
	}
	if r.cfg.EABits == 0 {
		cfg.FirstSlot, cfg.SharingRatio = int(r.cfg.PSID), 1
	}
	return cfg, nil
}

// Ports returns the port set of the edge on each of its IPv4 addresses: the set
// of RFC 7597 section 5.1, or all ports where the address is not shared.
func (c CE) Ports() portblock.Set {
	if c.PSIDLen == 0 {
		return portblock.ContiguousSet(portblock.RangeOf(0, 65535))
	}
	s, _ := portblock.PSIDSet(uint8(c.Offset), uint8(c.PSIDLen), c.PSID) // the zero Set for a CE that no Rule made
	return s
}

// EmbedIPv4 returns the IPv4-embedded IPv6 address of RFC 6052 section 2.2: how
// MAP-T writes outside IPv4 addresses under its default mapping rule prefix. Legal
// prefix lengths: 32, 40, 48, 56, 64, 96; the error is a *FieldError.
func EmbedIPv4(prefix netip.Prefix, ipv4 netip.Addr) (netip.Addr, error) {
	n, v4 := prefix.Bits(), ipv4.Unmap()
	switch {
	case !prefix.IsValid() || !prefix.Addr().Is6() || n%8 != 0 || n < 32 || n > 64 && n != 96:
		return netip.Addr{}, &FieldError{"prefix", prefix.String(), "an IPv6 prefix of length 32, 40, 48, 56, 64 or 96", "RFC 6052 section 2.2"}
	case !v4.Is4():
		return netip.Addr{}, &FieldError{"ipv4", ipv4.String(), "an IPv4 address", "RFC 6052 section 2.2"}
	}
	b, a := prefix.Masked().Addr().As16(), v4.As4()
	i := n / 8
	for _, x := range a {
		if i == 8 { // bits 64 to 71 are zero
			i++
		}
		b[i] = x
		i++
	}
	if n < 96 {
		b[8] = 0
	}
	return netip.AddrFrom16(b), nil
}
