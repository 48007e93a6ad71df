package logging

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// A SyntaxError says where a JSON line is not a record.
type SyntaxError struct {
	Line   int64  // line number from 1, or 0 where the line was given alone
	Offset int64  // byte offset in the line
	Msg    string // what is wrong
}

func (e *SyntaxError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("logging: line %d, byte %d: %s", e.Line, e.Offset, e.Msg)
	}
	return fmt.Sprintf("logging: byte %d: %s", e.Offset, e.Msg)
}

// ParseJSON decodes the JSON line that b begins with. It returns the record and
// the bytes used, the line feed included where there is one. Unknown fields are
// skipped; a field given twice, or a value that the field cannot have, is a
// *SyntaxError, with the length of the damaged line as the bytes used. Nothing
// is checked beyond the form of each field: see Record.Check.
func ParseJSON(b []byte) (Record, int, error) {
	used := len(b)
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b, used = b[:i], i+1
	}
	p := parser{b: b}
	p.record()
	if p.msg != "" {
		return Record{}, used, &SyntaxError{Offset: int64(p.at), Msg: p.msg}
	}
	return p.r, used, nil
}

// parser reads one line. The first fault stays in msg and at; every step after
// it does nothing.
type parser struct {
	b    []byte
	i    int
	msg  string
	at   int
	r    Record
	seen uint32 // a bit for each known field met
	text []byte // scratch of text with escapes
}

func (p *parser) fail(at int, msg string) {
	if p.msg == "" {
		p.msg, p.at = msg, at
	}
}

// fields lists the names in the order of parser.field.
var fields = [...]string{
	"kind", "time", "allocated", "instance", "host", "epoch", "pool_id", "pool", "realm",
	"subscriber", "subscriber_id", "internal", "external_realm", "external", "first", "last",
	"step", "class", "spaces", "protocol", "remote", "reason", "resource", "used", "max",
	"suppressed", "detail",
}

func (p *parser) record() {
	p.byte('{')
	if p.space(); p.peek() == '}' {
		p.i++
	} else {
		for p.msg == "" {
			p.member()
			if p.space(); p.peek() != ',' {
				p.byte('}')
				break
			}
			p.i++
		}
	}
	if p.space(); p.i < len(p.b) {
		p.fail(p.i, "more than one object in the line")
	}
	if p.seen&1 == 0 {
		p.fail(len(p.b), "no field kind")
	}
	if p.seen&2 == 0 {
		p.fail(len(p.b), "no field time")
	}
}

func (p *parser) member() {
	p.space()
	at := p.i
	name := p.string()
	n := 0
	for n < len(fields) && fields[n] != string(name) {
		n++
	}
	p.byte(':')
	p.space()
	if p.msg != "" {
		return
	}
	if n == len(fields) {
		p.skip(0)
		return
	}
	if p.seen&(1<<n) != 0 {
		p.fail(at, "field "+fields[n]+" given twice")
	}
	p.seen |= 1 << n
	at = p.i
	if err := p.field(fields[n]); err != "" {
		p.fail(at, "field "+fields[n]+" "+err)
	}
}

// field reads the value of the field, and returns what is wrong with it.
func (p *parser) field(name string) string {
	r := &p.r
	switch name {
	case "kind":
		return mustBe(r.Kind.UnmarshalText(p.string()), "must be the name of a kind")
	case "reason":
		return mustBe(r.Reason.UnmarshalText(p.string()), "must be the name of a reason")
	case "resource":
		return mustBe(r.Resource.UnmarshalText(p.string()), "must be the name of a resource")
	case "time":
		return p.millis(&r.Time)
	case "allocated":
		return p.millis(&r.Allocated)
	case "instance":
		r.Instance = uint32(p.uint(1<<32 - 1))
	case "epoch":
		r.Epoch = p.uint(1<<64 - 1)
	case "pool_id":
		r.PoolID = uint32(p.uint(1<<32 - 1))
	case "first":
		r.First = uint16(p.uint(1<<16 - 1))
	case "last":
		r.Last = uint16(p.uint(1<<16 - 1))
	case "step":
		r.Step = uint16(p.uint(1<<16 - 1))
	case "class":
		r.Class = uint32(p.uint(1<<32 - 1))
	case "protocol":
		r.Protocol = uint8(p.uint(1<<8 - 1))
	case "used":
		r.Used = uint32(p.uint(1<<32 - 1))
	case "max":
		r.Max = uint32(p.uint(1<<32 - 1))
	case "suppressed":
		r.Suppressed = uint32(p.uint(1<<32 - 1))
	case "host":
		r.Host = string(p.string())
	case "pool":
		r.Pool = string(p.string())
	case "realm":
		r.Realm = string(p.string())
	case "external_realm":
		r.ExternalRealm = string(p.string())
	case "subscriber_id":
		r.SubscriberID = string(p.string())
	case "detail":
		r.Detail = string(p.string())
	case "subscriber":
		return p.subscriber()
	case "external":
		var err error
		r.External, err = parseAddr(string(p.string()))
		return mustBe(err, "must be an address")
	case "internal":
		return p.endpoint(&r.Internal)
	case "remote":
		return p.endpoint(&r.Remote)
	case "spaces":
		return p.spaces()
	}
	return ""
}

func mustBe(err error, rule string) string {
	if err != nil {
		return rule
	}
	return ""
}

func (p *parser) subscriber() string {
	const rule = "must be an address or a prefix"
	s := string(p.string())
	if !strings.Contains(s, "/") {
		a, err := parseAddr(s)
		p.r.Subscriber = a
		return mustBe(err, rule)
	}
	x, err := netip.ParsePrefix(s)
	if err != nil || x.Bits() == 0 {
		return rule
	}
	p.r.Subscriber, p.r.SubscriberBits = x.Addr(), uint8(x.Bits())
	return ""
}

// parseAddr is netip.ParseAddr without zones.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err == nil && a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("logging: %q has a zone", s)
	}
	return a, err
}

func (p *parser) endpoint(dst *netip.AddrPort) string {
	ap, err := netip.ParseAddrPort(string(p.string()))
	if err != nil || ap.Addr().Zone() != "" {
		return "must be an address and a port"
	}
	*dst = ap
	return ""
}

func (p *parser) millis(dst *Millis) string {
	s := p.string()
	t, err := time.Parse(time.RFC3339, string(s))
	if err != nil || !Millis(t.UnixMilli()).valid() {
		return "must be a time as RFC 3339 writes it, in the years 1 to 9999"
	}
	*dst = Millis(t.UnixMilli())
	return ""
}

func (p *parser) spaces() string {
	p.byte('[')
	if p.space(); p.peek() == ']' {
		p.i++
		return ""
	}
	for p.msg == "" {
		p.space()
		one, ok := spaceNamed(string(p.string()))
		if !ok || p.r.Spaces&one != 0 {
			return "must list tcp, udp or icmp, each once"
		}
		p.r.Spaces |= one
		if p.space(); p.peek() != ',' {
			p.byte(']')
			break
		}
		p.i++
	}
	return ""
}
