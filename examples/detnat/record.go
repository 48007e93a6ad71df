package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/blocknat/blocknat/mapping/deterministic"
)

// record begins an epoch for each map of a configuration. It prints the log line of
// RFC 7422 section 3 for each, with -json the line of the archive, and brings the
// archive up to date. The configuration is the whole truth: a map in force in the
// archive that it does not have ends; one that is in force as it is goes on.
func record(o *options, w io.Writer) (int, error) {
	bk, err := loadConfig("-config", o.config)
	if err != nil {
		return 0, err
	}
	versions, err := o.pick(bk)
	if err != nil {
		return 0, err
	}
	h, err := openArchive(o)
	if err != nil {
		return 0, err
	}
	began, ended, err := turn(h, versions, o)
	if err != nil {
		return 0, &fault{File: o.history, Field: "-at", Value: utc(o.at), Text: err.Error(), Fix: "epochs begin in the order of time; check the time and the archive"}
	}
	var lines []byte
	for _, e := range began {
		b, err := line(e, o.json)
		if err != nil {
			return 0, err
		}
		lines = append(lines, b...)
	}
	// The archive comes first: no line is printed of an epoch that is not kept.
	if o.history != "" && !o.dryRun && len(began)+len(ended) > 0 {
		if err := writeArchive(o.history, h); err != nil {
			return 0, err
		}
	}
	w.Write(lines)
	if o.history == "" || o.json {
		return exitFound, nil
	}
	for _, e := range ended {
		fmt.Fprintf(w, "# epoch %d of map %q ends at %s\n", e.Number, e.Config.Name, utc(o.at))
	}
	for _, e := range began {
		fmt.Fprintf(w, "# epoch %d of map %q begins at %s\n", e.Number, e.Config.Name, utc(e.From))
	}
	if len(began)+len(ended) == 0 {
		fmt.Fprintf(w, "# %s is up to date\n", o.history)
	}
	return exitFound, nil
}

// line writes an epoch for a log or for an archive.
func line(e deterministic.Epoch, asJSON bool) ([]byte, error) {
	if asJSON {
		return deterministic.AppendRecord(nil, e)
	}
	b, err := deterministic.AppendLogLine(nil, e.From, e.Config)
	return append(b, '\n'), err
}

// turn ends what is no more or changes, then begins what is new. All ends come
// first, so that maps may exchange addresses.
func turn(h *deterministic.History, versions []version, o *options) (began, ended []deterministic.Epoch, err error) {
	keep := map[string]bool{}
	next := map[string]version{}
	for _, v := range versions {
		next[v.Name()] = v
	}
	for e := range h.Epochs() {
		if !e.Until.IsZero() {
			continue
		}
		v, ok := next[e.Config.Name]
		switch {
		case ok && same(e.Config, v.Config()) && !o.at.Add(o.gap).Before(e.From):
			keep[e.Config.Name] = true
		case ok || o.name == "": // with -map the others go on
			ended = append(ended, e)
		}
	}
	for _, e := range ended {
		if err := h.End(o.at, e.Config.Name); err != nil {
			return nil, nil, err
		}
	}
	for _, v := range versions {
		if keep[v.Name()] {
			continue
		}
		e, err := h.Begin(o.at.Add(o.gap), v.Config())
		if err != nil {
			return nil, nil, err
		}
		began = append(began, e)
	}
	return began, ended, nil
}

// same reports whether two configurations with their defaults filled in say the same.
func same(a, b deterministic.Config) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// openArchive reads the archive; one that does not exist is empty.
func openArchive(o *options) (*deterministic.History, error) {
	if o.history == "" {
		return &deterministic.History{}, nil
	}
	if _, err := os.Stat(o.history); errors.Is(err, os.ErrNotExist) {
		return &deterministic.History{}, nil
	}
	text, err := readFile("-history", o.history)
	if err != nil {
		return nil, err
	}
	return parseHistory(o.history, text)
}

// writeArchive replaces the file as a whole, so that nobody reads half of it. It is
// as secret as the keys in it: only its owner can read it.
func writeArchive(path string, h *deterministic.History) error {
	fail := func(err error) error {
		return &fault{File: path, Field: "-history", Text: "the archive cannot be written: " + err.Error(), Fix: "check the directory and its rights; the archive is unchanged"}
	}
	text, err := h.AppendText(nil)
	if err != nil {
		return fail(err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name()) // of no effect once it is renamed
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}
