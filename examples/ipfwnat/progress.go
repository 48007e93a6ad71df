package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress draws one line on a terminal again and again. On anything else it is silent.
type progress struct {
	w    io.Writer // nil: silent
	last time.Time
	wide int
}

// newProgress returns a progress for f, silent if f is no terminal.
func newProgress(f *os.File, quiet bool) *progress {
	if info, err := f.Stat(); quiet || err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	return &progress{w: f}
}

// show draws a line at most ten times a second.
func (p *progress) show(format string, args ...any) {
	if p.w == nil || time.Since(p.last) < 100*time.Millisecond {
		return
	}
	p.last = time.Now()
	line := fmt.Sprintf(format, args...)
	fmt.Fprintf(p.w, "\r%-*s", p.wide, line)
	p.wide = len(line)
}

// done clears the line.
func (p *progress) done() {
	if p.w != nil && p.wide > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.wide))
	}
}
