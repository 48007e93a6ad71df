package page_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/benchmarks/internal/page"
)

const text = "# Head\n<!-- table: written by a command, do not edit -->\nold\n<!-- end of table -->\ntail\n"

func TestReplace(t *testing.T) {
	got, err := page.Replace(text, "table", "new\n")
	require.NoError(t, err)
	part, err := page.Part(got, "table")
	require.NoError(t, err)
	require.Equal(t, "new\n", part)
	again, err := page.Replace(got, "table", "old\n")
	require.NoError(t, err)
	require.Equal(t, text, again)
	for _, bad := range []string{"", "<!-- table: written by a command, do not edit -->\n"} {
		_, err := page.Replace(bad, "table", "new\n")
		require.Error(t, err)
	}
}

func TestUpdate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	require.Error(t, page.Update(path, "table", "x\n"))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	require.NoError(t, page.Update(path, "table", "x\n"))
	require.Error(t, page.Update(path, "other", "x\n"))
}

func TestRoot(t *testing.T) {
	root, err := page.Root()
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(root, "README.md"))
	t.Chdir(t.TempDir())
	_, err = page.Root()
	require.ErrorContains(t, err, "go.work")
}
