package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocumentIsUpToDate: CONFORMANCE.md is what the command writes. It fails too when a row names a missing test, and
// when a row has neither a test nor a status with its reason.
func TestDocumentIsUpToDate(t *testing.T) {
	want, _, err := generate("../..")
	require.NoError(t, err)
	got, err := os.ReadFile(filepath.Join("../..", document))
	require.NoError(t, err)
	if string(got) == want {
		return
	}
	lines, old := strings.Split(want, "\n"), map[string]bool{}
	for _, l := range strings.Split(string(got), "\n") {
		old[l] = true
	}
	for _, l := range lines {
		if !old[l] {
			t.Errorf("missing: %s", l)
		}
	}
	t.Fatalf("%s is out of date: go generate ./internal/conformance", document)
}

// TestMustRowsAreSettled: of what a source demands, each row is tested or says why not.
func TestMustRowsAreSettled(t *testing.T) {
	tables, err := readTables()
	require.NoError(t, err)
	known, must := map[string]bool{}, 0
	for _, table := range tables {
		require.NotEmpty(t, table.rows, table.title)
		for _, r := range table.rows {
			known[r.id] = true
		}
	}
	found, err := scan("../..", known)
	require.NoError(t, err)
	for _, table := range tables {
		for _, r := range table.rows {
			if !r.must() {
				continue
			}
			must++
			if r.status == "" {
				require.NotEmpty(t, append(found.tests[r.id], make([]test, len(r.named))...), "%s: %s", r.id, r.statement)
			} else {
				require.NotEmpty(t, r.remark, r.id)
				require.NotEqual(t, option, r.status, "%s: a MUST is no option", r.id)
			}
		}
	}
	require.Greater(t, must, 100, "the tables have lost rows")
}

// ids are the rows of the small trees below.
var ids = map[string]bool{
	"5508-03b": true, "7768-01": true, "7768-02": true, "7768-03": true, "6056-08": true, "8158-06": true, "8158-E12": true,
	"8158-E04": true, "8158-E06": true, "CK-02": true, "SYS-01": true, "SYS-06": true, "ATK-01": true, "5382-05": true, "5382-05b": true, "7597-11": true,
}

func TestIDsOfNames(t *testing.T) {
	for name, want := range map[string]string{
		"TestRFC5508_03b_Options":                      "5508-03b",
		"TestRFC7768_01_02_03_OneRecordABlock":         "7768-01 7768-02 7768-03",
		"TestRFC7768_01_RFC6056_08_BlockOrder":         "7768-01 6056-08",
		"TestRFC7768_01_Block_02":                      "7768-01",
		"TestStream_RFC7768_01":                        "7768-01",
		"TestRFC8158_06_E12":                           "8158-06 8158-E12",
		"TestRFC1624_CK02_Vector":                      "CK-02",
		"TestSYS_01_06":                                "SYS-01 SYS-06",
		"TestUDP_SYS_01":                               "SYS-01",
		"TestATK_01_RandomResets":                      "ATK-01",
		"TestRFC7597_11_examples_4_and_5":              "7597-11",
		"FuzzRFC5508_03b":                              "5508-03b",
		"TestRFC5508_99_NoSuchRow":                     "",
		"TestRFC5508_3b":                               "",
		"TestB22_B23":                                  "",
		"TestSizes":                                    "",
		"TestHistory_2026_05_of_something_RFC5508_03b": "5508-03b",
	} {
		got, _ := idsOfName(name, ids)
		require.Equal(t, want, strings.Join(got, " "), name)
	}
}

func TestIDsOfComments(t *testing.T) {
	got, err := idsOfDoc("TestX: does this.\n\nRows: 5508-03b,\nSYS-01.\n", ids)
	require.NoError(t, err)
	require.Equal(t, []string{"5508-03b", "SYS-01"}, got)
	got, err = idsOfDoc("TestX is about RFC 5508 REQ-3, row 5508-03b.\n", ids)
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = idsOfDoc("TestX.\n\nRows: 5508-03b, 5508-99.\n", ids)
	require.ErrorContains(t, err, `"5508-99"`)
}

// TestScan reads a tree of its own: names of functions and subtests count, other strings, methods, other files and folders of data do not.
func TestScan(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	write("a/a.go", "package a\n\n// F follows RFC 791.\nfunc TestRFC5508_03b() {}\n")
	write("a/testdata/b_test.go", "package b\n\nfunc TestRFC5508_03b() {}\n")
	write("a/a_test.go", `package a

// TestOne does it (RFC 793).
//
// Rows: SYS-01.
func TestOne(t *testing.T) {
	t.Run("5508-03b", func(t *testing.T) { t.Log("7768-01 is nothing", "7768-02") })
	for _, c := range []struct{ name string; n int }{{"5382-05 with words", 1}, {name: "5382-05b"}} {
		t.Run(c.name, nil)
	}
	_ = map[string]int{"7768-03": 1, "E12": 2}
}

func TestRFC8158_Events(t *testing.T) {
	_ = []string{"E04_E06", "E12", "06", "E99"}
}

func (x) TestSYS_06() {}

func helperATK_01() {}
`)
	found, err := scan(root, ids)
	require.NoError(t, err)
	got := map[string]string{}
	for id, tests := range found.tests {
		got[id] = names(tests)
	}
	one := "`a/a_test.go` `TestOne"
	require.Equal(t, map[string]string{
		"SYS-01": one + "`", "5508-03b": one + "/5508-03b`", "5382-05": one + "/5382-05_with_words`", "5382-05b": one + "/5382-05b`",
		"7768-03": one + "/7768-03`", "8158-E12": "`a/a_test.go` `TestRFC8158_Events/E12`",
		"8158-E04": "`a/a_test.go` `TestRFC8158_Events/E04_E06`", "8158-E06": "`a/a_test.go` `TestRFC8158_Events/E04_E06`",
	}, got)
	require.Equal(t, map[string]bool{"a/a_test.go:TestOne": true, "a/a_test.go:TestRFC8158_Events": true}, found.all)
	require.Equal(t, map[string]string{"791": "a/a.go", "793": "a/a_test.go"}, found.cited)
}

func TestParseTableFaults(t *testing.T) {
	for text, want := range map[string]string{
		"4787-01 | MUST | 1 | S | x":                               "title",
		"# t\n4787-01 | MUST | 1 | S":                              "columns",
		"# t\n4787-01 | OUGHT | 1 | S | x":                         "level",
		"# t\n4787-01 | MUST | 1 | X | x":                          "tag",
		"# t\n4787-01 | MUST | 1 | S | x | open":                   "remark",
		"# t\n4787-01 | MUST | 1 | S | x | late | because":         "status",
		"# t\n4787-01 | MUST | 1 | S | x | tested | because":       "leave the status empty",
		"# t\n4787-01 | MUST | 1 | S |":                            "statement",
		"# t\n4787-01 | MUST | 1 | S | x\n4787-01 | - | 1 | S | y": "already",
	} {
		_, err := parseTable("t.txt", text, map[string]string{})
		require.ErrorContains(t, err, want, text)
	}
	table, err := parseTable("t.txt", "# t\n4787-01 | MUST | 1 | S | x | | why | a_test.go:TestA, b_test.go:TestB\n", map[string]string{})
	require.NoError(t, err)
	require.Equal(t, row{"4787-01", "MUST", "1", "S", "x", "", "why", []string{"a_test.go:TestA", "b_test.go:TestB"}}, table.rows[0])
}

// TestSettle: a row without a test needs a status, and a test that a row names has to be there.
func TestSettle(t *testing.T) {
	found := &tree{tests: map[string][]test{"1": {{"a_test.go", "TestA"}}}, all: map[string]bool{"a_test.go:TestA": true}}
	r := row{id: "1", level: "MUST"}
	require.NoError(t, settle(&r, found))
	require.Equal(t, tested, r.status)
	r = row{id: "1", level: "MUST", status: open, remark: "not wholly"}
	require.NoError(t, settle(&r, found))
	require.Equal(t, open, r.status)
	require.ErrorContains(t, settle(&row{id: "2", level: "MUST"}, found), "neither")
	require.NoError(t, settle(&row{id: "2", level: "MUST", named: []string{"a_test.go:TestA/sub"}}, found))
	require.ErrorContains(t, settle(&row{id: "3", named: []string{"a_test.go:TestB"}}, found), "no such test")
	require.ErrorContains(t, settle(&row{id: "3", named: []string{"TestA"}}, found), "no such test")
}
