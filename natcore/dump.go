package natcore

import (
	"iter"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/mapping"
)

// Subscribers yields what each subscriber holds, in no order; a host that has dynamic sessions and others comes once for each pool and once for
// what is of no pool. No lock is held
// while the loop's body runs; a subscriber that comes or goes meanwhile may be missed.
func (e *Engine) Subscribers() iter.Seq[SubscriberInfo] {
	return func(yield func(SubscriberInfo) bool) {
		var page []SubscriberInfo
		for _, s := range e.shards {
			for from := 0; from >= 0; {
				page, from = e.subscriberPage(s, page[:0], from)
				for _, i := range page {
					if !yield(i) {
						return
					}
				}
			}
		}
		for _, i := range e.staticHosts() {
			if !yield(i) {
				return
			}
		}
	}
}

// pageSize bounds what a dump copies under one hold of a lock.
const pageSize = 512

func (e *Engine) subscriberPage(s *shard, page []SubscriberInfo, from int) ([]SubscriberInfo, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; from < int(s.list.next) && len(page) < pageSize; from++ {
		if sub := s.list.find(uint32(from)); sub != nil {
			page = append(page, e.info(sub))
		}
	}
	if from >= int(s.list.next) {
		from = -1
	}
	return page, from
}

// SessionInfo tells one session.
type SessionInfo struct {
	Realm    Realm
	Protocol uint8
	Internal netip.AddrPort
	External netip.AddrPort
	Remote   netip.AddrPort
	// Static is the name of the Static or the Peering that the session is of; empty for all others.
	Static string
	// Inbound says that the remote end has begun it, with a static endpoint; the first packet of all other sessions was the internal host's.
	Inbound bool
	// Seen is what the internal host sees in the remote endpoint's place, where that is translated too.
	Seen netip.AddrPort
	// State is "udp", "icmp" or the TCP state (see mapping.Phase).
	State string
	// LastSeen is when the last packet came that kept the session alive.
	LastSeen time.Time
}

// Sessions yields each session, in no order. No lock is held while the loop's
// body runs; a session that comes, goes or moves within its table meanwhile may be missed or come twice.
func (e *Engine) Sessions() iter.Seq[SessionInfo] {
	return func(yield func(SessionInfo) bool) {
		var page []mapping.State
		for _, s := range e.shards {
			for part := 0; part >= 0; {
				s.mu.Lock()
				page, part = s.table.AppendSessions(page[:0], part)
				now, tick := s.now, s.tick
				s.mu.Unlock()
				for i := range page {
					if !yield(sessionInfo(&page[i], now, tick)) {
						return
					}
				}
			}
		}
		e.staticSessions(yield)
	}
}

func sessionInfo(st *mapping.State, now time.Time, tick mapping.Tick) SessionInfo {
	return SessionInfo{
		Realm: Realm(st.Realm), Protocol: protocols[st.Space],
		Internal: st.Internal.AddrPort(), External: st.External.AddrPort(), Remote: st.Remote.AddrPort(), Seen: st.Remote.AddrPort(),
		State: st.Phase.String(), LastSeen: now.Add(time.Duration(int32(st.LastSeen-tick)) * time.Millisecond),
	}
}

// protocols are the IP protocol numbers of a table's spaces.
var protocols = [...]uint8{6, 17, 1, 136}
