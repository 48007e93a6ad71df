// Package ipfix exports the records of package logging as IPFIX (RFC 7011) or
// NetFlow version 9 (RFC 3954), with the events and elements of RFC 8158.
package ipfix
