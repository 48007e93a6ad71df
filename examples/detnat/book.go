package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/blocknat/blocknat/mapping/deterministic"
)

// book is what answers: the maps of a configuration, or the epochs of an archive
// that were in force at a time.
type book struct {
	file     string
	versions []version
	set      *deterministic.Set     // of a configuration
	history  *deterministic.History // of an archive
	at       time.Time              // the time asked for; zero for a configuration
	asked    string                 // the time as it was written, "" for now
}

// version is a map that answers.
type version struct {
	*deterministic.Map
	rule  *deterministic.Rule  // if a rule made it
	epoch *deterministic.Epoch // if it is out of an archive
}

// inForce reports whether an epoch is in force at the time: from its first
// instant, until the first instant no more.
func inForce(e deterministic.Epoch, at time.Time) bool {
	return !at.Before(e.From) && (e.Until.IsZero() || at.Before(e.Until))
}

// loadHistory reads an archive and picks the epochs in force.
func loadHistory(path string, at time.Time, asked string) (*book, error) {
	text, err := readFile("-history", path)
	if err != nil {
		return nil, err
	}
	h, err := parseHistory(path, text)
	if err != nil {
		return nil, err
	}
	bk := &book{file: path, history: h, at: at, asked: asked}
	for e := range h.Epochs() {
		if !inForce(e, at) {
			continue
		}
		m, err := deterministic.New(e.Config)
		if err != nil { // not reached: the archive was read with the same check
			return nil, err
		}
		bk.versions = append(bk.versions, version{Map: m, epoch: &e})
	}
	return bk, nil
}

// parseHistory reads an archive; its faults have lines.
func parseHistory(path string, text []byte) (*deterministic.History, error) {
	h, err := deterministic.ParseHistory(text)
	if err == nil {
		return h, complete(path, h)
	}
	var faults []error
	for _, one := range split(err) {
		for _, text := range strings.Split(one.Error(), "\n") {
			f := &fault{File: path, Text: text, Fix: "an archive has one epoch a line, as detnat record writes it"}
			var line int
			if n, _ := fmt.Sscanf(text, "line %d:", &line); n == 1 {
				f.Line = line
				_, f.Text, _ = strings.Cut(text, ": ")
			}
			faults = append(faults, f)
		}
	}
	return nil, errors.Join(faults...)
}

// complete refuses an archive whose epochs have no beginning, which would answer for
// all times, or no number of their own, which an answer names.
func complete(path string, h *deterministic.History) error {
	type name struct {
		of     string
		number uint64
	}
	var faults []error
	seen := map[name]bool{}
	for e := range h.Epochs() {
		n := name{e.Config.Name, e.Number}
		what := ""
		switch {
		case e.From.IsZero():
			what = "has no beginning"
		case e.Number == 0:
			what = "has no number"
		case seen[n]:
			what = "is there twice"
		}
		seen[n] = true
		if what != "" {
			faults = append(faults, &fault{File: path, Text: fmt.Sprintf("epoch %d of map %q %s", n.number, n.of, what), Fix: "correct its line: each epoch has epoch and from, and until unless it is in force"})
		}
	}
	return errors.Join(faults...)
}

// finding is the answer to one question in one realm.
type finding struct {
	v          version // Map is nil if no map has the address
	subscriber netip.Prefix
	ports      deterministic.Ports
	err        error // a refusal, nil if mapped
}

// realms returns the realms that the maps in force have on one side, rising.
func (bk *book) realms(of func(deterministic.Config) uint32) []uint32 {
	var out []uint32
	for _, v := range bk.versions {
		out = append(out, of(v.Config()))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// reverse asks one external realm.
func (bk *book) reverse(realm uint32, external netip.AddrPort) finding {
	if bk.history != nil {
		a, err := bk.history.Reverse(realm, external.Addr(), external.Port(), bk.at)
		f := finding{subscriber: a.Subscriber, err: err}
		for _, v := range bk.versions { // one epoch of a name is in force at a time
			if !refusedAddress(err) && v.Name() == a.Map {
				f.v = v
			}
		}
		return f
	}
	m, subscriber, err := bk.set.Reverse(realm, external.Addr(), external.Port())
	f := finding{subscriber: subscriber, err: err}
	for _, v := range bk.versions {
		if v.Map == m {
			f.v = v
		}
	}
	return f
}

// forward asks one internal realm.
func (bk *book) forward(realm uint32, internal netip.Addr) finding {
	for _, v := range bk.versions {
		if v.Config().Realm != realm {
			continue
		}
		if ports, err := v.Forward(internal); err == nil {
			n, err := v.Number(internal)
			return finding{v: v, subscriber: v.Subscriber(n), ports: ports, err: err}
		}
	}
	return finding{err: deterministic.ErrNotSubscriber}
}

// refusedAddress reports whether a refusal says that no map has the address.
func refusedAddress(err error) bool {
	for _, e := range []error{deterministic.ErrNotInPool, deterministic.ErrNotSubscriber, deterministic.ErrRealm, deterministic.ErrNoEpoch} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// ask puts a question to the realm of the flag, or to all. It refuses to choose
// where two realms have the address: naming the wrong subscriber is worse than
// asking again.
func (bk *book) ask(o *options, what string, realms []uint32, question func(realm uint32) finding) (finding, error) {
	if o.realm != nil {
		realms = []uint32{*o.realm}
	}
	found := finding{err: deterministic.ErrRealm}
	if bk.history != nil && len(bk.versions) == 0 {
		found.err = deterministic.ErrNoEpoch
	}
	var names []string
	for _, realm := range realms {
		f := question(realm)
		if f.v.Map == nil {
			if names == nil {
				found = f
			}
			continue
		}
		names = append(names, fmt.Sprintf("realm %d (%s)", realm, f.v.Name()))
		found = f
	}
	if len(names) > 1 {
		return finding{}, &fault{File: bk.file, Field: what, Text: "is in " + strings.Join(names, " and in "), Fix: "say which one with -realm N"}
	}
	return found, nil
}
