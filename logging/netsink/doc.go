// Package netsink sends the records of package logging to collectors: syslog
// over UDP, TCP and TLS, IPFIX over UDP, TCP and TLS, NetFlow 9 over UDP, and the
// lines of any logging.Encoder over all of them.
//
//	sink, err := netsink.NewSyslog("tls", "logs.example.net:6514", syslog.Encoder{}, netsink.Config{})
//
// A Sink is a logging.Log. It accepts a record by storing it, in memory or in a
// spool on a disk, and one goroutine sends what waits, in order, and connects
// again when a connection breaks, with pauses that double and are partly random:
//
//	Append -> | acked | sent, not confirmed | waiting |  -> datagrams, or a stream
//	                  ^ a new connection    ^ this one
//	                    begins here           goes on here
//
// # What arrives
//
// Neither syslog nor IPFIX tells a sender what a collector has read. A Write that
// returns says that the octets are in a buffer of this machine; the connection
// may still break and they are gone. So a Sink keeps what was sent until
// Config.Window more octets were written behind it: as buffers hold less, the
// collector's program has read it by then. After every reconnect it sends again
// what is not confirmed. Over a stream, each record thus arrives at least once as
// long as the window is larger than all buffers on the way, and some twice,
// which readers take as one. What is idle in the window stays there. Close ends
// a stream in order, and a collector that closes it after that has read all: then
// nothing is left to repeat. (One that closes on its own in the very round trip
// of that end looks the same.)
//
// Over UDP nobody knows what arrives. A Sink that learns that nobody listens
// (ICMP port unreachable) sends what is in the window again.
//
// In memory, records are lost when the process ends, and those that were sent give
// way when it is full; with a Store on a disk (package spool) they survive both. What is refused, dropped by policy, or cannot be said in a format is
// counted, and Close says what it leaves behind.
//
// # Formats
//
// A connection that breaks may end in the middle of a message; the next one
// begins with a whole one. IPFIX starts each connection with its templates anew
// (RFC 7011 section 10.4) and sequence number 0; over UDP templates are repeated
// by time and by count (section 8.4), also while there are no records.
// RFC 8158 section 7 wants records protected: "tls" does that for syslog (RFC 5425) and
// IPFIX (RFC 7011 section 11.1); UDP and TCP are in clear.
//
// # What it has not
//
// No SCTP, no DTLS, no RELP. It does not limit the rate of events (logging.Limiter
// does) and has no second collector to fall back on: give each its own Sink in a
// logging.Fanout.
//
// # Cost
//
// A Sink has one goroutine, and a second one for each connection, which reads. In memory it holds
// Config.Size records of 272 octets beside their text.
//
// References: RFC 5424, RFC 5425, RFC 5426 and RFC 6587 (syslog), RFC 7011 (IPFIX),
// RFC 3954 (NetFlow 9), RFC 8158 (NAT events).
package netsink
