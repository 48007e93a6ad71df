// Package portblock gives subscribers external ports by blocks: the blocks of
// one external address (Address), the blocks and ports of one subscriber
// (Holding), and what both share (Layout, Range, Set).
package portblock
