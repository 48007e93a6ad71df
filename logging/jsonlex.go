package logging

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// This file reads the tokens of RFC 8259. Numbers are unsigned integers, the
// only ones that a record has, except in fields that are skipped.

// peek returns the next byte, or 0 at the end (which no token begins with).
func (p *parser) peek() byte {
	if p.i < len(p.b) {
		return p.b[p.i]
	}
	return 0
}

func (p *parser) space() {
	for p.i < len(p.b) && (p.b[p.i] == ' ' || p.b[p.i] == '\t' || p.b[p.i] == '\r') {
		p.i++
	}
}

func (p *parser) byte(c byte) {
	p.space()
	if p.peek() != c || p.i == len(p.b) {
		p.fail(p.i, "expected "+strconv.QuoteRune(rune(c)))
		return
	}
	p.i++
}

// uint reads an integer up to limit.
func (p *parser) uint(limit uint64) uint64 {
	at := p.i
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		p.i++
	}
	digits := p.b[at:p.i]
	v, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil || v > limit || digits[0] == '0' && len(digits) > 1 {
		p.fail(at, "expected an integer from 0 to "+strconv.FormatUint(limit, 10))
		return 0
	}
	return v
}

// string reads a string and returns its text, which is valid until the next one.
// Bytes that are no UTF-8 and halves of surrogate pairs become U+FFFD.
func (p *parser) string() []byte {
	at := p.i
	if p.peek() != '"' {
		p.fail(at, "expected a string")
		return nil
	}
	p.i++
	p.text = p.text[:0]
	for p.i < len(p.b) {
		c := p.b[p.i]
		switch {
		case c == '"':
			p.i++
			return p.text
		case c == '\\':
			p.escape()
			if p.msg != "" {
				return nil
			}
		case c < 0x20:
			p.fail(p.i, "control character in a string")
			return nil
		case c < utf8.RuneSelf:
			p.text = append(p.text, c)
			p.i++
		default:
			r, size := utf8.DecodeRune(p.b[p.i:])
			p.text = utf8.AppendRune(p.text, r)
			p.i += size
		}
	}
	p.fail(at, "string without an end")
	return nil
}

func (p *parser) escape() {
	at := p.i
	p.i++
	c := p.peek()
	p.i++
	switch c {
	case '"', '\\', '/':
		p.text = append(p.text, c)
	case 'b':
		p.text = append(p.text, '\b')
	case 'f':
		p.text = append(p.text, '\f')
	case 'n':
		p.text = append(p.text, '\n')
	case 'r':
		p.text = append(p.text, '\r')
	case 't':
		p.text = append(p.text, '\t')
	case 'u':
		r := p.hex4(at)
		if utf16.IsSurrogate(r) {
			full := utf8.RuneError
			if p.i+1 < len(p.b) && p.b[p.i] == '\\' && p.b[p.i+1] == 'u' {
				mark := p.i
				p.i += 2
				full = utf16.DecodeRune(r, p.hex4(mark))
				if full == utf8.RuneError {
					p.i = mark
				}
			}
			r = full
		}
		p.text = utf8.AppendRune(p.text, r)
	default:
		p.fail(at, "unknown escape in a string")
	}
}

func (p *parser) hex4(at int) rune {
	if p.i+4 > len(p.b) {
		p.fail(at, "escape without an end")
		return 0
	}
	var v rune
	for _, c := range p.b[p.i : p.i+4] {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			v = v<<4 | rune(c|0x20-'a'+10)
		default:
			p.fail(at, "escape with a wrong digit")
			return 0
		}
	}
	p.i += 4
	return v
}

// maxDepth bounds how deep the value of an unknown field may be nested.
const maxDepth = 32

// skip passes over a value of any type.
func (p *parser) skip(depth int) {
	p.space()
	at := p.i
	switch c := p.peek(); {
	case p.msg != "":
	case depth > maxDepth:
		p.fail(at, "nested too deep")
	case c == '"':
		p.string()
	case c == '{' || c == '[':
		p.skipAll(c, depth)
	case c == '-' || c >= '0' && c <= '9':
		p.skipNumber()
	default:
		for _, word := range [...]string{"true", "false", "null"} {
			if len(p.b)-p.i >= len(word) && string(p.b[p.i:p.i+len(word)]) == word {
				p.i += len(word)
				return
			}
		}
		p.fail(at, "expected a value")
	}
}

func (p *parser) skipAll(open byte, depth int) {
	end := open + 2 // '{' and '}', '[' and ']' are two apart
	p.i++
	if p.space(); p.peek() == end {
		p.i++
		return
	}
	for p.msg == "" {
		if open == '{' {
			p.space()
			p.string()
			p.byte(':')
		}
		p.skip(depth + 1)
		if p.space(); p.peek() != ',' {
			p.byte(end)
			return
		}
		p.i++
	}
}

func (p *parser) skipNumber() {
	at := p.i
	if p.peek() == '-' {
		p.i++
	}
	zero := p.peek() == '0'
	if n := p.digits(); n == 0 || zero && n > 1 {
		p.fail(at, "expected a number")
	}
	if p.peek() == '.' {
		p.i++
		if p.digits() == 0 {
			p.fail(at, "expected a number")
		}
	}
	if p.peek()|0x20 == 'e' {
		p.i++
		if p.peek() == '+' || p.peek() == '-' {
			p.i++
		}
		if p.digits() == 0 {
			p.fail(at, "expected a number")
		}
	}
}

func (p *parser) digits() int {
	at := p.i
	for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
		p.i++
	}
	return p.i - at
}
