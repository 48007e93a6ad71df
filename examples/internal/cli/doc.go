// Package cli is what the example programs' command lines share: flags whose
// help and faults read alike, faults of a configuration told by flag, and a line of progress.
package cli
