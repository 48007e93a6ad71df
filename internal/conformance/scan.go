package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// test is a test function, or a subtest of one with an id of its own.
type test struct {
	file string // relative to the root, with slashes
	name string // TestX, or TestX/subtest
}

// tree is what the Go files of the project tell.
type tree struct {
	tests map[string][]test // by row, in the order of files and lines
	all   map[string]bool   // "file:Test" of every test function
	cited map[string]string // the RFCs that Go files cite, and one file that does
}

var citation = regexp.MustCompile(`RFC (\d{3,5})`)

// scan reads all Go files below a directory. rows are the ids that there are.
func scan(root string, rows map[string]bool) (*tree, error) {
	t := &tree{tests: map[string][]test{}, all: map[string]bool{}, cited: map[string]string{}}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return t.add(filepath.ToSlash(name), b, rows)
	})
	return t, err
}

// add reads one Go file.
func (t *tree) add(file string, source []byte, rows map[string]bool) error {
	for _, m := range citation.FindAllSubmatch(source, -1) {
		if _, ok := t.cited[string(m[1])]; !ok {
			t.cited[string(m[1])] = file
		}
	}
	if !strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "internal/conformance/") {
		return nil // the tests of this command speak of ids and hold none
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ParseComments)
	if err != nil {
		return err
	}
	var faults []error
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil || !isTest(f.Name.Name) {
			continue
		}
		name := f.Name.Name
		t.all[file+":"+name] = true
		ids, rfc := idsOfName(name, rows)
		listed, err := idsOfDoc(f.Doc.Text(), rows)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %s: %w", file, name, err))
		}
		for _, id := range append(ids, listed...) {
			t.hold(id, test{file, name})
		}
		for _, s := range namesIn(f) {
			for _, id := range idsOfText(s, rfc, rows) {
				t.hold(id, test{file, name + "/" + strings.ReplaceAll(s, " ", "_")})
			}
		}
	}
	return errors.Join(faults...)
}

// hold notes that a test holds a row. A function that does needs no subtest beside it.
func (t *tree) hold(id string, x test) {
	function, _, _ := strings.Cut(x.name, "/")
	for _, known := range t.tests[id] {
		if known.file == x.file && (known.name == x.name || known.name == function) {
			return
		}
	}
	t.tests[id] = append(t.tests[id], x)
}

func isTest(name string) bool {
	return strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") || strings.HasPrefix(name, "Example")
}

var (
	rfcToken    = regexp.MustCompile(`^RFC(\d+)$`)
	numberToken = regexp.MustCompile(`^(\d{2}[a-z]?|[EQT]\d{1,2})$`)
	eventToken  = regexp.MustCompile(`^[EQT]\d{1,2}$`)
	sumToken    = regexp.MustCompile(`^CK(\d\d)$`)
	wholeID     = regexp.MustCompile(`^(\d{4}-(\d{2}[a-z]?|[EQT]\d{1,2})|(SYS|ATK|CK)-\d\d)( |$)`)
)

// idsOfName returns the rows that the name of a test function carries, and the last RFC in it.
func idsOfName(name string, rows map[string]bool) (ids []string, rfc string) {
	prefix := ""
	for _, kind := range []string{"Test", "Fuzz", "Example"} {
		name = strings.TrimPrefix(name, kind)
	}
	for _, word := range strings.Split(name, "_") {
		if m := rfcToken.FindStringSubmatch(word); m != nil {
			prefix, rfc = m[1], m[1]
			continue
		}
		if word == "SYS" || word == "ATK" {
			prefix = word
			continue
		}
		id := prefix + "-" + word
		if m := sumToken.FindStringSubmatch(word); m != nil {
			id = "CK-" + m[1]
		} else if prefix == "" || !numberToken.MatchString(word) {
			prefix = ""
			continue
		}
		if rows[id] {
			ids = append(ids, id)
		}
	}
	return ids, rfc
}

// idsOfDoc returns the rows that a doc comment lists behind "Rows:". A list with an id that no row has is a fault.
func idsOfDoc(doc string, rows map[string]bool) ([]string, error) {
	var ids []string
	for _, paragraph := range strings.Split(doc, "\n\n") {
		list, ok := strings.CutPrefix(strings.TrimSpace(paragraph), "Rows:")
		if !ok {
			continue
		}
		for _, id := range strings.Split(strings.TrimSuffix(strings.TrimSpace(list), "."), ",") {
			if id = strings.TrimSpace(id); !rows[id] {
				return nil, fmt.Errorf("its comment lists %q, which is no row", id)
			}
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// idsOfText returns the rows that the name of a subtest begins with. rfc is the RFC of its function's name.
func idsOfText(s, rfc string, rows map[string]bool) []string {
	if m := wholeID.FindStringSubmatch(s); m != nil {
		if rows[m[1]] {
			return []string{m[1]}
		}
		return nil
	}
	var ids []string
	for _, word := range strings.Split(s, "_") {
		id := rfc + "-" + word
		if rfc == "" || !eventToken.MatchString(word) || !rows[id] {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// namesIn returns the strings of a function that may be names of subtests: the first argument of a call of Run,
// and the keys and elements of composite literals.
func namesIn(f *ast.FuncDecl) []string {
	var names []string
	take := func(e ast.Expr) {
		l, ok := e.(*ast.BasicLit)
		if !ok || l.Kind != token.STRING {
			return
		}
		if s, err := strconv.Unquote(l.Value); err == nil && !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if called, ok := n.Fun.(*ast.SelectorExpr); ok && called.Sel.Name == "Run" && len(n.Args) > 0 {
				take(n.Args[0])
			}
		case *ast.CompositeLit:
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					take(kv.Key)
					e = kv.Value
				}
				take(e)
			}
		}
		return true
	})
	return names
}
