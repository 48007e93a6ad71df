//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// blockRecord is what a reader needs of a line of block records. It is read with
// the standard library and not with the library's own reader, so that the demo
// shows what anybody can do with the file.
type blockRecord struct {
	Kind       string     `json:"kind"`
	Time       time.Time  `json:"time"`
	Allocated  time.Time  `json:"allocated"`
	Subscriber netip.Addr `json:"subscriber"`
	External   netip.Addr `json:"external"`
	First      uint16     `json:"first"`
	Last       uint16     `json:"last"`
}

// parseBlockRecords reads JSON lines.
func parseBlockRecords(b []byte) ([]blockRecord, error) {
	var out []blockRecord
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		var r blockRecord
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return out, fmt.Errorf("record %d: %w", n, err)
		}
		out = append(out, r)
	}
	return out, lines.Err()
}

// resolve finds the one record of an allocation that covers the endpoint at
// the time: begun before (times of records have milliseconds) and not released.
func resolve(records []blockRecord, e netip.AddrPort, at time.Time) (blockRecord, error) {
	var found []blockRecord
	for _, r := range records {
		if r.Kind != "block-allocated" || r.External != e.Addr() || e.Port() < r.First || e.Port() > r.Last || r.Time.After(at) {
			continue
		}
		if !releasedBefore(records, r, at) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return blockRecord{}, fmt.Errorf("no record covers %v at %s", e, at.UTC().Format(time.RFC3339Nano))
	}
	return blockRecord{}, fmt.Errorf("%d records cover %v at %s", len(found), e, at.UTC().Format(time.RFC3339Nano))
}

// releasedBefore reports whether the records end the allocation before at.
func releasedBefore(records []blockRecord, a blockRecord, at time.Time) bool {
	for _, r := range records {
		if r.Kind == "block-released" && r.External == a.External && r.First == a.First && r.Allocated.Equal(a.Time) && r.Time.Before(at) {
			return true
		}
	}
	return false
}

// recordBuffer keeps the records of a demo as the bytes of their file. It is safe for concurrent use.
type recordBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *recordBuffer) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *recordBuffer) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.b.Bytes())
}
