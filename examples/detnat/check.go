package main

import (
	"fmt"
	"io"

	"github.com/blocknat/blocknat/mapping/deterministic"
)

// checkAnswer is the JSON answer of detnat check.
type checkAnswer struct {
	Command string     `json:"command"`
	Result  string     `json:"result"` // valid, safe or unsafe
	Maps    []mapStats `json:"maps"`
	Change  *change    `json:"change,omitempty"`
}

// mapStats counts every port of a map's external addresses once: reserved,
// assigned, dynamic, empty and remainder are all of them.
type mapStats struct {
	*place
	Algorithm   deterministic.Algorithm `json:"algorithm"`
	RFC7422     int                     `json:"rfc7422_a"`
	Subscribers uint64                  `json:"subscribers"`
	Capacity    uint64                  `json:"capacity"`
	Externals   uint64                  `json:"external_addresses"`
	Ratio       int                     `json:"ratio"`
	MinPorts    int                     `json:"ports_per_subscriber"`
	MaxPorts    int                     `json:"most_ports_of_a_subscriber"`
	Limit       int                     `json:"max_ports,omitempty"`
	Paired      bool                    `json:"paired"`
	Ports       uint64                  `json:"ports"`
	Assigned    uint64                  `json:"assigned"`
	Reserved    uint64                  `json:"reserved"`
	Dynamic     uint64                  `json:"dynamic"`
	Empty       uint64                  `json:"empty"`
	Remainder   uint64                  `json:"remainder"`
}

// check reads a configuration, reports what is wrong with it or counts what it
// gives, and compares it with what was in force.
func check(o *options, w io.Writer) (int, error) {
	bk, err := loadConfig("-config", o.config)
	if err != nil {
		return 0, err
	}
	versions, err := o.pick(bk)
	if err != nil {
		return 0, err
	}
	a := checkAnswer{Command: "check", Result: "valid"}
	for _, v := range versions {
		a.Maps = append(a.Maps, v.stats())
	}
	code := exitFound
	if o.old != "" || o.history != "" {
		old, err := o.loadOld()
		if err != nil {
			return 0, err
		}
		if a.Change, err = prove(o, old, bk); err != nil {
			return 0, err
		}
		if a.Result = "safe"; !a.Change.Safe {
			a.Result, code = "unsafe", exitNobody
		}
	}
	if o.json {
		return code, writeJSON(w, a)
	}
	fmt.Fprintf(w, "%s: valid, %s, no overlaps\n", o.config, many(len(bk.versions), "map"))
	for _, m := range a.Maps {
		m.write(w)
	}
	if a.Change != nil {
		a.Change.write(w)
	}
	return code, nil
}

// loadOld reads what is in force until the change.
func (o *options) loadOld() (*book, error) {
	if o.old != "" {
		return loadConfig("-old", o.old)
	}
	return loadHistory(o.history, o.at, o.asked)
}

// stats counts a map.
func (v version) stats() mapStats {
	s, cfg := v.Stats(), v.Config()
	return mapStats{
		place: v.place(), Algorithm: cfg.Algorithm, RFC7422: cfg.Algorithm.RFC7422(),
		Subscribers: s.Subscribers, Capacity: s.Capacity, Externals: s.Externals, Ratio: v.Ratio(),
		MinPorts: s.MinPorts, MaxPorts: s.MaxPorts, Limit: cfg.MaxPorts, Paired: v.Paired(),
		Ports: s.Ports, Assigned: s.Assigned, Reserved: s.Reserved, Dynamic: s.Dynamic, Empty: s.Empty, Remainder: s.Remainder,
	}
}

func (m mapStats) write(w io.Writer) {
	fmt.Fprintf(w, "\n%s (realm %d, external realm %d), %v (A=%d)\n", quoteName(m.Map), m.Realm, m.ExternalRealm, m.Algorithm, m.RFC7422)
	row(w, "subscribers", fmt.Sprintf("%d", m.Subscribers), fmt.Sprintf("room for %d", m.Capacity))
	row(w, "external", many(m.Externals, "address"), fmt.Sprintf("ratio %d", m.Ratio))
	each := fmt.Sprintf("%d for each subscriber", m.MinPorts)
	if m.MaxPorts != m.MinPorts {
		each = fmt.Sprintf("%d or %d for each subscriber", m.MinPorts, m.MaxPorts)
		if m.MaxPorts > m.MinPorts+1 {
			each = fmt.Sprintf("%d to %d for each subscriber", m.MinPorts, m.MaxPorts)
		}
	}
	if m.Limit > 0 {
		each += fmt.Sprintf(", %d with dynamic blocks", m.Limit)
	}
	row(w, "ports", each)
	if !m.Paired {
		row(w, "not paired", "a subscriber has several external addresses (RFC 6888 REQ-2)")
	}
	for _, c := range []struct {
		word, about string
		n           uint64
	}{
		{"assigned", "have a subscriber", m.Assigned},
		{"reserved", "nobody ever has them", m.Reserved},
		{"dynamic", "given in blocks, by record", m.Dynamic},
		{"unused", "slots without a subscriber", m.Empty},
		{"unused", "left over by the division", m.Remainder},
	} {
		fmt.Fprintf(w, "    %-10s%10d %6.2f %%  %s\n", c.word, c.n, float64(c.n)/float64(m.Ports)*100, c.about)
	}
	fmt.Fprintf(w, "    %-10s%10d\n", "all ports", m.Ports)
}
