package guard

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pure lists the packages without goroutines, timers, loggers, I/O, environment, init functions,
// package variables that change, or clock (ARCHITECTURE.md). Subpackages are included.
var pure = []string{"alloc", "flowmask", "portblock", "mapping", "natcore", "internal/index", "internal/keyed"}

// pureImports are what these packages have no use for.
var pureImports = []string{"os", "io/ioutil", "log", "log/slog", "net", "net/http", "syscall", "runtime", "flag", "math/rand", "unsafe"}

// pureCalls read the clock or start something.
var pureCalls = map[string][]string{
	"time": {"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"},
	"fmt":  {"Print", "Printf", "Println"},
	"rand": {"Int", "IntN", "N", "Uint32", "Uint64", "Perm", "Shuffle", "Float64"}, // the global, unseeded source
}

// sources yields the parsed files of a folder that are no tests.
func sources(t *testing.T, folder string, visit func(fset *token.FileSet, path string, f *ast.File)) {
	found := 0
	require.NoError(t, filepath.WalkDir(filepath.Join("../..", folder), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "internal" {
			return fs.SkipDir // test support
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		require.NoError(t, err)
		found++
		visit(fset, path, f)
		return nil
	}))
	require.NotZero(t, found, "no source files in %s", folder)
}

func TestPurePackagesStayPure(t *testing.T) {
	for _, folder := range pure {
		sources(t, folder, func(fset *token.FileSet, path string, f *ast.File) {
			for _, i := range f.Imports {
				name := strings.Trim(i.Path.Value, `"`)
				// gopacket's layers hold addresses as net.IP.
				if name == "net" && strings.Contains(filepath.ToSlash(path), "mapping/rewrite/layers/") {
					continue
				}
				require.False(t, slices.Contains(pureImports, name), "%s imports %s", path, name)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s starts a goroutine", fset.Position(n.Pos()))
				case *ast.FuncDecl:
					if n.Recv == nil && n.Name.Name == "init" {
						t.Errorf("%s has an init function", fset.Position(n.Pos()))
					}
				case *ast.CallExpr:
					if s, ok := n.Fun.(*ast.SelectorExpr); ok {
						if x, ok := s.X.(*ast.Ident); ok && slices.Contains(pureCalls[x.Name], s.Sel.Name) {
							t.Errorf("%s calls %s.%s", fset.Position(n.Pos()), x.Name, s.Sel.Name)
						}
					}
				}
				return true
			})
		})
	}
}

// TestPureFunctionsDoNotPanic allows panic in MustX functions only, and where a
// comment on the same line says which broken invariant or programming error it stands for.
func TestPureFunctionsDoNotPanic(t *testing.T) {
	for _, folder := range append([]string{"logging"}, pure...) {
		sources(t, folder, func(fset *token.FileSet, path string, f *ast.File) {
			explained := map[int]bool{}
			for _, c := range f.Comments {
				explained[fset.Position(c.Pos()).Line] = true
			}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || strings.HasPrefix(fn.Name.Name, "Must") {
					continue
				}
				ast.Inspect(fn, func(n ast.Node) bool {
					if c, ok := n.(*ast.CallExpr); ok {
						if id, ok := c.Fun.(*ast.Ident); ok && id.Name == "panic" && !explained[fset.Position(c.Pos()).Line] {
							t.Errorf("%s panics in %s", fset.Position(c.Pos()), fn.Name.Name)
						}
					}
					return true
				})
			}
		})
	}
}
