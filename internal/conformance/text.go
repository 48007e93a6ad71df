package main

// head opens the document.
const head = `<!-- Written by "go generate ./internal/conformance" from internal/conformance/rows and the names of the tests. Do not edit. -->
# Conformance

What blocknat requires of itself, by source, and which tests hold it to that. The statements are short: the sources
say what exactly is meant. A statement of level MUST NOT or SHOULD NOT names what does not happen.

- **tested**: a test drives the code and fails without it.
- **option**: something that may be done, and is not, or not by default; the remark says which.
- **deviates**: done otherwise on purpose; the remark says why.
- **open**: not done yet, or not wholly.
- **not ours**: does not apply, or is for the program around the library.

How tests are found is explained in the documentation of ` + "`internal/conformance`" + `. X1 to X14 are below, under "Where sources contradict each other".

`

// notBegun stands for the sources of which nothing is built.
const notBegun = `
## Translation between IPv6 and IPv4

| source | status | remark |
|---|---|---|
| RFC 6146, stateful NAT64 | open | The engine translates IPv4 to IPv4 only and drops IPv6 with ` + "`ReasonIPv6`" + ` |
| RFC 6052 and RFC 7915, addresses and headers | open | ` + "`mapping/deterministic`" + ` embeds addresses as MAP needs it; headers are not translated |
| RFC 6296, NPTv6 | open | - |
`

// conflicts says how contradictions between the sources are settled.
const conflicts = `
## Where sources contradict each other

| | question | rows | what holds here |
|---|---|---|---|
| X1 | ICMP 3/13 or 3/1 for a refusal | 5508-08, 6888-11b | Code 1, which TCP takes for a passing fault, where something has run out; code 13 where a rule refuses; either is an option for both |
| X2 | Keeping ports below 1024 there, or reserving them | 4787-03a, 7422-09 | Reserved by default |
| X3 | Keeping parity, or using blocks well | 4787-04, 7857-15 | Parity is off by default |
| X4 | Drawing from all blocks, or letting idle ones go | 7768-08, 7768-13, 6888-15 | The block that has been idle longest is left out, the draw is over the rest |
| X5 | Deterministic ranges, or ports that are hard to guess | 7422-04, 6888-15 | The range is fixed, the port in it is drawn; keyed distributions are there |
| X6 | Strict pairing, or no refusal while other addresses have room | 7857-07, 7857-07b | Strict |
| X7 | Endpoint-independent or address-dependent filtering | 6888-07, 4787-08b | Endpoint-independent by default, chosen for each pool |
| X8 | 7440 s in one state, or 7200 s and 240 s in two | 7857-01, 5382-05 | 7440 s in one |
| X9 | Ports that rest 120 s, or ports that are used | 6888-08, 6888-13 | All freed ports rest, TCP too; the rest and its number can be set |
| X10 | Whether a block's last port has to be in its record, and which element has a user's threshold | 8158-07, 8158-T4 | Both ports always; element 480 |
| X11 | Distributions 1 and 2 as printed collide or are not paired | 7422-05, 7422-06 | A formula without collisions; distribution 2 says that it is not paired |
| X12 | Inbound packets as a sign of life | 9693-13, 4787-06a | They are none by default; benchmarks of RFC 9693 set long timers |
| X13 | What a RST does | 5382-12, 7857-04, 7857-05, 5961-01, ATK-01 | The exact next number starts 240 s, from which any segment brings the connection back; every other RST passes and changes nothing |
| X14 | When a connection is established | 5382-05c, 7857-01 | When both ends have sent a SYN and an ACK: stricter than the figure, so that a forged SYN and its answer hold state for 240 s only |
`

// rfcTitles are the titles of RFCs that code cites. One that is missing here is listed by its number alone.
var rfcTitles = map[string]string{
	"768": "User Datagram Protocol", "791": "Internet Protocol", "792": "Internet Control Message Protocol",
	"793": "Transmission Control Protocol", "950": "Internet Standard Subnetting Procedure", "1035": "Domain Names",
	"1122": "Requirements for Internet Hosts", "1141": "Incremental Updating of the Internet Checksum",
	"1191": "Path MTU Discovery", "1624": "Computation of the Internet Checksum via Incremental Update",
	"1661": "The Point-to-Point Protocol", "1812": "Requirements for IP Version 4 Routers",
	"2119": "Key Words to Indicate Requirement Levels",
	"1858": "Security Considerations for IP Fragment Filtering", "2460": "Internet Protocol, Version 6",
	"2516": "PPP over Ethernet", "2544": "Benchmarking Methodology for Network Interconnect Devices", "2663": "NAT Terminology and Considerations", "2675": "IPv6 Jumbograms",
	"2784": "Generic Routing Encapsulation", "3022": "Traditional NAT", "3128": "Protection Against a Variant of the Tiny Fragment Attack",
	"3339": "Date and Time on the Internet", "3715": "IPsec-NAT Compatibility Requirements", "3828": "UDP-Lite", "3954": "NetFlow Version 9",
	"3948": "UDP Encapsulation of IPsec ESP Packets", "4180": "CSV Files", "4302": "IP Authentication Header",
	"4303": "IP Encapsulating Security Payload", "4443": "ICMPv6", "4862": "IPv6 Stateless Address Autoconfiguration",
	"4884": "Extended ICMP to Support Multi-Part Messages", "5389": "Session Traversal Utilities for NAT", "5424": "The Syslog Protocol",
	"5425": "TLS Transport Mapping for Syslog", "5426": "Syslog Messages over UDP", "5452": "Resilience of DNS against Forged Answers", "5612": "Enterprise Number for Documentation Use",
	"5737": "IPv4 Address Blocks Reserved for Documentation", "5952": "IPv6 Address Text Representation", "6052": "IPv6 Addressing of IPv4/IPv6 Translators",
	"6145": "IP/ICMP Translation Algorithm", "6146": "Stateful NAT64", "6275": "Mobility Support in IPv6", "6296": "IPv6-to-IPv6 Network Prefix Translation",
	"6333": "Dual-Stack Lite", "6587": "Syslog Messages over TCP", "6598": "Shared Address Space", "6691": "TCP Options and MSS",
	"6864": "IPv4 ID Field", "6887": "Port Control Protocol", "6890": "Special-Purpose IP Address Registries", "6936": "Zero UDP Checksums", "6946": "IPv6 Atomic Fragments",
	"7011": "IPFIX Protocol", "7012": "IPFIX Information Model", "7112": "Oversized IPv6 Header Chains",
	"7753": "PCP Extension for Port-Set Allocation", "7915": "IP/ICMP Translation Algorithm", "8200": "Internet Protocol, Version 6",
	"8219": "Benchmarking IPv6 Transition Technologies", "8259": "JSON", "8335": "PROBE", "8489": "Session Traversal Utilities for NAT",
	"8504": "IPv6 Node Requirements", "8512": "YANG Module for NAT", "8754": "IPv6 Segment Routing Header", "9293": "Transmission Control Protocol",
	"9693": "Benchmarking Stateful NATxy Gateways",
}
