// Package logging holds the records of a NAT: what was allocated to whom and
// when, in a form that answers "who used 198.51.100.7 port 20481 at 02:30:10Z"
// from the records alone.
package logging
