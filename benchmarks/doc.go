// Package benchmarks compares blocknat's engine with other NATs in Go. The
// benchmarks are in this package's tests; the command compare runs a set of them
// interleaved and writes a report; README.md says what each workload is and
// what the figures do not say.
package benchmarks
