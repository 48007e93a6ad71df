package deterministic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// logTime is the time of the log line; it has no zone and means UTC.
const logTime = time.ANSIC

// AppendLogLine appends the log line of RFC 7422 section 3, without a newline:
//
//	[time]:I prefix:I mask:O prefix:O mask:D:M:A:R
//
// Where there are several prefixes, prefixes and masks are lists separated by
// commas, as R is in the RFC; ranges are written as prefixes, IPv6 addresses in
// brackets. If these fields do not lead to the same addresses, ports and numbers,
// all parameters follow as one more field, in JSON; that a span was written
// otherwise is no reason. The name of the map is not in the line, and the key
// neither: it belongs in the archive, not in a log. The error says why cfg makes
// no map; dst is returned then.
func AppendLogLine(dst []byte, at time.Time, cfg Config) ([]byte, error) {
	m, err := New(cfg)
	if err != nil {
		return dst, err
	}
	filled := m.Config()
	filled.Name, filled.Key = "", [16]byte{}
	b := append(bytes.Clone(dst), '[')
	b = plain(at).AppendFormat(b, logTime)
	b = append(b, ']', ':')
	b = appendPrefixes(b, filled.Internal)
	b = append(b, ':')
	b = appendPrefixes(b, filled.External)
	b = fmt.Appendf(b, ":%d:%d:%d:", filled.DynamicFactor, filled.MaxPorts, filled.Algorithm.RFC7422())
	for i, r := range filled.Reserved {
		if i > 0 {
			b = append(b, ',')
		}
		b = r.AppendTo(b)
	}
	if _, short, err := ParseLogLine(b[len(dst):]); err == nil {
		bare := *m // without what the line never has
		bare.cfg = filled
		if m, err := New(short); err == nil && m.same(&bare) {
			return b, nil
		}
	}
	text, err := json.Marshal(filled.record())
	if err != nil {
		return dst, err
	}
	return append(append(b, ':'), text...), nil
}

// appendPrefixes appends "prefix,prefix:mask,mask".
func appendPrefixes(b []byte, spans []Span) []byte {
	var masks []byte
	for _, s := range spans {
		for p := range prefixes(s) {
			if len(masks) > 0 {
				b, masks = append(b, ','), append(masks, ',')
			}
			if p.Addr().Is6() {
				b = append(p.Addr().AppendTo(append(b, '[')), ']')
			} else {
				b = p.Addr().AppendTo(b)
			}
			masks = strconv.AppendInt(masks, int64(p.Bits()), 10)
		}
	}
	return append(append(b, ':'), masks...)
}

// prefixes yields the fewest prefixes that make up the span, rising.
func prefixes(s Span) func(func(netip.Prefix) bool) {
	return func(yield func(netip.Prefix) bool) {
		first, last, length := u128Of(s.first), u128Of(s.last), s.first.BitLen()
		for {
			host := min(first.trailingZeros(), length)
			for host > 0 && last.less(first.or(u128{0, 1}.shl(host).dec())) {
				host--
			}
			if !yield(netip.PrefixFrom(first.addr(length == 32), length-host)) {
				return
			}
			end := first.or(u128{0, 1}.shl(host).dec())
			if !end.less(last) {
				return
			}
			first = end.inc()
		}
	}
}

func (k u128) trailingZeros() int {
	if k.lo != 0 {
		return bits.TrailingZeros64(k.lo)
	}
	return 64 + bits.TrailingZeros64(k.hi)
}

// ParseLogLine reads a log line of RFC 7422 section 3, as AppendLogLine writes
// it. Errors wrap ErrSyntax. A = 5 (vendor-specific) needs the field of all
// parameters. It does not check the configuration: New does.
func ParseLogLine(line []byte) (time.Time, Config, error) {
	var cfg Config
	text, ok := strings.CutPrefix(strings.TrimRight(string(line), "\r\n"), "[")
	stamp, rest, ok2 := strings.Cut(text, "]:")
	at, err := time.Parse(logTime, stamp)
	if !ok || !ok2 || err != nil {
		return time.Time{}, cfg, fmt.Errorf("%w: log line: time %q", ErrSyntax, stamp)
	}
	fail := func(what, value string) (time.Time, Config, error) {
		return time.Time{}, Config{}, fmt.Errorf("%w: log line: %s %q", ErrSyntax, what, value)
	}
	var field [9]string
	for i := range field[:8] {
		if i == 0 || i == 2 {
			field[i], rest, ok = cutAddresses(rest)
		} else {
			field[i], rest, ok = strings.Cut(rest, ":")
		}
		if !ok && i < 7 {
			return fail("missing fields after", field[i])
		}
	}
	field[8] = rest
	if field[8] != "" {
		if err := cfg.UnmarshalJSON([]byte(field[8])); err != nil {
			return time.Time{}, Config{}, err
		}
		return at, cfg, nil
	}
	if cfg.Internal, ok = parsePrefixes(field[0], field[1]); !ok {
		return fail("internal prefix", field[0]+":"+field[1])
	}
	if cfg.External, ok = parsePrefixes(field[2], field[3]); !ok {
		return fail("external prefix", field[2]+":"+field[3])
	}
	for i, to := range []*int{&cfg.DynamicFactor, &cfg.MaxPorts} {
		n, err := strconv.ParseUint(field[4+i], 10, 31)
		if err != nil {
			return fail("number", field[4+i])
		}
		*to = int(n)
	}
	a, err := strconv.ParseUint(field[6], 10, 8)
	if err != nil || a > uint64(Crypto) {
		return fail("algorithm", field[6])
	}
	cfg.Algorithm = Algorithm(a)
	cfg.Reserved = []portblock.Range{}
	if field[7] != "" {
		for text := range strings.SplitSeq(field[7], ",") {
			r, err := portblock.ParseRange(text)
			if err != nil {
				return fail("reserved ports", text)
			}
			cfg.Reserved = append(cfg.Reserved, r)
		}
	}
	return at, cfg, nil
}

// cutAddresses cuts a list of addresses at the first colon outside brackets.
func cutAddresses(s string) (list, rest string, ok bool) {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '[':
			depth++
		case ']':
			depth--
		case ':':
			if depth == 0 {
				return s[:i], s[i+1:], true
			}
		}
	}
	return s, "", false
}

// parsePrefixes joins a list of addresses and a list of masks.
func parsePrefixes(addresses, masks string) ([]Span, bool) {
	as, ms := strings.Split(addresses, ","), strings.Split(masks, ",")
	if len(as) != len(ms) {
		return nil, false
	}
	var out []Span
	for i, text := range as {
		inner := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
		a, err := netip.ParseAddr(inner)
		n, err2 := strconv.ParseUint(ms[i], 10, 8)
		if err != nil || err2 != nil || a.Zone() != "" || a.Is4In6() || a.Is6() != (len(inner) == len(text)-2) {
			return nil, false
		}
		s := PrefixSpan(netip.PrefixFrom(a, int(n)))
		if !s.IsValid() {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}
