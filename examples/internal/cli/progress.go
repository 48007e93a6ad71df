package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Progress draws one line on a terminal again and again. On anything else it is silent, as the zero Progress is.
type Progress struct {
	w    io.Writer // nil: silent
	last time.Time
	wide int
}

// NewProgress returns a Progress for f, silent if f is no terminal.
func NewProgress(f *os.File, quiet bool) *Progress {
	if info, err := f.Stat(); quiet || err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &Progress{}
	}
	return &Progress{w: f}
}

// Due reports whether Show would draw: ten times a second at most.
func (p *Progress) Due() bool { return p.w != nil && time.Since(p.last) >= 100*time.Millisecond }

// Show draws a line if it is due.
func (p *Progress) Show(format string, args ...any) {
	if !p.Due() {
		return
	}
	p.last = time.Now()
	line := fmt.Sprintf(format, args...)
	fmt.Fprintf(p.w, "\r%-*s", p.wide, line)
	p.wide = len(line)
}

// Done clears the line.
func (p *Progress) Done() {
	if p.w != nil && p.wide > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.wide))
	}
}
