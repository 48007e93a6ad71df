// Package kernel sends packets through the Linux kernel's forwarding, with and
// without nftables masquerade, in network namespaces that it makes and removes
// itself:
//
//	client --veth--> router (forwards; masquerades or not) --veth--> server (drops)
//
// A veth pair hands a packet on in the context of who sends it, so the time of one
// send is that of the whole way: the send, routing, and translation. The kernel does
// nothing without that way; what masquerade costs is the difference to plain routing.
//
// It needs Linux, root, and the commands ip and nft. What a killed process left, the next one removes.
package kernel
