package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/blocknat/blocknat/mapping/deterministic"
	"github.com/blocknat/blocknat/portblock"
)

// tableMap and tableRow are the lines of detnat table -json: one object a line, for
// tables of millions.
type tableMap struct {
	*place
	Subscribers uint64            `json:"subscribers"`
	Externals   uint64            `json:"external_addresses"`
	Ratio       int               `json:"ratio"`
	Reserved    []portblock.Range `json:"reserved"`
	Dynamic     []portblock.Range `json:"dynamic,omitempty"`
}

type tableRow struct {
	Map        string `json:"map"`
	Subscriber string `json:"subscriber"`
	Ports      int    `json:"ports"`
	External   []on   `json:"external"`
}

// table prints every subscriber with its ports, as it goes.
func table(o *options, w io.Writer) (int, error) {
	bk, err := o.load()
	if err != nil {
		return 0, err
	}
	if len(bk.versions) == 0 {
		return exitNobody, bk.noEpoch(o, w, "table")
	}
	versions, err := o.pick(bk)
	if err != nil {
		return 0, err
	}
	write := bk.textTable
	if o.json {
		write = bk.jsonTable
	}
	for i, v := range versions {
		if i > 0 && !o.json {
			fmt.Fprintln(w)
		}
		if err := write(w, v); err != nil {
			return 0, fmt.Errorf("the table cannot be written: %w", err)
		}
	}
	return exitFound, nil
}

// noEpoch answers a question about all maps when none was in force.
func (bk *book) noEpoch(o *options, w io.Writer, command string) error {
	reason := fmt.Sprintf("no epoch of %s was in force at %s", bk.file, utc(bk.at))
	if o.json {
		return writeJSON(w, map[string]string{"command": command, "result": "no-epoch", "reason": reason})
	}
	_, err := fmt.Fprintln(w, reason)
	return err
}

// dynamicOn returns the dynamic range of each address, and false if it differs by
// address (a key of its own for each).
func (v version) dynamicOn() ([]portblock.Range, bool) {
	if v.Config().KeyPerAddress {
		return nil, false
	}
	return slices.Collect(v.Dynamic(v.External(0))), true
}

// reservedOn returns the ports that nobody has on any address, those that a PSID
// offset keeps out included.
func (v version) reservedOn() (out []portblock.Range) {
	first := -1
	for port := range 65537 {
		reserved := false
		if port < 65536 {
			_, err := v.Reverse(v.External(0), uint16(port))
			reserved = err == deterministic.ErrReserved
		}
		switch {
		case reserved && first < 0:
			first = port
		case !reserved && first >= 0:
			out = append(out, portblock.RangeOf(uint16(first), uint16(port-1)))
			first = -1
		}
	}
	return out
}

func (bk *book) textTable(w io.Writer, v version) error {
	cfg, s := v.Config(), v.Stats()
	fmt.Fprintf(w, "%s: %s on %s, ratio %d\n", quoteName(cfg.Name), many(s.Subscribers, "subscriber"), many(s.Externals, "address"), v.Ratio())
	if v.epoch != nil {
		bk.rows(w, version{epoch: v.epoch})
	}
	row(w, "reserved", words(v.reservedOn())...)
	if dynamic, same := v.dynamicOn(); !same {
		row(w, "dynamic", "differs by address, -json lists what subscribers have")
	} else if len(dynamic) > 8 {
		row(w, "dynamic", append(words(dynamic[:8]), fmt.Sprintf("... (%d ports on each address)", s.Dynamic/s.Externals))...)
	} else if len(dynamic) > 0 {
		row(w, "dynamic", words(dynamic)...)
	}
	const format = "%-24s %6v  %s\n"
	if _, err := fmt.Fprintf(w, format, "SUBSCRIBER", "PORTS", "EXTERNAL"); err != nil {
		return err
	}
	for subscriber, ports := range v.All() {
		if _, err := fmt.Fprintf(w, format, who(subscriber), ports.Len(), ports); err != nil {
			return err
		}
	}
	return nil
}

func (bk *book) jsonTable(w io.Writer, v version) error {
	cfg := v.Config()
	lines := json.NewEncoder(w)
	dynamic, _ := v.dynamicOn()
	if err := lines.Encode(tableMap{v.place(), v.Subscribers(), v.Externals(), v.Ratio(), v.reservedOn(), dynamic}); err != nil {
		return err
	}
	row := func(subscriber string, ports deterministic.Ports) error {
		return lines.Encode(tableRow{cfg.Name, subscriber, ports.Len(), external(ports)})
	}
	for subscriber, ports := range v.All() {
		if err := row(subscriber.String(), ports); err != nil {
			return err
		}
	}
	return nil
}
