package proof

import (
	"fmt"
	"strconv"
	"strings"
)

// Rules is what an ipfw script says, read line by line: two flow tables and the addresses of
// the nat instances. It reads no more of ipfw than the complete script of this example needs.
type Rules struct {
	out, in flowTable
	nats    map[uint32]uint32 // number -> external address
}

// fields are the fields of a flow as ipfw orders them in keys and masks.
var fields = [...]string{"src-ip", "proto", "src-port", "dst-ip", "dst-port"}

const (
	srcIP = iota
	proto
	srcPort
	dstIP
	dstPort
)

// tuple holds the fields of a flow as numbers; it is also a mask.
type tuple [len(fields)]uint32

func (t tuple) and(m tuple) tuple {
	for i := range t {
		t[i] &= m[i]
	}
	return t
}

// flowTable is one table: the value of each masked key.
type flowTable struct {
	has     [len(fields)]bool
	mask    tuple
	entries map[tuple]uint32
}

func (t *flowTable) instance(f tuple) (uint32, bool) {
	n, ok := t.entries[f.and(t.mask)]
	return n, ok
}

// ReadRules reads the script; out and in name the tables. The mask of a table stands before its entries.
func ReadRules(text, out, in string) (*Rules, error) {
	r := &Rules{nats: map[uint32]uint32{}}
	tables := map[string]*flowTable{out: &r.out, in: &r.in}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		w := strings.Fields(line)
		var err error
		switch {
		case len(w) >= 5 && w[0] == "nat" && w[2] == "config" && w[3] == "ip":
			var n, a uint32
			if n, err = number(w[1]); err == nil {
				a, err = address(w[4])
			}
			r.nats[n] = a
		case len(w) >= 4 && w[0] == "table" && tables[w[1]] != nil:
			err = tables[w[1]].line(w[2], w[3:])
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return r, nil
}

func (t *flowTable) line(command string, w []string) error {
	switch command {
	case "create":
		for _, name := range strings.Split(strings.TrimPrefix(w[1], "flow:"), ",") {
			for f := range fields {
				t.has[f] = t.has[f] || name == fields[f]
			}
		}
		t.entries = map[tuple]uint32{}
	case "setmask":
		var err error
		t.mask, err = t.parse(w[0])
		return err
	case "add":
		for len(w) >= 2 {
			key, err := t.parse(w[0])
			if err != nil {
				return err
			}
			n, err := number(w[1])
			if err != nil {
				return err
			}
			t.entries[key.and(t.mask)] = n
			w = w[2:]
		}
	}
	return nil
}

// parse reads the values of the table's fields, with commas between them.
func (t *flowTable) parse(s string) (v tuple, err error) {
	parts := strings.Split(s, ",")
	for f := range fields {
		if !t.has[f] {
			continue
		}
		if len(parts) == 0 {
			return v, fmt.Errorf("%q has too few values", s)
		}
		switch part := parts[0]; {
		case f == srcIP || f == dstIP:
			v[f], err = address(part)
		case part == "tcp":
			v[f] = TCP
		case part == "udp":
			v[f] = UDP
		default:
			v[f], err = number(part)
		}
		if err != nil {
			return v, err
		}
		parts = parts[1:]
	}
	return v, nil
}

func number(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

func address(s string) (a uint32, err error) {
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return 0, fmt.Errorf("%q is no IPv4 address", s)
	}
	for _, p := range parts {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return 0, err
		}
		a = a<<8 | uint32(n)
	}
	return a, nil
}

// class numbers the class of a remote endpoint as records do: the bits of the destination
// that the mask for requests selects, those of the address before those of the port,
// highest first.
func (r *Rules) class(remote uint32, port uint16) (c uint16) {
	take := func(value, mask uint32) {
		for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
			if mask&bit != 0 {
				c <<= 1
				if value&bit != 0 {
					c |= 1
				}
			}
		}
	}
	take(remote, r.out.mask[dstIP])
	take(uint32(port), r.out.mask[dstPort])
	return c
}
