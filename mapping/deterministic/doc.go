// Package deterministic maps subscribers to external addresses and ports by
// formula, in both directions, so that most subscribers need no log at all
// (RFC 7422, RFC 7597, RFC 6431).
package deterministic
