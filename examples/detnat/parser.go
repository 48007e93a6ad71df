package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/blocknat/blocknat/mapping/deterministic"
)

// block is one map or rule of a configuration as it was written.
type block struct {
	kind string // "map" or "rule"
	name string
	line int
	// lines has the line of each value of a setting: where faults of it are.
	lines map[string][]int
	cfg   deterministic.Config     // of a map; of a rule only name and realms
	rule  deterministic.RuleConfig // of a rule
}

func (b *block) String() string { return fmt.Sprintf("%s %q", b.kind, b.name) }

// lineOf returns the line of value i of a setting, or of the block without one.
func (b *block) lineOf(setting string, i int) int {
	switch lines := b.lines[setting]; {
	case len(lines) == 0:
		return b.line
	case i < len(lines):
		return lines[i]
	default:
		return lines[len(lines)-1]
	}
}

// parser reads blocks from tokens. It goes on after a fault.
type parser struct {
	file   string
	tokens []token
	faults []error
}

// parseConfig reads the text of a configuration. The blocks are what was readable;
// their values are not checked against each other yet.
func parseConfig(file, text string) ([]*block, []error) {
	p := &parser{file: file}
	p.tokens, p.faults = scan(file, text)
	if len(p.faults) > 0 { // what follows from them would only confuse
		return nil, p.faults
	}
	var blocks []*block
	for !p.peek().is(0) {
		b := p.block()
		if b == nil {
			continue
		}
		if i := slices.IndexFunc(blocks, func(o *block) bool { return o.name == b.name }); i >= 0 {
			p.fault(b.line, "", fmt.Sprintf("the name %q is taken by the %s in line %d", b.name, blocks[i].kind, blocks[i].line), "rename one; the archive tells maps apart by their names")
			continue
		}
		blocks = append(blocks, b)
	}
	if len(blocks) == 0 && len(p.faults) == 0 {
		p.faults = append(p.faults, &fault{File: file, Text: "no map in the file", Fix: "write: map NAME { internal 10.0.0.0/24; external 192.0.2.1; }"})
	}
	return blocks, p.faults
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.tokens[0]
	if len(p.tokens) > 1 { // the end stays
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *parser) fault(line int, field, text, fix string) {
	p.faults = append(p.faults, &fault{File: p.file, Line: line, Field: field, Text: text, Fix: fix})
}

// block reads: map NAME { setting; ... }
func (p *parser) block() *block {
	kind := p.next()
	if kind.kind != 'w' || kind.text != "map" && kind.text != "rule" {
		p.fault(kind.line, "", fmt.Sprintf("%q begins no block", clip(kind.text)), "blocks are: map NAME { ... } and rule NAME { ... }")
		p.skipBlock()
		return nil
	}
	b := &block{kind: kind.text, line: kind.line, lines: map[string][]int{}}
	name := p.peek()
	if name.kind == 'w' || name.kind == 'q' {
		p.next()
		b.name = name.text
	}
	if b.name == "" {
		p.fault(b.line, "", "a "+b.kind+" without a name", "write: "+b.kind+" NAME {")
	}
	if open := p.peek(); !open.is('{') {
		p.fault(open.line, "", fmt.Sprintf("%q instead of { behind the name of %v", clip(open.text), b), "write: "+b.kind+" NAME {")
		p.skipBlock()
		return nil
	}
	p.next()
	b.cfg.Name = b.name
	faults := len(p.faults)
	for {
		switch t := p.peek(); {
		case t.is('}'):
			p.next()
			if len(p.faults) > faults || b.name == "" {
				return nil
			}
			return b
		case t.is(0):
			p.fault(b.line, "", fmt.Sprintf("%v is not closed", b), "end it with }")
			return nil
		case t.is(';'): // an empty setting
			p.next()
		case t.kind != 'w':
			p.next()
			p.fault(t.line, "", fmt.Sprintf("%q instead of a setting", clip(t.text)), "settings are: NAME VALUE;")
		default:
			p.setting(b)
		}
	}
}

// skipBlock passes to behind the next }, or to the next block.
func (p *parser) skipBlock() {
	for {
		switch t := p.peek(); {
		case t.is(0), t.kind == 'w' && (t.text == "map" || t.text == "rule"):
			return
		case t.is('}'):
			p.next()
			return
		}
		p.next()
	}
}

// setting reads: NAME VALUE ... ;
func (p *parser) setting(b *block) {
	name := p.next()
	var values []token
	for p.peek().kind == 'w' || p.peek().kind == 'q' {
		t := p.peek()
		if t.line > name.line && t.kind == 'w' && findSetting(b.kind, t.text) != nil {
			break // the next setting: the sign before it is missing
		}
		values = append(values, p.next())
	}
	if p.peek().is(';') {
		p.next()
	} else {
		p.fault(name.line, name.text, "; is missing behind the value", "end each setting with ;")
		if p.peek().is('{') {
			p.next()
		}
	}
	s := findSetting(b.kind, name.text)
	if s == nil {
		p.fault(name.line, "", fmt.Sprintf("%q is no setting of a %s", clip(name.text), b.kind), suggest(b.kind, name.text))
		return
	}
	if before := b.lines[s.name]; len(before) > 0 && !s.list {
		p.fault(name.line, s.name, fmt.Sprintf("is set in line %d already", before[0]), "keep one")
		return
	}
	switch {
	case len(values) == 0 && s.list:
		p.fault(name.line, s.name, "has no value", "write: "+s.usage())
	case len(values) != 1 && !s.list:
		p.fault(name.line, s.name, fmt.Sprintf("has %d values, one is needed", len(values)), "write: "+s.usage())
	}
	for i, v := range values {
		if !s.list && i > 0 {
			return
		}
		text := v.text
		if s.list {
			text = strings.TrimSuffix(text, ",")
		}
		if err := s.set(b, text); err != nil {
			value := strconv.Quote(clip(text))
			if s.secret {
				value = ""
			}
			p.faults = append(p.faults, &fault{File: p.file, Line: v.line, Block: b.String(), Field: s.name, Value: value, Text: err.Error(), Fix: "write: " + s.usage()})
		}
		b.lines[s.name] = append(b.lines[s.name], v.line)
	}
}
