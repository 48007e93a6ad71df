// Package workload makes the traffic that the benchmarks send through a NAT.
// All of it is drawn from a seed: the same seed gives the same packets in the
// same order, so that every peer meets the same ones.
//
// # How packets are built
//
// A packet that a program has just received lies in the cache; the session
// that it belongs to does not. So a workload is kept as a compact list of
// flows (16 bytes each, read in order, which the processor foresees), and the
// packets are written from it into a small ring of buffers that stays warm.
// The order of the flows is random, so that the sessions are cold.
//
//	[]Flow (shuffled, read in order) --Ring.Fill--> 256 warm packets --> the NAT
//
// The ring is filled as a whole before its first packet is translated: a
// packet that is read right after it was written with narrow stores costs
// extra, which no receive ring shows.
//
// # Addresses
//
// Internal hosts are in 100.64.0.0/10 (RFC 6598), remote ones in 203.0.113.0/24,
// external addresses in 198.18.0.0/16 (RFC 2544).
package workload
