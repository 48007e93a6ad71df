package guard

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/blocknat/blocknat"

// allowed says which packages of ours each package may import, directly or not. A
// package that is not listed may not exist: whoever adds one decides here where it stands.
var allowed = map[string][]string{
	"alloc":                  {},
	"flowmask":               {},
	"portblock":              {"internal/prefetch"},
	"logging":                {},
	"logging/ipfix":          {"logging"},
	"logging/syslog":         {"logging"},
	"logging/journal":        {"logging"},
	"logging/formula":        {"logging", "mapping/deterministic", "portblock", "internal/prefetch"},
	"logging/loggingtest":    {"logging"},
	"mapping":                {"portblock", "flowmask", "internal/keyed", "internal/prefetch"},
	"mapping/deterministic":  {"portblock", "internal/prefetch"},
	"mapping/rewrite":        {},
	"mapping/rewrite/layers": {"mapping/rewrite"},
	"logging/slogsink":       {"logging"},
	"logging/spool":          {"logging", "internal/disk"},
	"logging/filesink":       {"logging", "internal/disk"},
	"logging/netsink":        {"logging", "logging/ipfix", "logging/syslog"},

	// Test support.
	"mapping/rewrite/internal/capture": {},
	"natcore":                          {"alloc", "flowmask", "portblock", "logging", "mapping", "mapping/deterministic", "mapping/rewrite", "internal/index", "internal/keyed", "internal/prefetch"},
	"natcore/nattest":                  {},
	"natcore/nattest/blocknat":         {"alloc", "flowmask", "portblock", "logging", "mapping", "mapping/deterministic", "mapping/rewrite", "natcore", "natcore/nattest", "internal/index", "internal/keyed", "internal/prefetch"},
	"internal/conformance":             {},
	"internal/disk":                    {},
	"internal/guard":                   {},

	// What the tables share.
	"internal/index":    {"internal/prefetch"},
	"internal/keyed":    {},
	"internal/prefetch": {},
}

// forbidden are packages that nobody gets who imports only the engine and what it stands on.
var forbidden = []string{"net/http", "github.com/google/gopacket", "os/exec", "log", "testing", "plugin", "crypto/tls"}

// excused are packages that exist for what is forbidden elsewhere: whoever asks for them wants it.
var excused = map[string]bool{
	"mapping/rewrite/layers": true, "logging/loggingtest": true, "logging/slogsink": true, "logging/netsink": true,
	"natcore/nattest": true, "natcore/nattest/blocknat": true,
}

// listed is what `go list -json` tells of a package.
type listed struct {
	ImportPath string
	Deps       []string
	Module     *struct{ Path string }
}

func list(t *testing.T) []listed {
	cmd := exec.Command("go", "list", "-json=ImportPath,Deps,Module", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	require.NoError(t, err, "go list")
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var l listed
		require.NoError(t, d.Decode(&l))
		all = append(all, l)
	}
	require.NotEmpty(t, all)
	return all
}

// TestArrowsRunOneWay holds the imports, transitive ones too, against the
// table above.
func TestArrowsRunOneWay(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		mayImport, known := allowed[name]
		require.True(t, known, "package %s has no place in the table of allowed imports", name)
		seen[name] = true
		for _, dep := range p.Deps {
			if ours, ok := strings.CutPrefix(dep, module+"/"); ok && !slices.Contains(mayImport, ours) {
				t.Errorf("%s imports %s, directly or not", name, ours)
			}
			if !excused[name] && slices.ContainsFunc(forbidden, func(f string) bool {
				return dep == f || strings.HasPrefix(dep, f+"/") && strings.Contains(f, ".")
			}) {
				t.Errorf("%s imports %s, directly or not", name, dep)
			}
		}
	}
	for name := range allowed {
		require.True(t, seen[name], "package %s is in the table and not in the tree", name)
	}
}
