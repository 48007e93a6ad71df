package natcore

import (
	"maps"
	"slices"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
)

// saveStatics writes the sessions of static mappings, peerings and protocols without ports with all that they hold. The caller has locked all shards.
func (e *Engine) saveStatics(w *writer) {
	st := &e.statics
	st.mu.Lock()
	defer st.mu.Unlock()
	st.advance(e.time())
	st.sources.settle(st.ms())
	numbers := map[uint32]uint64{} // of the owners, in the order of their list
	owners := append(slices.Sorted(maps.Keys(st.owners)), slices.Sorted(maps.Keys(st.peers))...)
	w.u(uint64(len(owners)))
	for i, id := range owners {
		numbers[id] = uint64(i)
		if s := st.owners[id]; s != nil {
			w.flag(false)
			w.text(s.cfg.Name)
		} else {
			w.flag(true)
			w.text(st.peers[id].cfg.Name)
		}
	}
	numbers[0] = uint64(len(owners)) // of Config.Protocols
	w.u(uint64(st.flows.Len()))
	var page []mapping.SavedFlow
	for part := 0; part >= 0; {
		page, part = st.flows.AppendSaved(page[:0], part)
		for i := range page {
			w.u(numbers[page[i].Owner])
			st.saveFlow(w, &page[i])
		}
	}
	w.u(uint64(len(st.sources.resting)))
	for _, r := range st.sources.resting {
		w.flag(r.addr.realm.external)
		w.u(uint64(r.addr.realm.realm), uint64(r.addr.addr), uint64(r.addr.space), uint64(r.port), uint64(r.free-st.ms()))
	}
	var clients []affinityKey
	for k, a := range st.affinity {
		if _, known := numbers[k.static]; known && a.until > st.ms() {
			clients = append(clients, k)
		}
	}
	w.u(uint64(len(clients)))
	for _, k := range clients {
		a := st.affinity[k]
		w.u(numbers[k.static])
		w.endpoint(k.client)
		w.endpoint(a.to)
		w.u(uint64(a.until - st.ms()))
	}
	e.saveUses(w)
}

// saveFlow writes a session. The caller holds mu.
func (st *statics) saveFlow(w *writer, v *mapping.SavedFlow) {
	kept, known := st.sources.kept[sourceKeyOf(&v.Flow)]
	w.u(uint64(v.In.Proto))
	w.header(&v.In)
	w.header(&v.Out)
	w.u(uint64(v.Note), uint64(v.Policy))
	w.flag(v.Answered)
	w.flag(known && v.Note&noteSource != 0 && kept.as == mapping.Endpoint{Addr: v.Out.Src, Port: v.Out.SrcPort})
	w.u(uint64(min(max(int64(int32(st.tick-v.LastSeen)), 0), mapping.MaxIdle.Milliseconds())))
	if v.In.Proto == rewrite.ProtoTCP {
		w.u(uint64(v.State), uint64(v.Sent[0]), uint64(v.Sent[1]))
	}
}

// header writes a header but for its protocol.
func (w *writer) header(h *mapping.Header) {
	w.flag(h.External)
	w.u(uint64(h.Realm))
	w.endpoint(mapping.Endpoint{Addr: h.Src, Port: h.SrcPort})
	w.endpoint(mapping.Endpoint{Addr: h.Dst, Port: h.DstPort})
}

// saveUses writes what rates of hosts and realms have used up. The caller has locked all shards.
func (e *Engine) saveUses(w *writer) {
	var hosts []*account
	for _, s := range e.shards {
		for a := range s.accounts.all() {
			if a.static != nil {
				hosts = append(hosts, a)
			}
		}
	}
	w.u(uint64(len(hosts)))
	for _, a := range hosts {
		w.u(uint64(a.inRealm), uint64(a.addr))
		w.i(int64(a.opening), int64(a.mapping), int64(a.static.arriving))
	}
	realms := e.quotas.Load().realms
	w.u(uint64(len(realms)))
	for _, r := range slices.Sorted(maps.Keys(realms)) {
		w.u(uint64(r))
		w.i(realms[r].arriving.Load())
	}
}
