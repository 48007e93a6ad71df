// Package guard holds the tests that watch over the project as a whole: which
// package imports which, what the pure packages keep from, and whether
// the documents tell the truth. It has no code of its own.
package guard
