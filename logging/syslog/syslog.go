// Package syslog encodes the records of package logging as messages of RFC 5424
// in the shape of draft-ietf-behave-syslog-nat-logging-06, which has expired and
// is still what collectors and other NATs know:
//
//	<134>1 2026-11-21T02:30:10.123Z cgn1.example.net NAT - PTADD [nprng NATINST="1" SSUBIX="489321"
//	IRLM="vrf7" IATYP="IPv4" ISADDR="100.64.1.10" XATYP="IPv4" XSADDR="198.51.100.7" PORTMN="20480"
//	PORTMX="20991" TRIG="OPKT"] [blocknat@32473 kind="block-allocated" pool="cgn"]
//
// (one line, and no space between the two elements). The first element is the
// draft's: nprng for blocks (PTADD, PTDEL), napmap for mappings (APMADD,
// APMDEL), nsess for sessions (SADD, SDEL) and namap for bound addresses (AMADD,
// AMDEL). The second has what the draft has no name for, among it the time of
// the allocation on releases, so that each line stands alone. Kinds that the
// draft does not have, or has under names that are not known for certain, have
// the second element only and their own name as MSGID; nothing is invented in
// the draft's name space.
//
// Times are those of the records, in UTC with milliseconds. Writing is left to
// the caller's io.Writer: an Encoder writes lines (logging.Writer), Datagrams one
// message a UDP datagram (RFC 5426) and Frames messages with their length in
// front, as TLS wants them (RFC 5425; RFC 6587 section 3.4.1 for TCP), the last
// two by way of logging.MessageWriter.
package syslog
