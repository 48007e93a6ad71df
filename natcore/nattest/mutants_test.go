package nattest_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blocknat/blocknat/natcore/nattest"
	"github.com/blocknat/blocknat/natcore/nattest/blocknat"
)

// mutant is a NAT with a defect: what change makes of the right NAT.
type mutant struct {
	nattest.NAT
	cfg    nattest.Config
	out    func(m *mutant, p nattest.Packet) []nattest.Packet // changes what the NAT sends; nil for nothing
	before func(m *mutant, b []byte, inbound bool) bool       // sees packets first; false drops them
	clock  func(m *mutant, now time.Time) time.Time
	memory map[netip.AddrPort]bool // for any use
	last   []byte
	fresh  func() nattest.NAT // another NAT with no state
}

func (m *mutant) Outbound(b []byte, now time.Time) []nattest.Packet {
	return m.pass(b, now, false)
}

func (m *mutant) Inbound(b []byte, now time.Time) []nattest.Packet { return m.pass(b, now, true) }

func (m *mutant) pass(b []byte, now time.Time, inbound bool) []nattest.Packet {
	m.last = slices.Clone(b)
	if m.before != nil && len(b) >= 28 && !m.before(m, b, inbound) {
		return nil
	}
	if inbound {
		return m.change(m.NAT.Inbound(b, m.at(now)))
	}
	return m.change(m.NAT.Outbound(b, m.at(now)))
}

func (m *mutant) Advance(now time.Time) []nattest.Packet { return m.change(m.NAT.Advance(m.at(now))) }

func (m *mutant) at(now time.Time) time.Time {
	if m.clock == nil {
		return now
	}
	return m.clock(m, now)
}

func (m *mutant) change(packets []nattest.Packet) []nattest.Packet {
	if m.out == nil {
		return packets
	}
	var all []nattest.Packet
	for _, p := range packets {
		all = append(all, m.out(m, p)...)
	}
	return all
}

// one makes a change of bytes a change of packets.
func one(f func(m *mutant, b []byte, inside bool)) func(*mutant, nattest.Packet) []nattest.Packet {
	return func(m *mutant, p nattest.Packet) []nattest.Packet {
		f(m, p.Bytes, p.Inside)
		return []nattest.Packet{p}
	}
}

func size(b []byte) int { return int(b[0]&15) * 4 }

// word is a plain one's complement sum.
func word(b []byte, s uint32) uint16 {
	for len(b) > 1 {
		s, b = s+uint32(binary.BigEndian.Uint16(b)), b[2:]
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// repair makes header and transport checksum right.
func repair(b []byte) {
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^word(b[:size(b)], 0))
	at := map[byte]int{1: 2, 6: 16, 17: 6}[b[9]] + size(b)
	if at+2 > len(b) || binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
		return
	}
	b[at], b[at+1] = 0, 0
	pseudo := uint32(0)
	if b[9] != 1 {
		pseudo = uint32(b[9]) + uint32(len(b)-size(b)) + uint32(word(b[12:20], 0))
	}
	binary.BigEndian.PutUint16(b[at:], ^word(b[size(b):], pseudo))
}

// endpoint returns the address and the port that stand at an offset in the header and behind it.
func endpoint(b []byte, addr, port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[addr:])), binary.BigEndian.Uint16(b[size(b)+port:]))
}

func source(b []byte) netip.AddrPort { return endpoint(b, 12, 0) }

func icmpError(b []byte) bool {
	return b[9] == 1 && slices.Contains([]byte{3, 4, 5, 11, 12}, b[size(b)])
}

// TestRowsNotice puts a NAT with one defect each under the suite. The rows that the defect is about must fail, and over all
// defects every row must fail once: a row that cannot fail proves nothing.
func TestRowsNotice(t *testing.T) {
	var all sync.WaitGroup
	var mu sync.Mutex // guards failedOnce
	failedOnce := map[string]bool{}
	notice := func(d defect) {
		right := blocknat.Subject()
		subject := right
		subject.Deviates = nil
		subject.New = func(c nattest.Config) (nattest.NAT, error) {
			if d.config != nil {
				d.config(&c)
			}
			if c.LastPort == 0 {
				c.FirstPort, c.LastPort = 1024, 9215 // enough, and made faster
			}
			fresh := func() nattest.NAT {
				n, err := right.New(c)
				if err != nil {
					panic(err) // fails the row
				}
				return n
			}
			m := &mutant{cfg: c, memory: map[netip.AddrPort]bool{}, fresh: fresh, NAT: fresh()}
			if d.make != nil {
				d.make(m)
			}
			return m, nil
		}
		var failed []string
		for _, r := range nattest.Check(subject) {
			if r.Outcome == nattest.Failed {
				failed = append(failed, r.ID)
				mu.Lock()
				failedOnce[r.ID] = failedOnce[r.ID] || d.name != "panics" // which fails them all
				mu.Unlock()
			}
		}
		for _, id := range d.noticed {
			if !slices.Contains(failed, id) {
				t.Errorf("%s: %s passes; the rows that fail are %v", d.name, id, failed)
			}
		}
	}
	for _, d := range defects {
		all.Go(func() { notice(d) })
	}
	all.Wait()
	for _, r := range nattest.Rows() {
		if !failedOnce[r.ID] {
			t.Errorf("no defect makes %s fail", r.ID)
		}
	}
}

// defect is a change of a right NAT, and the rows that must notice it.
type defect struct {
	name    string
	config  func(c *nattest.Config) // changes what the row asks for; nil for nothing
	make    func(m *mutant)
	noticed []string
}

var defects = []defect{
	{"symmetric mapping", func(c *nattest.Config) { c.Mapping = nattest.AddressAndPortDependent }, nil,
		[]string{"4787-01", "4787-01/many", "4787-01/ad", "4787-08d", "4787-11", "5382-01", "5508-01a"}},
	{"independent mapping only", func(c *nattest.Config) { c.Mapping = nattest.EndpointIndependent }, nil,
		[]string{"4787-01/ad", "4787-01/apd", "4787-08d/other"}},
	{"filters strictly", func(c *nattest.Config) { c.Filtering = nattest.AddressAndPortDependent }, nil,
		[]string{"4787-08", "4787-08a", "4787-08b", "4787-09", "4787-11/filter", "5382-03", "5382-02/inbound", "6888-07"}},
	{"filters nothing", func(c *nattest.Config) { c.Filtering = nattest.EndpointIndependent }, nil,
		[]string{"4787-08b", "4787-08c", "4787-08d", "5382-03/ad", "5382-03/apd", "5382-04", "7857-10"}},
	{"one address", func(c *nattest.Config) { c.External = c.External[:1] }, nil, []string{"6888-03"}},
	{"no limits", func(c *nattest.Config) { c.PortsPerHost, c.SessionsPerHost = 0, 0 }, nil, []string{"6888-04", "6888-04a", "6888-05"}},
	{"translates everything", func(c *nattest.Config) { c.Untranslated = netip.Prefix{} }, nil, []string{"6888-06"}},
	{"ignores options", func(c *nattest.Config) {
		c.KeepParity, c.KeepClass, c.RefreshInbound = false, false, false
		c.UDPTimeout, c.TCPTimeout, c.ICMPTimeout = 0, 0, 0
		c.FirstPort, c.LastPort = 0, 0
	}, nil, []string{"4787-04", "4787-05b", "4787-06a", "5382-05d", "5508-02a", "6888-13"}},
	{"half of the ports", func(c *nattest.Config) { c.LastPort = c.FirstPort + (c.LastPort-c.FirstPort)/2 }, nil, []string{"6888-13"}},
	{"a clock that runs fast", nil, func(m *mutant) {
		m.clock = func(m *mutant, now time.Time) time.Time { return m.cfg.Now.Add(4 * now.Sub(m.cfg.Now)) }
	}, []string{"4787-05", "4787-05c", "4787-06", "4787-12/time", "5382-02a/lives", "5382-05", "5382-05b", "5382-05c", "5382-10",
		"5382-12", "5508-02", "5508-06", "7857-02/opening", "7857-04", "7857-04/back", "7857-05"}},
	{"a clock that runs away", nil, func(m *mutant) {
		m.clock = func(m *mutant, now time.Time) time.Time { return m.cfg.Now.Add(50 * now.Sub(m.cfg.Now)) }
	}, []string{"6888-08", "7857-02/opening"}},
	{"a clock that stands", nil, func(m *mutant) {
		m.clock = func(m *mutant, now time.Time) time.Time { return m.cfg.Now }
	}, []string{"4787-05b", "5382-05d", "5508-02a", "6888-04/again", "7857-01b", "7857-02", "7857-04/end", "7857-18"}},
	{"whatever comes keeps mappings alive", nil, func(m *mutant) { m.NAT = &refresher{NAT: m.NAT} },
		[]string{"5508-06/refresh", "7857-10", "7857-11"}},
	{"wrong UDP checksums", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, _ bool) {
			if b[9] == 17 && binary.BigEndian.Uint16(b[6:])&0x3fff == 0 {
				b[size(b)+7] ^= 1
			}
		})
	}, []string{"3022-01/udp", "3022-02", "3022-03", "4787-01", "4787-08a"}},
	{"wrong TCP checksums", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, _ bool) {
			if b[9] == 6 {
				b[size(b)+17] ^= 1
			}
		})
	}, []string{"3022-01/tcp", "5382-01", "5382-02"}},
	{"wrong ICMP checksums", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, _ bool) {
			if b[9] == 1 {
				b[size(b)+3] ^= 1
			}
		})
	}, []string{"3022-01/icmp", "3022-07", "5508-01", "5508-04a"}},
	{"wrong header checksums", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, _ bool) { b[11] ^= 1 })
	}, []string{"3022-01/udp", "3022-05", "4787-14"}},
	{"makes every checksum right", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, _ bool) { repair(b) })
	}, []string{"3022-02", "3022-04"}},
	{"decrements the TTL", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, _ bool) { b[8]--; repair(b) })
	}, []string{"3022-06"}},
	{"clears DF", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, _ bool) { b[6] &^= 0x40; repair(b) })
	}, []string{"3022-05"}},
	{"forwards malformed packets", nil, func(m *mutant) {
		m.before = nil
		m.NAT = forwardMalformed{m.NAT}
	}, []string{"3022-08"}},
	{"changes payloads", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, _ bool) {
			if at := strings.Index(string(b), "10.0.0.2"); at > 0 {
				copy(b[at:], "10.0.0.9")
				repair(b)
			}
		})
	}, []string{"4787-10", "5382-06"}},
	{"clamps options away", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, _ bool) {
			if b[9] == 6 && b[size(b)+12]>>4 > 5 {
				for i := size(b) + 20; i < size(b)+int(b[size(b)+12]>>4)*4; i++ {
					b[i] = 1
				}
				repair(b)
			}
		})
	}, []string{"5382-11"}},
	{"no hairpinning", nil, func(m *mutant) {
		m.before = func(m *mutant, b []byte, inbound bool) bool {
			return inbound || !slices.Contains(m.cfg.External, netip.AddrFrom4([4]byte(b[16:])))
		}
	}, []string{"4787-09", "4787-09a", "4787-09a/new", "4787-09b", "5382-08", "5382-08a", "5508-07", "7857-19"}},
	{"hairpins from the internal endpoint", nil, func(m *mutant) {
		m.out = one(func(m *mutant, b []byte, inside bool) {
			if inside && !icmpError(b) && m.cfg.Internal.Contains(netip.AddrFrom4([4]byte(m.last[12:]))) {
				copy(b[12:16], m.last[12:16])
				copy(b[size(b):], m.last[size(m.last):][:2])
				repair(b)
			}
		})
	}, []string{"4787-09a", "4787-09b", "5382-08", "5382-08a"}},
	{"drops fragments that do not come first", nil, func(m *mutant) {
		m.before = func(_ *mutant, b []byte, _ bool) bool { return binary.BigEndian.Uint16(b[6:])&0x1fff == 0 }
	}, []string{"4787-14", "4787-14/reverse", "4787-14/mixed"}},
	{"dies of fragments", nil, func(m *mutant) {
		m.before = func(m *mutant, b []byte, _ bool) bool {
			if binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
				m.memory[netip.AddrPortFrom(netip.Addr{}, binary.BigEndian.Uint16(b[4:]))] = true
			}
			return len(m.memory) < 5000
		}
	}, []string{"4787-14a"}},
	{"passes tiny fragments", nil, func(m *mutant) { m.NAT = forwardTiny{m.NAT} }, []string{"4787-15"}},
	{"errors end mappings", nil, func(m *mutant) {
		m.before = func(m *mutant, b []byte, inbound bool) bool {
			if inbound && icmpError(b) {
				m.NAT = m.fresh()
			}
			return true
		}
	}, []string{"4787-12", "4787-12/time", "5382-10", "5508-06"}},
	{"errors of the destination only", nil, func(m *mutant) {
		m.before = func(_ *mutant, b []byte, inbound bool) bool {
			return !inbound || !icmpError(b) || [4]byte(b[12:]) == [4]byte(b[size(b)+8+16:])
		}
	}, []string{"4787-12a", "5382-09", "5508-04a"}},
	{"no errors inbound", nil, func(m *mutant) {
		m.before = func(_ *mutant, b []byte, inbound bool) bool { return !inbound || !icmpError(b) }
	}, []string{"4787-12b", "5508-03b", "5508-03c", "5508-03d", "5508-04b", "5508-04c", "5508-10a", "5508-10b/problem", "5508-10h"}},
	{"no errors outbound", nil, func(m *mutant) {
		m.before = func(_ *mutant, b []byte, inbound bool) bool { return inbound || !icmpError(b) }
	}, []string{"5382-09/out", "5508-05a", "5508-05c", "5508-07", "5508-10a", "7857-19"}},
	{"believes errors without looking", nil, func(m *mutant) { m.NAT = forwardErrors{m.NAT, m.cfg} },
		[]string{"5508-03", "5508-03a", "5508-04", "5508-05", "5508-10c"}},
	{"leaves quotes as they are", nil, func(m *mutant) {
		m.out = one(func(m *mutant, b []byte, _ bool) {
			if icmpError(b) && len(m.last) == len(b) {
				copy(b[size(b)+8:], m.last[size(m.last)+8:])
				repair(b)
			}
		})
	}, []string{"4787-12b", "5382-09", "5508-03b", "5508-04a", "5508-04a/tcp", "5508-04a/icmp", "5508-04a/cut", "5508-04a/cut-tcp", "5508-05a", "5508-07", "7857-19"}},
	{"loses the MTU and extensions", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, _ bool) {
			if icmpError(b) {
				copy(b[size(b)+4:], make([]byte, 4))
				b[len(b)-1] = 0
				repair(b)
			}
		})
	}, []string{"5508-03d", "5508-04b", "5508-10h"}},
	{"believes any reset", nil, func(m *mutant) {
		m.before = func(m *mutant, b []byte, inbound bool) bool {
			if inbound && b[9] == 6 && b[size(b)+13]&5 != 0 {
				m.NAT = m.fresh()
			}
			return true
		}
	}, []string{"5382-12", "5382-12/fin", "7857-05", "7857-03"}},
	{"drops resets", nil, func(m *mutant) {
		m.before = func(_ *mutant, b []byte, _ bool) bool { return b[9] != 6 || b[size(b)+13]&4 == 0 }
	}, []string{"7857-03"}},
	{"opens by any segment", nil, func(m *mutant) { m.NAT = forwardUnknown{m.NAT} }, []string{"5382-05f", "5508-10j", "5508-11"}},
	{"one SYN at a time", nil, func(m *mutant) {
		m.before = func(_ *mutant, b []byte, inbound bool) bool {
			return b[9] != 6 || !inbound || b[size(b)+13]&0x12 != 2
		}
	}, []string{"5382-02/inbound", "5382-02a", "5382-02a/lives", "5382-03", "5382-04a"}},
	{"no data behind a FIN", nil, func(m *mutant) {
		m.before = func(m *mutant, b []byte, _ bool) bool {
			if b[9] == 6 && b[size(b)+13]&1 != 0 {
				m.memory[netip.AddrPort{}] = true
			}
			return b[9] != 6 || len(m.memory) == 0 || b[size(b)+13]&8 == 0
		}
	}, []string{"5382-02/half", "5382-05c"}},
	{"drops what it has seen", nil, func(m *mutant) {
		m.before = func(m *mutant, b []byte, inbound bool) bool {
			if b[9] != 6 {
				return true
			}
			key := netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[size(b)+4:])), uint16(b[size(b)+13])<<8|uint16(len(b))|uint16(b[12])<<7)
			seen := m.memory[key]
			m.memory[key] = true
			return !seen
		}
	}, []string{"5382-02/again"}},
	{"answers SYNs by a reset", nil, func(m *mutant) { m.NAT = answerSYN{m.NAT} }, []string{"5382-04"}},
	{"answers nobody", nil, func(m *mutant) {
		m.out = func(m *mutant, p nattest.Packet) []nattest.Packet {
			if icmpError(p.Bytes) && !icmpError(m.last) {
				return nil
			}
			return []nattest.Packet{p}
		}
	}, []string{"5382-04b", "5508-08", "6888-11b"}},
	{"repeats identifications", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, _ bool) { b[4], b[5] = 0, 7; repair(b) })
	}, []string{"7857-17b"}},
	{"preserves ports, and shares them", nil, func(m *mutant) { m.NAT = overload{m.cfg} },
		[]string{"4787-03", "5382-07", "5508-01b", "6888-15", "7857-06b", "7857-16", "7857-09"}},
	{"takes the state of others when full", nil, func(m *mutant) {
		m.NAT = &evict{NAT: m.NAT, fresh: m.fresh}
	}, []string{"6888-11a", "6888-11d", "6888-04", "6888-05"}},
	{"counts addresses in turn", nil, func(m *mutant) { m.NAT = &scatter{cfg: m.cfg} },
		[]string{"4787-02", "5508-05c", "6888-02", "7857-07"}},
	{"low ports for all", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, inside bool) {
			if !inside && b[9] == 17 {
				b[size(b)] &= 3
				repair(b)
			}
		})
	}, []string{"4787-03a"}},
	{"maps by type of service", nil, func(m *mutant) {
		m.out = one(func(_ *mutant, b []byte, inside bool) {
			if !inside && b[9] == 17 {
				b[size(b)+1] ^= b[1]
				repair(b)
			}
		})
	}, []string{"4787-01b"}},
	{"takes sources inside for spoofed", nil, func(m *mutant) {
		m.before = func(m *mutant, b []byte, inbound bool) bool {
			return !inbound || !m.cfg.Internal.Contains(netip.AddrFrom4([4]byte(b[12:])))
		}
	}, []string{"4787-07"}},
	{"echo by type only", nil, func(m *mutant) {
		m.before = func(_ *mutant, b []byte, _ bool) bool {
			return b[9] != 1 || b[size(b)] != 13 && binary.BigEndian.Uint16(b[size(b)+4:]) != 0
		}
	}, []string{"5508-01/zero", "5508-10b"}},
	{"all protocols one table", nil, func(m *mutant) {
		m.before = func(m *mutant, b []byte, inbound bool) bool {
			if !inbound && b[9] == 17 {
				m.memory[source(b)] = true
			}
			return !(b[9] == 6 && !inbound && m.memory[source(b)])
		}
	}, []string{"6888-02", "7857-08"}},
	{"panics", nil, func(m *mutant) {
		m.before = func(*mutant, []byte, bool) bool { panic("a defect") }
	}, []string{"4787-01"}},
}
