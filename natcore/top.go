package natcore

import (
	"cmp"
	"slices"

	"github.com/blocknat/blocknat/portblock"
)

// Order says by what subscribers are ranked.
type Order uint8

const (
	// BySessions ranks by sessions, inbound ones included.
	BySessions Order = iota
	// ByPorts ranks by ports of all protocols.
	ByPorts
	// ByBlocks ranks by blocks.
	ByBlocks
)

// Top returns the n subscribers that hold most, in one pool, or of what is static (see SubscriberInfo), largest first; those that hold nothing of the kind are left out. It walks over all
// subscribers, with no lock held for long.
func (e *Engine) Top(n int, by Order) []SubscriberInfo {
	return e.top(n, func(i *SubscriberInfo) int {
		switch by {
		case ByPorts:
			return i.Ports[portblock.TCP] + i.Ports[portblock.UDP] + i.Ports[portblock.ICMP]
		case ByBlocks:
			return i.Blocks
		}
		return i.Sessions + i.Inbound
	})
}

// top keeps the n largest in a list that is sorted whenever it has twice that length.
func (e *Engine) top(n int, weight func(*SubscriberInfo) int) []SubscriberInfo {
	if n <= 0 {
		return nil
	}
	n = min(n, 1<<20)
	var list []SubscriberInfo
	cut := func() {
		slices.SortStableFunc(list, func(a, b SubscriberInfo) int {
			if c := cmp.Compare(weight(&b), weight(&a)); c != 0 {
				return c
			}
			return cmp.Or(cmp.Compare(a.Realm, b.Realm), a.Internal.Compare(b.Internal), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Class, b.Class))
		})
		list = list[:min(n, len(list))]
	}
	for i := range e.Subscribers() {
		if weight(&i) == 0 {
			continue
		}
		if list = append(list, i); len(list) >= 2*n {
			cut()
		}
	}
	cut()
	return list
}
