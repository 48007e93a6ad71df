package deterministic

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// checkQuick checks the rules of a map on some of its ports: forward and reverse
// are inverse, and what is refused is refused with a reason.
func checkQuick(t *testing.T, m *Map) {
	for k := range min(m.Subscribers(), 5) {
		i := k * (m.Subscribers() - 1) / max(min(m.Subscribers(), 5)-1, 1)
		sub := m.Subscriber(i)
		p, err := m.Forward(sub.Addr())
		require.NoError(t, err)
		require.Positive(t, p.Len())
		for _, j := range []int{0, p.Len() / 2, p.Len() - 1} {
			ap := p.At(j)
			back, err := m.Reverse(ap.Addr(), ap.Port())
			require.NoError(t, err)
			require.Equal(t, sub, back)
			at, ok := p.Index(ap.Addr(), ap.Port())
			require.True(t, ok && at == j)
		}
	}
	for port := 0; port < 65536; port += 251 {
		sub, err := m.Reverse(m.External(m.Externals()-1), uint16(port))
		switch err {
		case nil:
			p, err := m.Forward(sub.Addr())
			require.NoError(t, err)
			require.True(t, p.Contains(m.External(m.Externals()-1), uint16(port)))
		case ErrReserved, ErrDynamic, ErrRemainder, ErrEmptySlot:
		default:
			t.Fatal(err)
		}
	}
}

// FuzzParseRecord feeds any bytes to the archive's parser. What it accepts and
// New accepts is a map that keeps the rules, and survives another round trip.
func FuzzParseRecord(f *testing.F) {
	for _, cfg := range speedConfigs() { // one of each algorithm
		m := mustNew(f, cfg)
		line, err := AppendRecord(nil, Epoch{Number: 1, From: day(1), Until: day(2), Config: m.Config()})
		require.NoError(f, err)
		f.Add(line)
	}
	f.Add([]byte(`{"epoch":1,"from":"2026-01-01T00:00:00Z","map":{"internal":["10.0.0.0/28"],"external":["192.0.2.1"],"sharing_ratio":0}}`))                                          // defaults
	f.Add([]byte(`{"epoch":1,"from":"2026-01-01T00:00:00Z","map":{"internal":["::/0"],"external":["0.0.0.0/0"],"subscriber_bits":48,"algorithm":"random"}}`))                         // as large as it gets
	f.Add([]byte(`{"epoch":1,"from":"2026-01-01T00:00:00Z","map":{"internal":["10.0.0.1-10.0.0.1"],"external":["255.255.255.255"],"reserved":["0-1","5-65535"],"sharing_ratio":1}}`)) // a few ports
	f.Add([]byte(`{"epoch":1,"map":{"internal":["10.0.0.0/28"],"external":["192.0.2.1"]}}`))                                                                                          // no beginning
	f.Add([]byte(`{"epoch":1,"from":"2026-01-01T00:00:00Z","epoch":2,"Map":{}}`))                                                                                                     // a member twice, another case
	f.Add([]byte("{}\n{}"))                                                                                                                                                           // two values
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := ParseRecord(line)
		if err != nil {
			require.ErrorIs(t, err, ErrSyntax)
			return
		}
		if e.Config.Algorithm == Crypto && e.Config.KeyPerAddress {
			e.Config.KeyPerAddress = false // thousands of tables an input are slow
		}
		m, err := New(e.Config)
		if err != nil {
			return
		}
		checkQuick(t, m)
		e.Config = m.Config()
		again, err := AppendRecord(nil, e)
		if err != nil {
			return // years beyond RFC 3339
		}
		back, err := ParseRecord(again)
		require.NoError(t, err)
		require.True(t, mustEqual(e, back))
	})
}

// FuzzParseLogLine feeds any bytes to the parser of the RFC's log line.
func FuzzParseLogLine(f *testing.F) {
	f.Add([]byte("[Wed Oct 11 14:32:52 2000]:198.51.100.0:28:192.0.2.0:32:2:5040:0:1-1023,5004,5060")) // as printed
	f.Add([]byte("[Tue Feb  3 04:05:06 2026]:[2001:db8::]:56:192.0.2.1:32:0:0:3:"))                    // IPv6, nothing reserved
	f.Add([]byte("[Tue Feb  3 04:05:06 2026]:10.0.0.0,10.0.1.0:30,30:192.0.2.0,198.51.100.7:31,32:0:0:1:0-1023\n"))
	line, err := AppendLogLine(nil, day(1), Config{Internal: Spans("10.0.0.0/26"), External: Spans("192.0.2.1"), Algorithm: MAP, PSIDOffset: 6, PSIDLen: 6})
	require.NoError(f, err)
	f.Add(line) // all parameters
	f.Fuzz(func(t *testing.T, line []byte) {
		at, cfg, err := ParseLogLine(line)
		if err != nil {
			require.ErrorIs(t, err, ErrSyntax)
			return
		}
		if cfg.KeyPerAddress || cfg.Key != [16]byte{} {
			return // the line does not carry keys; tables of many keys are slow
		}
		m, err := New(cfg)
		if err != nil {
			return
		}
		checkQuick(t, m)
		again, err := AppendLogLine(nil, at, cfg)
		require.NoError(t, err)
		at2, cfg2, err := ParseLogLine(again)
		require.NoError(t, err)
		require.Equal(t, at.Truncate(time.Second), at2)
		cfg2.Name = cfg.Name
		m2, err := New(cfg2)
		require.NoError(t, err)
		requireSame(t, m, m2)
	})
}

// FuzzParseHistory feeds any bytes to the reader of the file; what it accepts is
// written back the same.
func FuzzParseHistory(f *testing.F) {
	var h History
	_, err := h.Begin(day(1), epochConfig("east", "10.0.0.0-10.0.0.3", "192.0.2.1", 4))
	require.NoError(f, err)
	_, err = h.Begin(day(2), epochConfig("east", "10.0.0.0-10.0.0.3", "192.0.2.1", 8))
	require.NoError(f, err)
	text, err := h.AppendText(nil)
	require.NoError(f, err)
	f.Add(text)                                                     // two epochs of one map
	f.Add(append(bytes.Clone(text), text...))                       // the same epochs twice: refused
	f.Add([]byte("\n\n"))                                           // nothing
	f.Add(bytes.ReplaceAll(text, []byte("east"), []byte("\u2028"))) // a name that JSON escapes
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Contains(text, []byte("key_per_address")) {
			return
		}
		h, err := ParseHistory(text)
		if err != nil {
			return
		}
		out, err := h.AppendText(nil)
		if err != nil {
			return
		}
		again, err := ParseHistory(out)
		require.NoError(t, err)
		twice, err := again.AppendText(nil)
		require.NoError(t, err)
		require.Equal(t, string(out), string(twice))
		_, _ = h.Reverse(0, netip.AddrFrom4([4]byte{192, 0, 2, 1}), 2000, day(1))
	})
}

// FuzzRule checks any rule both ways.
func FuzzRule(f *testing.F) {
	seed := func(v6, v4 string, ea, a, k int, psid uint16, port uint16) {
		p6, p4 := prefix(v6), prefix(v4)
		f.Add(p6.Addr().AsSlice(), p6.Bits(), p4.Addr().AsSlice(), p4.Bits(), ea, a, k, psid, uint64(0x3412), port)
	}
	seed("2001:db8::/40", "192.0.2.0/24", 16, 6, 0, 0, 1232)            // RFC 7597 appendix A
	seed("2001:db8:12:3400::/56", "192.0.2.18/32", 0, 6, 8, 0x34, 1232) // PSID provisioned apart
	seed("2001:db8::/40", "192.0.2.0/24", 4, 0, 0, 0, 80)               // an IPv4 prefix
	seed("::/0", "0.0.0.0/0", 48, 0, 0, 0, 65535)                       // the longest EA bits
	f.Fuzz(func(t *testing.T, v6 []byte, bits6 int, v4 []byte, bits4, ea, a, k int, psid uint16, bits uint64, port uint16) {
		a6, _ := netip.AddrFromSlice(v6)
		a4, _ := netip.AddrFromSlice(v4)
		r, err := NewRule(RuleConfig{netip.PrefixFrom(a6, bits6), netip.PrefixFrom(a4, bits4), ea, a, k, psid})
		if err != nil {
			return
		}
		host := u128Of(a6).or(u128{bits, bits}.and(u128{0, 1}.shl(128 - bits6).dec())).addr(false)
		ce, err := r.CE(host)
		require.NoError(t, err)
		require.True(t, ce.EndUser.Contains(host) && ce.EndUser.Contains(ce.Address))
		set := ce.Ports()
		require.Positive(t, set.Len())
		first, _ := set.At(set.Len() / 2)
		back, err := r.Reverse(ce.IPv4.Addr(), first)
		require.NoError(t, err)
		require.Equal(t, ce, back)
		require.NoError(t, r.CheckSource(ce.Address, ce.IPv4.Addr(), first))
		if back, err := r.Reverse(ce.IPv4.Addr(), port); err == nil {
			require.True(t, back.Ports().Contains(port))
			require.Equal(t, ce.IPv4, back.IPv4)
		}
		if cfg, err := r.Map(); err == nil {
			m, err := New(cfg)
			if err != nil {
				return // more subscribers than a map numbers, or a set with port 0 only
			}
			p, err := m.Forward(host)
			require.NoError(t, err)
			require.Equal(t, ce.IPv4.Addr(), p.External())
			if first != 0 {
				require.True(t, p.Contains(p.External(), first))
			}
		}
	})
}
