package main

import (
	"fmt"
	"strconv"
	"strings"
)

// writeBlock writes a block as the parser reads it. Without keys a secret is
// left out, and a comment says so.
func writeBlock(w *strings.Builder, b *block, keys bool) {
	fmt.Fprintf(w, "%s %s {\n", b.kind, quoteName(b.name))
	for _, s := range settingsOf(b.kind) {
		values := s.get(b)
		switch {
		case len(values) == 0:
		case s.secret && !keys:
			fmt.Fprintf(w, "    # %s is left out\n", s.name)
		default:
			writeSetting(w, s.name, values)
		}
	}
	w.WriteString("}\n")
}

// writeSetting breaks long lists into lines.
func writeSetting(w *strings.Builder, name string, values []string) {
	const width = 100
	line := "    " + name
	for _, v := range values {
		if len(line)+1+len(v) > width && strings.TrimSpace(line) != "" {
			w.WriteString(line + "\n")
			line = "       "
		}
		line += " " + v
	}
	w.WriteString(line + ";\n")
}

// quoteName quotes a name that is no word.
func quoteName(name string) string {
	if name == "" || !printable(name) || strings.ContainsAny(name, " #;{}\"") {
		return strconv.Quote(name)
	}
	return name
}
