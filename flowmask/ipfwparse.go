package flowmask

import (
	"errors"
	"net/netip"
	"strings"
)

// maxScriptErrors bounds how many faults one call reports.
const maxScriptErrors = 64

// ParseIPFW parses a script of ipfw lines: those that create flow tables, set their masks
// and add entries. Each line may begin with "ipfw" or its path, options and "set N"; "#"
// begins a comment. Lines about other things than tables, and about tables of other types
// than flow, are returned in rest, in order. A line about a flow table that is no create,
// setmask, add or atomic add is an error, as is one about a table that was not created
// before.
//
// setmask may stand before or after entries: it is IPFWTable.Build that files them. All
// faults are reported together, joined, up to a bound; each is a *SyntaxError with line and
// position.
func ParseIPFW(text string) (tables []IPFWTable, rest []IPFWLine, err error) {
	p := ipfwParser{tables: make(map[string]int)}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if i := strings.IndexByte(line, '#'); i >= 0 {
			line = line[:i]
		}
		p.line, p.number, p.pos = line, number, 0
		if fault := p.parseLine(); fault != nil {
			if p.faults = append(p.faults, fault); len(p.faults) == maxScriptErrors {
				break
			}
		}
	}
	if p.faults != nil {
		return nil, nil, errors.Join(p.faults...)
	}
	for i := range p.list {
		if t := &p.list[i]; !t.HasMask {
			t.Mask = FullMask(t.Fields, len(t.Entries) > 0 && t.Entries[0].Flow.Is6())
		}
	}
	return p.list, p.rest, nil
}

// ipfwParser is the state of ParseIPFW.
type ipfwParser struct {
	line   string
	number int
	pos    int // where the next token is looked for
	tables map[string]int
	list   []IPFWTable
	rest   []IPFWLine
	faults []error
}

// next returns the next token and its position; it is empty at the end of the line.
func (p *ipfwParser) next() (token string, pos int) {
	for p.pos < len(p.line) && isBlank(p.line[p.pos]) {
		p.pos++
	}
	pos = p.pos
	for p.pos < len(p.line) && !isBlank(p.line[p.pos]) {
		p.pos++
	}
	return p.line[pos:p.pos], pos
}

// isBlank reports whether c separates tokens.
func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r' }

// fault returns an error at a position of the line.
func (p *ipfwParser) fault(pos int, f Fields, why string) error {
	return &SyntaxError{Text: p.line, Line: p.number, Pos: pos, Field: f, Reason: why}
}

// inside moves the error of a token's parser to the line.
func (p *ipfwParser) inside(err error, pos int) error {
	var e *SyntaxError
	if errors.As(err, &e) {
		return p.fault(pos+e.Pos, e.Field, e.Reason)
	}
	return err
}

// notFlow marks the name of a table of another type.
const notFlow = -1

// parseLine parses one line.
func (p *ipfwParser) parseLine() error {
	token, pos := p.next()
	if token == "" {
		return nil
	}
	if token == "ipfw" || strings.HasSuffix(token, "/ipfw") {
		token, pos = p.next()
		for strings.HasPrefix(token, "-") {
			token, pos = p.next()
		}
	}
	if token == "set" {
		// "set N table ..." is about a table; "set enable N" is not.
		p.next()
		token, pos = p.next()
	}
	if token != "table" {
		return p.leave()
	}
	name, npos := p.next()
	if name == "" {
		return p.fault(pos, 0, "table needs a name")
	}
	command, cpos := p.next()
	if command == "create" {
		return p.create(name, npos)
	}
	i, known := p.tables[name]
	switch {
	case known && i == notFlow:
		return p.leave()
	case !known:
		return p.fault(npos, 0, "no line before this one creates the table")
	}
	t := &p.list[i]
	switch command {
	case "setmask":
		return p.setMask(t)
	case "atomic":
		if command, cpos = p.next(); command != "add" {
			return p.fault(cpos, 0, "atomic goes with add only")
		}
		return p.add(t)
	case "add":
		return p.add(t)
	case "":
		return p.fault(cpos, 0, "table needs a command")
	}
	return p.fault(cpos, 0, "of the commands of a flow table only create, setmask and add are read")
}

// leave hands the line to the caller.
func (p *ipfwParser) leave() error {
	p.rest = append(p.rest, IPFWLine{p.number, strings.TrimSpace(p.line)})
	return nil
}

// create parses what follows "table NAME create".
func (p *ipfwParser) create(name string, npos int) error {
	if _, known := p.tables[name]; known {
		return p.fault(npos, 0, "the table exists already")
	}
	t := IPFWTable{Name: name, Line: p.number}
	flow := false
	for {
		option, opos := p.next()
		if option == "" {
			break
		}
		switch option {
		case "locked", "missing", "or-flush":
			continue
		case "type", "valtype", "algo", "limit":
		default:
			return p.fault(opos, 0, "unknown option; options are type, valtype, algo, limit, locked, missing, or-flush")
		}
		value, vpos := p.next()
		if value == "" {
			return p.fault(opos, 0, option+" needs a value")
		}
		switch option {
		case "type":
			if flow = value == "flow" || strings.HasPrefix(value, "flow:"); flow {
				f, err := ParseFields(value)
				if err != nil {
					return p.inside(err, vpos)
				}
				t.Fields = f
			}
		case "valtype":
			at := vpos
			for _, v := range strings.Split(value, ",") {
				if valueKind(v) == kindUnknown {
					return p.fault(at, 0, "unknown value type")
				}
				at += len(v) + 1
			}
			t.ValType = value
		case "limit":
			n, ok := parseNumber(value, 31)
			if !ok {
				return p.fault(vpos, 0, "limit is not a decimal number")
			}
			t.Limit = int(n)
		}
	}
	if !flow {
		p.tables[name] = notFlow
		return p.leave()
	}
	if t.Fields == 0 {
		return p.fault(npos, 0, "a flow table needs fields, as in type flow:src-ip,proto")
	}
	p.tables[name] = len(p.list)
	p.list = append(p.list, t)
	return nil
}

// setMask parses what follows "table NAME setmask".
func (p *ipfwParser) setMask(t *IPFWTable) error {
	value, vpos := p.next()
	m, err := ParseMask(value, t.Fields)
	if err != nil {
		return p.inside(err, vpos)
	}
	if more, mpos := p.next(); more != "" {
		return p.fault(mpos, 0, "setmask has one value")
	}
	t.Mask, t.HasMask = m, true
	return nil
}

// add parses what follows "table NAME add": one key, or pairs of key and value.
func (p *ipfwParser) add(t *IPFWTable) error {
	for n := 0; ; n++ {
		key, kpos := p.next()
		if key == "" {
			if n == 0 {
				return p.fault(kpos, 0, "add needs a key")
			}
			return nil
		}
		f, err := ParseFlow(key, t.Fields)
		if err != nil {
			return p.inside(err, kpos)
		}
		value, vpos := p.next()
		if why := checkValue(value, t.ValType); value != "" && why != "" {
			return p.fault(vpos, 0, why)
		}
		t.Entries = append(t.Entries, IPFWEntry{f, value, p.number})
	}
}

// Kinds of values of a table.
const (
	kindUnknown = iota
	kindNumber
	kindIPv4
	kindIPv6
)

// valueKind returns what values of an ipfw value type look like.
func valueKind(name string) int {
	switch name {
	case "skipto", "pipe", "fib", "nat", "dscp", "tag", "divert", "netgraph", "limit", "mark":
		return kindNumber
	case "ipv4":
		return kindIPv4
	case "ipv6":
		return kindIPv6
	}
	return kindUnknown
}

// checkValue says why a value does not fit the table's value types, or "". Without value
// types it is a number or an IPv4 address, as in ipfw.
func checkValue(value, valtype string) string {
	fits := func(v, name string) bool {
		a, err := netip.ParseAddr(v)
		switch valueKind(name) {
		case kindIPv4:
			return err == nil && a.Is4()
		case kindIPv6:
			return err == nil && a.Is6()
		}
		_, ok := parseNumber(v, 32)
		return ok
	}
	if valtype == "" {
		if fits(value, "nat") || fits(value, "ipv4") {
			return ""
		}
		return "value is neither a number nor an IPv4 address"
	}
	types, values := strings.Split(valtype, ","), strings.Split(value, ",")
	if len(types) != len(values) {
		return "value does not have one part for each of the types " + valtype
	}
	for i, v := range values {
		if !fits(v, types[i]) {
			return "value does not fit the type " + types[i]
		}
	}
	return ""
}
