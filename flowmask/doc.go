// Package flowmask selects by masked flow keys: any bits of a flow's realm,
// addresses, protocol and ports.
package flowmask
