package interop

import (
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDocumentShowsTheConfigurations: docs/collectors.md has each configuration that the tests use, word by word.
func TestDocumentShowsTheConfigurations(t *testing.T) {
	doc, err := os.ReadFile("../docs/collectors.md")
	require.NoError(t, err)
	files, err := fs.Glob(Config, "config/*")
	require.NoError(t, err)
	require.Len(t, files, 4)
	for _, f := range files {
		b, err := Config.ReadFile(f)
		require.NoError(t, err)
		require.Contains(t, string(doc), "<!-- interop/"+f+" -->\n```\n"+string(b)+"```\n")
	}
}
