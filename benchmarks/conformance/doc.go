// Conformance puts NATs in Go under the suite of package nattest and prints a table of how they stand to each row.
//
//	go run ./benchmarks/conformance                  prints the table and what went wrong
//	go run ./benchmarks/conformance -o table.md      writes it
//
// The NATs are blocknat's engine, gVisor's netstack with an SNAT rule, and pion's vnet. Each is held only to
// what it offers: what its adapter declares as lacking is "-" in the table. pion's NAT has the wall clock only and is reached through
// sockets of a virtual network; it runs in a bubble of testing/synctest, in which the clock stands until all goroutines wait, and then
// jumps: hours pass in no time, and a packet that does not come is known to be dropped.
package main
