// Package page writes what commands measure into the pages of the
// documentation: the text between two markers of a page belongs to a command, all else to people.
package page

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Root returns the directory of the repository: the nearest one upwards that has a go.work.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.work above the working directory: run this inside a clone of the repository, or say where to write")
		}
		dir = up
	}
}

// markers returns the comments around the part of a page.
func markers(part string) (begin, end string) {
	return "<!-- " + part + ": written by a command, do not edit -->\n", "<!-- end of " + part + " -->\n"
}

// Part returns the text of a part.
func Part(text, part string) (string, error) {
	from, to, err := bounds(text, part)
	if err != nil {
		return "", err
	}
	return text[from:to], nil
}

// Replace returns the page with another text for a part.
func Replace(text, part, content string) (string, error) {
	from, to, err := bounds(text, part)
	if err != nil {
		return "", err
	}
	return text[:from] + content + text[to:], nil
}

// Update replaces a part of a file.
func Update(path, part, content string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fresh, err := Replace(string(text), part, content)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(fresh), 0o644)
}

func bounds(text, part string) (from, to int, err error) {
	begin, end := markers(part)
	from = strings.Index(text, begin)
	if from < 0 {
		return 0, 0, fmt.Errorf("no line %q", strings.TrimSpace(begin))
	}
	from += len(begin)
	length := strings.Index(text[from:], end)
	if length < 0 {
		return 0, 0, fmt.Errorf("no line %q after it", strings.TrimSpace(end))
	}
	return from, from + length, nil
}
