package natcore

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/portblock"
)

// FieldError is one fault of a Config. It names the field as Go writes it, the
// value that it has, and the rule that the value breaks, with what to do.
type FieldError struct {
	Field string
	Value any
	Rule  string
}

// Error implements error.
func (e *FieldError) Error() string {
	return fmt.Sprintf("natcore: %s = %v: %s", e.Field, e.Value, e.Rule)
}

// faults collects what is wrong with a configuration.
type faults []error

func (f *faults) add(field string, value any, rule string) {
	*f = append(*f, &FieldError{field, value, rule})
}

const (
	defaultShards = 8
	maxShards     = 256
	maxHost       = 1024
	leastMSS      = 64
	mostMSS       = 65535 - 40
)

// complete fills in the defaults of a copied configuration and returns its faults, and that of a time that is not set.
func (c *Config) complete(now time.Time) error {
	var f faults
	if c.Seed == ([32]byte{}) {
		f.add("Seed", "all zero", "must be a secret: fill it from crypto/rand")
	}
	if now.IsZero() {
		f.add("now", now, "must be set: records carry it; time.Now() does")
	}
	if c.Log == nil {
		f.add("Log", "nil", "must accept the records of blocks: logging.Discard runs without records")
	} else if v := reflect.ValueOf(c.Log); nilable(v.Kind()) && v.IsNil() {
		f.add("Log", fmt.Sprintf("(%v)(nil)", v.Type()), "must not hold a nil value: the first record would find no log; logging.Discard runs without records")
	}
	if len(c.Host) > maxHost {
		f.add("Host", c.Host[:16]+"...", fmt.Sprintf("must have at most %d bytes: records are refused else", maxHost))
	}
	if c.LogPolicy > CountLoss {
		f.add("LogPolicy", c.LogPolicy, "must be RefuseBlocks or CountLoss")
	}
	if c.Shards == 0 {
		c.Shards = defaultShards
	}
	if c.Shards < 1 || c.Shards > maxShards || c.Shards&(c.Shards-1) != 0 {
		f.add("Shards", c.Shards, "must be a power of two from 1 to 256")
	}
	c.Timeouts.complete(&f)
	c.Limits.complete(&f)
	c.Quotas.complete(&f)
	c.ICMP.complete(&f)
	c.Events.complete(&f)
	if c.HoldAfterRestart < 0 || c.HoldAfterRestart > 24*time.Hour {
		f.add("HoldAfterRestart", c.HoldAfterRestart, "must be from 0 to 24h; RFC 6888 REQ-8 asks for 120s")
	}
	if c.MSS != 0 && (c.MSS < leastMSS || c.MSS > mostMSS) {
		f.add("MSS", c.MSS, fmt.Sprintf("must be from %d to %d, or 0 to leave segment sizes alone", leastMSS, mostMSS))
	}
	c.completePools(&f)
	c.completeRules(&f)
	c.checkVain(&f)
	return errors.Join(f...)
}

// nilable reports whether values of a kind may be nil.
func nilable(k reflect.Kind) bool {
	switch k {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan:
		return true
	}
	return false
}

const allSpaces = 1<<portblock.TCP | 1<<portblock.UDP | 1<<portblock.ICMP

func (l *Limits) complete(f *faults) {
	for _, v := range []struct {
		name  string
		value *int
		def   int
	}{
		{"Subscribers", &l.Subscribers, 1 << 20},
		{"Sessions", &l.Sessions, 1 << 24},
		{"SessionsPerSubscriber", &l.SessionsPerSubscriber, 1 << 14},
		{"StaticSessions", &l.StaticSessions, 1 << 20},
		{"ProtocolSessions", &l.ProtocolSessions, 1 << 16},
		{"ProtocolSessionsPerSubscriber", &l.ProtocolSessionsPerSubscriber, 64},
		{"Fragments", &l.Fragments, 1 << 16},
		{"FragmentBytes", &l.FragmentBytes, 4 << 20},
	} {
		if *v.value == 0 {
			*v.value = v.def
		}
		if *v.value < 0 {
			f.add("Limits."+v.name, *v.value, "must not be negative; zero means the default")
		}
	}
	if l.InboundPerSubscriber == 0 {
		l.InboundPerSubscriber = min(max(l.StaticSessions, 1), max(l.StaticSessions/2, 1<<10))
	}
	if l.InboundPerSubscriber < 0 {
		f.add("Limits.InboundPerSubscriber", l.InboundPerSubscriber, "must not be negative; zero means the default")
	}
	for _, v := range []struct {
		name         string
		value        *int
		total, least int
	}{
		{"FragmentsPerSubscriber", &l.FragmentsPerSubscriber, l.Fragments, 64},
		{"FragmentBytesPerSubscriber", &l.FragmentBytesPerSubscriber, l.FragmentBytes, 1 << 18},
	} {
		if *v.value == 0 {
			*v.value = min(v.total, max(v.total/16, v.least))
		}
		if *v.value < 0 {
			f.add("Limits."+v.name, *v.value, "must not be negative; zero means the default")
		}
	}
}

// completePools checks the pools. Whether their addresses overlap is found by newExternals.
func (c *Config) completePools(f *faults) {
	if len(c.Pools) == 0 {
		f.add("Pools", "empty", "at least one pool with external addresses is needed")
	}
	if len(c.Pools) > maxPools {
		f.add("Pools", len(c.Pools), fmt.Sprintf("at most %d pools", maxPools))
	}
	keys := rand.NewChaCha8(c.Seed)
	names, ids := map[string]int{}, map[uint32]int{}
	for i := range c.Pools {
		p := &c.Pools[i]
		field := func(name string) string { return fmt.Sprintf("Pools[%d].%s", i, name) }
		if p.Name == "" {
			f.add(field("Name"), `""`, "must not be empty: rules and records name the pool")
		} else if j, taken := names[p.Name]; taken {
			f.add(field("Name"), p.Name, fmt.Sprintf("is the name of Pools[%d] already", j))
		}
		names[p.Name] = i
		if p.ID == 0 {
			p.ID = uint32(i) + 1
		}
		if j, taken := ids[p.ID]; taken {
			f.add(field("ID"), p.ID, fmt.Sprintf("is the ID of Pools[%d] already", j))
		}
		ids[p.ID] = i
		if p.Map != nil {
			p.completeMap(f, field)
		} else {
			if len(p.Addresses) == 0 {
				f.add(field("Addresses"), "empty", "at least one external address is needed")
			}
			if p.Epoch != 0 {
				f.add(field("Epoch"), p.Epoch, "must be zero without a Map: it numbers the map's versions")
			}
		}
		for j, r := range p.Addresses {
			if !r.IsValid() || !r.First().Is4() {
				f.add(field(fmt.Sprintf("Addresses[%d]", j)), r, "must be IPv4 addresses")
			} else if s := nobodys(r); s.IsValid() {
				f.add(field(fmt.Sprintf("Addresses[%d]", j)), r, fmt.Sprintf("must not have addresses of %v: no host answers to them (RFC 1122 section 3.2.1.3)", s))
			}
		}
		if p.Mapping > AddressAndPortDependent {
			f.add(field("Mapping"), p.Mapping, "must be one of the three behaviours of RFC 4787 section 4.1")
		}
		if p.Overload && p.Mapping == EndpointIndependent {
			f.add(field("Overload"), p.Overload, "must be false where Mapping is EndpointIndependent: only mappings that depend on the remote endpoint can share a port (RFC 4787 REQ-3)")
		}
		if p.Filtering > AddressAndPortDependent {
			f.add(field("Filtering"), p.Filtering, "must be one of the three behaviours of RFC 4787 section 5")
		}
		if p.SubscribersPerAddress < 0 || int64(p.SubscribersPerAddress) > math.MaxUint32 {
			f.add(field("SubscribersPerAddress"), p.SubscribersPerAddress, "must be from 0 to 4294967295; zero means no bound")
		}
		for j, r := range p.Blocks.Reserved {
			if r.Spaces != 0 && r.Spaces != allSpaces {
				f.add(field(fmt.Sprintf("Blocks.Reserved[%d].Spaces", j)), r.Spaces, "must be all spaces or zero: a block serves all of them")
			}
		}
		if p.Blocks.Class == portblock.Require {
			f.add(field("Blocks.Class"), p.Blocks.Class, "must be Ignore or Prefer: an external address is chosen for a subscriber before it is known which classes of ports he needs")
		}
		if p.Blocks.Scheme != portblock.Contiguous {
			f.add(field("Blocks.Scheme"), p.Blocks.Scheme, "must be Contiguous: a record names a block by its first and last port")
		}
		if p.Blocks.Spaces != 0 && p.Blocks.Spaces != allSpaces {
			f.add(field("Blocks.Spaces"), p.Blocks.Spaces, "must be all spaces or zero: the engine translates TCP, UDP and ICMP")
		}
		p.completeMasks(f, field)
		p.Blocks.Pool = uint16(i)
		var key [16]byte
		_, _ = keys.Read(key[:]) // never fails
		if p.Blocks.OrderKey == ([16]byte{}) {
			p.Blocks.OrderKey = key
		}
	}
}

// nobodys returns the block of addresses, of those that no packet on a network may have as its source, that a range shares, or the zero prefix.
func nobodys(r alloc.Range) netip.Prefix {
	for _, s := range [...]netip.Prefix{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{}), 8), netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8),
		netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 4), netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), 32),
	} {
		if s.Contains(r.First()) || s.Contains(r.Last()) || r.First().Less(s.Addr()) && s.Addr().Less(r.Last()) {
			return s
		}
	}
	return netip.Prefix{}
}

// maxClassBits bounds the classes of remotes: a mapping keeps its class in 16 bits.
const maxClassBits = 16

func (p *PoolConfig) completeMasks(f *faults, field func(string) string) {
	none := flowmask.Mask{}
	if p.Select != none && (p.Select.Fields() != flowmask.SrcIP || p.Select.Ones() > flowmask.MaxIndexBits || p.Select.Is6()) {
		f.add(field("Select"), p.Select, "must have src-ip as its only field, IPv4, with at most 24 bits")
	}
	if p.Select != none && p.SubscribersPerAddress != 0 {
		f.add(field("SubscribersPerAddress"), p.SubscribersPerAddress, "must be zero where Select chooses the address")
	}
	if p.Remotes == none {
		return
	}
	if p.Remotes.Fields()&^(flowmask.DstIP|flowmask.DstPort) != 0 || p.Remotes.Ones() > maxClassBits || p.Remotes.Is6() {
		f.add(field("Remotes"), p.Remotes, "must have no fields but dst-ip and dst-port, IPv4, with at most 16 bits")
	}
	if p.Select == none {
		f.add(field("Select"), "the zero mask", "must choose the address where Remotes makes classes: all classes of a subscriber share it")
	}
	if p.Mapping == AddressDependent {
		f.add(field("Mapping"), p.Mapping, "must not be AddressDependent where Remotes makes classes: a class may depend on the port")
	}
}

func (c *Config) completeRules(f *faults) {
	if len(c.Rules) == 0 && len(c.Pools) > 0 {
		c.Rules = []Rule{{Pool: c.Pools[0].Name}}
		if m := c.Pools[0].Map; m != nil {
			c.Rules[0].Realm = Realm(m.Config().Realm)
		}
		return
	}
	for i := range c.Rules {
		r := &c.Rules[i]
		field := func(name string) string { return fmt.Sprintf("Rules[%d].%s", i, name) }
		for _, p := range []struct {
			name  string
			value netip.Prefix
		}{{"Internal", r.Internal}, {"Remote", r.Remote}} {
			if p.value != (netip.Prefix{}) && (!p.value.IsValid() || !p.value.Addr().Is4()) {
				f.add(field(p.name), p.value, "must be an IPv4 prefix, or the zero prefix for any")
			}
		}
		switch r.Action {
		case Translate:
			if i := c.pool(r.Pool); i < 0 {
				f.add(field("Pool"), fmt.Sprintf("%q", r.Pool), "must name one of Pools")
			} else if m := c.Pools[i].Map; m != nil && m.Config().Realm != uint32(r.Realm) {
				f.add(field("Realm"), r.Realm, fmt.Sprintf("must be %d, the realm of the pool's Map", m.Config().Realm))
			}
			if !slices.Contains([]uint8{0, 1, 6, 17, 136}, r.Protocol) && !slices.Contains(c.Protocols, r.Protocol) {
				f.add(field("Protocol"), r.Protocol, "must be 1, 6, 17, 136, 0 for all, or one of Protocols: nothing else is translated")
			}
		case Exempt, Refuse:
			if r.Pool != "" {
				f.add(field("Pool"), r.Pool, "must be empty where nothing is translated")
			}
		default:
			f.add(field("Action"), r.Action, "must be Translate, Exempt or Refuse")
		}
	}
}

// pool returns the place of the pool with a name, or -1.
func (c *Config) pool(name string) int {
	for i := range c.Pools {
		if c.Pools[i].Name == name {
			return i
		}
	}
	return -1
}
