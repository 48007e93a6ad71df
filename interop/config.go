package interop

import "embed"

// Config holds the collectors' configurations, as docs/collectors.md shows them
// and the tests use them.
//
//go:embed config
var Config embed.FS
