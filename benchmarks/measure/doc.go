// Package measure holds what is measured, apart from how often and in which
// order: packets of established sessions, the life of many sessions with their memory, mixed
// traffic, and the establishment rate of RFC 9693. The benchmarks and the
// command compare both call it.
//
// Only the NAT is on the clock. A ring of 256 packets is written first, then
// the clock is read, the packets are translated, and the clock is read again, which
// costs less than a nanosecond a packet. The one exception is Rate, where the tester's work is part of the time.
package measure
