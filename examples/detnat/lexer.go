package main

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// A configuration is a sequence of tokens: words, texts in double quotes, and the
// three signs ; { }. White space separates, # begins a comment that ends with the
// line.

// token is one of them; kind is 'w' for words, 'q' for quoted texts, else the sign.
type token struct {
	kind byte
	text string
	line int
}

// is reports whether the token is the sign.
func (t token) is(sign byte) bool { return t.kind == sign }

// scan cuts text into tokens. The last one has the kind 0, the end of the file.
func scan(file, text string) ([]token, []error) {
	var out []token
	var faults []error
	text = strings.TrimPrefix(text, "\ufeff")
	line := 1
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\n':
			line++
			i++
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case c == ';' || c == '{' || c == '}':
			out = append(out, token{c, string(c), line})
			i++
		case c == '"':
			quoted, err := strconv.QuotedPrefix(text[i:])
			if err != nil {
				faults = append(faults, &fault{File: file, Line: line, Text: "a text in quotes does not end on its line", Fix: `close it with "`})
				for i < len(text) && text[i] != '\n' {
					i++
				}
				continue
			}
			inner, _ := strconv.Unquote(quoted) // QuotedPrefix has checked it
			out = append(out, token{'q', inner, line})
			i += len(quoted)
		default:
			end := i
			for end < len(text) && !strings.ContainsRune(" \t\r\n#;{}\"", rune(text[end])) {
				end++
			}
			word := text[i:end]
			if !printable(word) {
				faults = append(faults, &fault{File: file, Line: line, Text: "a character that is no text: " + strconv.Quote(clip(word)), Fix: "save the file as plain UTF-8"})
			} else {
				out = append(out, token{'w', word, line})
			}
			i = end
		}
	}
	return append(out, token{0, "the end of the file", line}), faults
}

// printable reports whether a word is UTF-8 without control characters.
func printable(word string) bool {
	if !utf8.ValidString(word) {
		return false
	}
	for _, r := range word {
		if !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

// clip shortens what a message quotes.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
