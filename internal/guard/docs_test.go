package guard

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func read(t *testing.T, path string) string {
	b, err := os.ReadFile(filepath.Join("../..", path))
	require.NoError(t, err)
	return string(b)
}

func documents(t *testing.T) []string {
	var docs []string
	require.NoError(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".md") {
			docs = append(docs, strings.TrimPrefix(filepath.ToSlash(path), "../../"))
		}
		return err
	}))
	return docs
}

// TestRootDocuments: the documents that a newcomer looks for are there.
func TestRootDocuments(t *testing.T) {
	for _, name := range []string{
		"README.md", "ARCHITECTURE.md", "CONFORMANCE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "data/README.md",
	} {
		require.NotEmpty(t, read(t, name), name)
	}
}

// TestLinksLead: every relative link of a document leads to a file of the project.
func TestLinksLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, doc := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, doc), -1) {
			target := filepath.Join("../..", filepath.Dir(doc), m[1])
			_, err := os.Stat(target)
			require.NoError(t, err, "%s links to %s", doc, m[1])
		}
	}
}

// TestCodeInDocumentsIsCompiled: a Go block in a document stands behind a
// comment that names a test file, and stands in that file too, line by line.
func TestCodeInDocumentsIsCompiled(t *testing.T) {
	block := regexp.MustCompile("(?s)(<!-- ([^>]*) -->\n)?```go\n(.*?)```")
	found := 0
	for _, doc := range documents(t) {
		for _, m := range block.FindAllStringSubmatch(read(t, doc), -1) {
			require.NotEmpty(t, m[2], "%s: a Go block without the file that it is compiled in:\n%s", doc, m[3])
			require.Contains(t, read(t, m[2]), m[3], "%s: the block differs from %s", doc, m[2])
			found++
		}
	}
	require.NotZero(t, found)
}

// TestCommandsInReadme: the test command is what the checks run, and each example that is named is there.
func TestCommandsInReadme(t *testing.T) {
	readme := read(t, "README.md")
	require.Contains(t, readme, "\ngo run ./examples/quickstart\n")
	require.Contains(t, readme, "\ngo test ./... ")
	for _, m := range regexp.MustCompile(`\./examples/(\w+)`).FindAllStringSubmatch(readme, -1) {
		_, err := os.Stat(filepath.Join("../../examples", m[1]))
		require.NoError(t, err)
	}
}

// TestConformanceNamesRealTests: each test that CONFORMANCE.md names exists, and
// each RFC that a comment cites is listed there.
func TestConformanceNamesRealTests(t *testing.T) {
	conformance := read(t, "CONFORMANCE.md")
	var code strings.Builder
	cited := map[string]string{}
	cite := regexp.MustCompile(`RFC (\d{3,5})`)
	require.NoError(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.HasSuffix(path, "_test.go") {
			code.Write(b)
		}
		for _, m := range cite.FindAllStringSubmatch(string(b), -1) {
			cited[m[1]] = path
		}
		return err
	}))
	names := regexp.MustCompile("`((?:Test|Fuzz|Example)\\w+)").FindAllStringSubmatch(conformance, -1)
	require.NotEmpty(t, names)
	for _, m := range names {
		require.Contains(t, code.String(), "func "+m[1]+"(", "CONFORMANCE.md names %s", m[1])
	}
	var missing []string
	for rfc, path := range cited {
		if !strings.Contains(conformance, "RFC "+rfc) {
			missing = append(missing, rfc+" in "+path)
		}
	}
	slices.Sort(missing)
	require.Empty(t, missing, "cited in code and not listed in CONFORMANCE.md")
}
