// Package rewrite changes endpoints of IP packets in place and keeps their
// checksums as right, or as wrong, as they were.
package rewrite
