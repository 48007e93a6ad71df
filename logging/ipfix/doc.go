// Package ipfix exports the records of package logging as IPFIX (RFC 7011) or
// NetFlow version 9 (RFC 3954), with the events and elements of RFC 8158.
//
// An Exporter is a logging.Log that writes messages to an io.Writer, one Write
// each; a connected UDP socket is one, and package netsink has sinks that connect
// again and repeat what may be lost:
//
//	message: header | template set | data set | data set | ...
//
// It announces a template in the message that first needs it, and all of them
// again after Config.TemplateInterval and Config.TemplateMessages, in messages of
// their own before the data. Nothing is withdrawn (RFC 7011 section 8.4). Each
// shape of record has its own template, with ids in the order of first use, so
// that the same records give the same bytes.
//
//	kind                          natEvent   elements (mandatory; IPv6 hosts: 27 in place of 8)
//	AddressesExhausted            3          323 230 283
//	SessionCreated, -Deleted      4, 5       323 230 8 225 4 7 227     (NAT64: 6, 7)
//	MappingCreated, -Deleted      8, 9       323 230 8 225             (NAT64: 10, 11)
//	PortsExhausted                12         323 230 225 4, one data record a protocol
//	QuotaExceeded                 13         323 230 466, limit 471 to 475, and 8 for 3 and 5
//	AddressBound, AddressUnbound  14, 15     323 230 8 225
//	StaticAdded, StaticRemoved    as BlockAllocated, -Released
//	BlockAllocated, -Released     16, 17     323 230 8 225 361 362
//	ThresholdHigh, -Low           18         323 230 467, mark 476 to 481, and 283 or 8
//
// A block that covers TCP, UDP and ICMP has no protocolIdentifier, as in the
// RFC; one that does not is one data record for each protocol with it. The
// historic events 1 and 2 are never sent.
//
// Messages are in clear. RFC 8158 section 7 demands protection: the io.Writer is
// to be a TLS or DTLS connection, or the network a protected one. Over a stream
// set TemplateInterval and TemplateMessages below 0.
//
// No clock is read: a message's export time is the latest time of its records, or
// what Config.Now says.
// Export allocates no memory; sending templates again neither.
//
// References: RFC 8158 (NAT events), RFC 7011 (IPFIX), RFC 3954 (NetFlow 9), RFC
// 7012 and the IANA registry (elements).
package ipfix
