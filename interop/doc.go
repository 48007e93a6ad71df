// Package interop holds the tests that read the records of package logging with
// other people's programs: goflow2's decoder for IPFIX and NetFlow 9, go-syslog
// for RFC 5424 and its framing, and real collectors (nfcapd with nfdump, pmacct's
// nfacctd, tshark, rsyslog) that get them over loopback. It is a module of its own,
// so that the library depends on none of them, and has no code besides the
// configurations of the collectors, which docs/collectors.md shows.
//
// The collectors are Debian's packages nfdump, pmacct, tshark and rsyslog. Tests of
// one that is not installed are skipped, unless BLOCKNAT_COLLECTORS is 1, as in
// .ci/run.
package interop
