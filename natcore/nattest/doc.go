// Package nattest is a conformance suite for NATs: it puts any NAT44 under the requirements of RFC 4787 (UDP), RFC 5382
// (TCP), RFC 5508 (ICMP), RFC 6888 (carrier-grade NATs) and RFC 7857 (updates to those), as far as they show from outside,
// and under what RFC 3022 says of packets. As testing/slogtest is for handlers of log/slog, it is for whoever writes a
// NAT, wraps one, or chooses one.
//
// # How it works
//
//	            Outbound(bytes, now)  +-----------+  Packet{Inside: false}
//	internal -----------------------> |  adapter  | -----------------------> external
//	 hosts   <----------------------- |  and NAT  | <-----------------------  hosts
//	           Packet{Inside: true}   +-----------+   Inbound(bytes, now)
//	                                        ^
//	                                        | Advance(now)
//
// The suite plays both sides. It writes packets as bytes, hands them to the NAT, reads what the NAT sends, and compares. The
// clock is the suite's, so that a row about two hours takes microseconds. Each row has a NAT of its own, made by Subject.New
// for the Config that the row asks for. The suite's packets are written and read by code of its own, which imports no NAT and
// nothing of this module.
//
// A NAT is held only to what it offers:
//
//   - Subject.Lacks lists features that it does not have, such as TCP or hairpinning; rows that need one are "not offered".
//   - New returns an error that wraps ErrNotOffered where a Config asks for what cannot be set; so is the row.
//   - Subject.Deviates lists rows that it does not meet on purpose, each with the reason.
//
// Any other row that it does not meet has failed. Run makes each row a subtest, named by its id; Check returns the results
// as data, for a table of several NATs.
//
// # What it does not show
//
// It sees packets, not state: that memory is bounded, or what records are written, shows elsewhere. It does not measure speed.
// Requirements of what stands around a translator (interfaces, routes, configuration protocols) have no rows. A
// row that passes shows that the NAT does the right thing in the cases that the row tries.
//
// # Invariants
//
//   - No row needs another one to have run; the order means nothing.
//   - Hosts inside are of Config.Internal, remote ones are not, external addresses are those of Config.External and nobody else's.
//   - Time starts at Config.Now and never goes back; packets of one row have different payloads and identifications.
//   - A panic of the NAT fails the row that it happens in, and no other.
//   - For each row there is a known defect that makes it fail; the package's tests see to that.
//
// # Sources
//
// RFC 768, RFC 1858, RFC 3022, RFC 4787, RFC 4884, RFC 5382, RFC 5508, RFC 6888, RFC 7857.
package nattest
