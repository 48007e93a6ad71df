package main

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed rows/*.txt
var rowFiles embed.FS

// status says how a requirement stands.
type status string

const (
	tested   status = "tested"
	option   status = "option"
	deviates status = "deviates"
	open     status = "open"
	notOurs  status = "not ours"
)

var statuses = []status{tested, option, deviates, open, notOurs}

// levels are the keywords of RFC 2119 that rows may have.
var levels = []string{"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "-"}

// row is one requirement.
type row struct {
	id, level, section, tag, statement string
	status                             status // empty: tested
	remark                             string
	named                              []string // tests that the row names, as file:Test
}

// must reports whether the source leaves no choice.
func (r *row) must() bool { return strings.HasPrefix(r.level, "MUST") }

// table is the requirements of one source.
type table struct {
	title string
	rows  []row
}

// readTables reads the embedded requirements.
func readTables() ([]table, error) {
	entries, err := rowFiles.ReadDir("rows")
	if err != nil {
		return nil, err
	}
	var tables []table
	seen := map[string]string{}
	for _, e := range entries {
		b, err := rowFiles.ReadFile(path.Join("rows", e.Name()))
		if err != nil {
			return nil, err
		}
		t, err := parseTable(e.Name(), string(b), seen)
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// parseTable parses one file. seen holds the file of each id so far.
func parseTable(name, text string, seen map[string]string) (table, error) {
	var t table
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		fault := func(format string, args ...any) (table, error) {
			return table{}, fmt.Errorf("rows/%s:%d: %s", name, i+1, fmt.Sprintf(format, args...))
		}
		if i == 0 {
			title, ok := strings.CutPrefix(line, "# ")
			if !ok {
				return fault("the first line must be the title, behind \"# \"")
			}
			t.title = title
			continue
		}
		columns := strings.Split(line, "|")
		if len(columns) < 5 || len(columns) > 8 {
			return fault("%d columns, want 5 to 8", len(columns))
		}
		for c := range columns {
			columns[c] = strings.TrimSpace(columns[c])
		}
		columns = append(columns, "", "", "")
		r := row{
			id: columns[0], level: columns[1], section: columns[2], tag: columns[3], statement: columns[4],
			status: status(columns[5]), remark: columns[6],
		}
		if columns[7] != "" {
			for _, n := range strings.Split(columns[7], ",") {
				r.named = append(r.named, strings.TrimSpace(n))
			}
		}
		switch {
		case r.id == "" || r.statement == "":
			return fault("a row needs an id and a statement")
		case seen[r.id] != "":
			return fault("%s is in %s already", r.id, seen[r.id])
		case !slices.Contains(levels, r.level):
			return fault("%s: level %q", r.id, r.level)
		case strings.Trim(r.tag, "ASPLH") != "":
			return fault("%s: tag %q", r.id, r.tag)
		case r.status == tested:
			return fault("%s: what is tested shows by tests, leave the status empty", r.id)
		case r.status != "" && !slices.Contains(statuses, r.status):
			return fault("%s: status %q", r.id, r.status)
		case r.status != "" && r.remark == "":
			return fault("%s: status %q without a remark that says why", r.id, r.status)
		}
		seen[r.id] = name
		t.rows = append(t.rows, r)
	}
	return t, nil
}
