// Tunnat is a carrier-grade NAT in user space: it moves packets between the
// kernel and natcore through a TUN device (Linux).
//
//	tunnat demo      needs root and nothing else; shows and checks the NAT in
//	                 network namespaces that it makes and removes
//	tunnat run       translates for the clients of this host
//	tunnat cleanup   removes what killed processes left
//
// # The way of a packet
//
// The host is the clients' router and does all routing; the program does
// nothing but translate what the kernel hands it and hand it back.
//
//	client                                    kernel of the router        server
//	  | 100.64.1.2 -> 198.51.100.10               |                          |
//	  |------------------------------------------>| rule: from 100.64.0.0/10 |
//	  |                                           |   table 6888 -> tunnat0  |
//	  |            natcore rewrites the source    |                          |
//	  |                                           | rule: iif tunnat0 -> main|
//	  |             203.0.113.1 -> 198.51.100.10  |------------------------->|
//	  |                                           |                          |
//	  |             198.51.100.10 -> 203.0.113.1  |<-------------------------|
//	  |                                           | route: 203.0.113.0/29    |
//	  |                                           |   -> tunnat0             |
//	  |        natcore rewrites the destination   |                          |
//	  |<------------------------------------------| rule: iif tunnat0 -> main|
//
// A packet whose source is internal is outbound, any other is inbound. The
// kernel decrements the TTL twice, before and behind the device, so the router is two hops of
// a traceroute; the second one answers with the address of the device, and its
// ICMP error is translated on the way back as any other.
//
// With -path-mtu the program answers packets that are too large for the networks behind and
// may not be cut: natcore builds the error (Engine.Reject) and translates it back to what the
// sender has sent, so path MTU discovery works through the NAT. -mss lowers the segment size of SYNs.
//
// # What the host needs
//
// The program sets up the following and removes it at the end; with
// -setup=false it prints the commands instead.
//
//   - routing rules: packets that come out of the device, and packets to internal
//     addresses, use the main table; packets from internal addresses use a table of
//     their own (-table) with one default route into the device;
//   - a route for the pool's addresses into the device;
//   - settings of the device: its address, MTU, loose reverse-path filter,
//     accept_local (the kernel's own ICMP errors pass the device), no IPv6;
//   - with -enable-forwarding, net.ipv4.ip_forward.
//
// Routes and settings of the device end with it, and it ends with the
// process, however that dies. Routing rules would stay; they carry protocol
// 78, by which the next start and tunnat cleanup find those whose device is gone. What
// a killed run does not undo is net.ipv4.ip_forward. The next router must send
// packets for the pool to this host; the program does not answer ARP for them. A
// firewall on the host must let packets be forwarded into and out of the device.
//
// # Records
//
// With -records the record of each block stands in the file, as a line of
// JSON, before a port of the block is used. At the end the blocks that are
// still held are recorded as released, because the engine's state ends with the
// process. A killed process leaves them open in the file.
//
// # Speed
//
// The device carries virtio-net headers (-gso): the kernel passes segments of up to 64
// KiB with partial checksums, natcore updates the partial checksum, and the
// kernel or the network card completes it. One packet of at most the MTU a system
// call (-gso=false) is what other systems and old kernels have.
//
// # Programs of others
//
// The tests (peers_*_test.go) put programs that others wrote on both sides of the NAT: coturn's
// natdiscovery finds each mapping and filtering behaviour, and hairpinning, as
// configured (RFC 5780); curl, ping, traceroute (by UDP, ICMP and TCP), dnsmasq, vsftpd in passive
// mode, iperf3; and 1 GiB of HTTP arrives with its checksum. BLOCKNAT_NETNS=1 makes a missing
// program, or a missing permission, a failure.
//
// # Not here
//
// One queue and one goroutine serve the device. State ends with the process:
// there is no snapshot. IPv6 is not translated and does not enter the device.
package main
