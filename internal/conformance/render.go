package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// generate returns the document and notes about rows whose status tests may have overtaken, or all that is wrong
// with the requirements, together.
func generate(root string) (text string, overtaken []string, err error) {
	tables, err := readTables()
	if err != nil {
		return "", nil, err
	}
	known := map[string]bool{}
	for _, t := range tables {
		for _, r := range t.rows {
			known[r.id] = true
		}
	}
	found, err := scan(root, known)
	if err != nil {
		return "", nil, err
	}
	var faults []error
	for i := range tables {
		for j := range tables[i].rows {
			r := &tables[i].rows[j]
			if tests := found.tests[r.id]; r.status == open && len(tests) > 0 {
				overtaken = append(overtaken, fmt.Sprintf("%s is open, though tests carry its id: %s. Is it still?", r.id, names(tests)))
			}
			faults = append(faults, settle(r, found))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return "", nil, err
	}
	return render(tables, found), overtaken, nil
}

// settle gives a row its status, and adds the tests that it names to those that were found.
func settle(r *row, found *tree) error {
	for _, n := range r.named {
		file, name, ok := strings.Cut(n, ":")
		function, _, _ := strings.Cut(name, "/")
		if !ok || !found.all[file+":"+function] {
			return fmt.Errorf("%s names %q: there is no such test", r.id, n)
		}
		found.hold(r.id, test{file, name})
	}
	if r.status != "" {
		return nil
	}
	if len(found.tests[r.id]) == 0 {
		return fmt.Errorf("%s (%s) has neither a test nor a status with its reason", r.id, r.level)
	}
	r.status = tested
	return nil
}

func render(tables []table, found *tree) string {
	var b strings.Builder
	b.WriteString(head)
	summary(&b, tables)
	openRows(&b, tables)
	for _, t := range tables {
		fmt.Fprintf(&b, "\n## %s\n\n| row | level | statement | status | tests | remark |\n|---|---|---|---|---|---|\n", t.title)
		for _, r := range t.rows {
			statement := r.statement
			if r.section != "-" {
				statement += " (" + r.section + ")"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.id, r.level, statement, r.status, names(found.tests[r.id]), r.remark)
		}
	}
	b.WriteString(notBegun)
	b.WriteString(conflicts)
	further(&b, tables, found)
	return b.String()
}

// names lists tests by file.
func names(tests []test) string {
	var parts []string
	last := ""
	for _, x := range slices.SortedFunc(slices.Values(tests), func(a, b test) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.name, b.name))
	}) {
		name := "`" + x.name + "`"
		if x.file == last {
			parts[len(parts)-1] += ", " + name
			continue
		}
		last = x.file
		parts = append(parts, "`"+x.file+"` "+name)
	}
	return strings.Join(parts, "; ")
}

func summary(b *strings.Builder, tables []table) {
	b.WriteString("| source | rows |")
	for _, s := range statuses {
		fmt.Fprintf(b, " %s |", s)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(statuses)) + "\n")
	line := func(title string, rows []row) {
		count := map[status]int{}
		for _, r := range rows {
			count[r.status]++
		}
		fmt.Fprintf(b, "| %s | %d |", title, len(rows))
		for _, s := range statuses {
			fmt.Fprintf(b, " %d |", count[s])
		}
		b.WriteByte('\n')
	}
	var all, must []row
	for _, t := range tables {
		title, _, _ := strings.Cut(t.title, ":")
		line(title, t.rows)
		all = append(all, t.rows...)
	}
	for _, r := range all {
		if r.must() {
			must = append(must, r)
		}
	}
	line("**all**", all)
	line("**of these MUST and MUST NOT**", must)
}

// openRows lists what is missing most.
func openRows(b *strings.Builder, tables []table) {
	b.WriteString("\n## What is open of MUST and MUST NOT\n\n")
	for _, t := range tables {
		for _, r := range t.rows {
			if r.must() && r.status == open {
				fmt.Fprintf(b, "- %s (%s): %s. %s.\n", r.id, r.level, r.statement, strings.TrimSuffix(r.remark, "."))
			}
		}
	}
}

// further lists the RFCs that code cites and no table is about.
func further(b *strings.Builder, tables []table, found *tree) {
	b.WriteString("\n## Further RFCs that the code cites\n\n")
	var titles string
	for _, t := range tables {
		titles += t.title + "\n"
	}
	number := func(s string) int { n, _ := strconv.Atoi(s); return n }
	for _, rfc := range slices.SortedFunc(maps.Keys(found.cited), func(a, b string) int { return number(a) - number(b) }) {
		if slices.ContainsFunc(citation.FindAllStringSubmatch(titles, -1), func(m []string) bool { return m[1] == rfc }) {
			continue
		}
		fmt.Fprintf(b, "- RFC %s", rfc)
		if title := rfcTitles[rfc]; title != "" {
			fmt.Fprintf(b, ", %s", title)
		}
		b.WriteByte('\n')
	}
}
