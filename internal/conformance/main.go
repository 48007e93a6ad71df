package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// document is where the result stands, below the root.
const document = "CONFORMANCE.md"

func main() {
	// go generate runs the command in its own directory.
	const root = "../.."
	text, stale, err := generate(root)
	for _, s := range stale {
		fmt.Fprintln(os.Stderr, s)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(root, document), []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
