package deterministic

// Stats counts every port of the map's external addresses once:
// Reserved + Assigned + Dynamic + Empty + Remainder = Ports.
type Stats struct {
	Subscribers uint64 // internal subscribers
	Capacity    uint64 // subscribers that the external addresses have slots for
	Externals   uint64 // external addresses
	MinPorts    int    // smallest set of a subscriber slot
	MaxPorts    int    // largest set of a subscriber slot

	Ports     uint64 // all ports: Externals * 65536
	Reserved  uint64 // reserved ports
	Assigned  uint64 // ports of subscribers
	Dynamic   uint64 // ports of the dynamic ranges
	Empty     uint64 // ports of slots that have no subscriber
	Remainder uint64 // ports that the division leaves to nobody
}

// Stats counts subscribers and ports. It walks the 65536 ports of one address
// and, where slots differ in size and subscribers are placed at random, the
// subscribers or the empty slots, whichever are fewer.
func (m *Map) Stats() Stats {
	s := Stats{
		Subscribers: m.in.total,
		Externals:   m.ext.total,
		Capacity:    m.Capacity(),
		Ports:       m.ext.total * 65536,
	}
	s.MinPorts, s.MaxPorts = m.sizes()
	perAddress := m.plan.count()
	s.Reserved = s.Externals * perAddress[classReserved]
	s.Dynamic = s.Externals * perAddress[classDynamic]
	s.Remainder = s.Externals * perAddress[classLeft]
	s.Assigned = m.assigned(perAddress[classSlot])
	s.Empty = s.Ports - s.Reserved - s.Dynamic - s.Remainder - s.Assigned
	return s
}

// PortsPerSubscriber returns P, the ports that each subscriber has at least, on
// all its addresses together.
func (m *Map) PortsPerSubscriber() int {
	least, _ := m.sizes()
	return least
}

// count returns the number of ports of each class on one address.
func (p *plan) count() (n [4]uint64) {
	for port := range 65536 {
		_, cl := p.locate(uint16(port))
		n[cl]++
	}
	return n
}

// dynamicPorts returns the size of the dynamic range of one address.
func (m *Map) dynamicPorts() uint64 {
	p := &m.plan
	switch {
	case p.shape == shapeBlock:
		return uint64(p.tail)
	case p.shape == shapeStepped:
		return uint64(p.tail + p.d*p.p)
	case p.d == 0 && !p.leftoverDynamic:
		return 0
	}
	return p.count()[classDynamic]
}

// length returns the number of ports of a slot on all its addresses.
func (m *Map) length(slot uint32) int {
	switch {
	case m.group == 1:
		return int(m.plan.size(slot))
	case m.cfg.Algorithm == Interlaced:
		return int(m.plan.p)
	}
	return int(m.plan.size(slot)) * int(m.group)
}

// sizes returns the smallest and the largest set of a slot.
func (m *Map) sizes() (least, most int) {
	switch m.plan.shape {
	case shapeBlock, shapeStepped:
		return m.length(m.plan.c - 1), m.length(0)
	}
	least = 65536
	for slot := range m.plan.c {
		n := m.length(slot)
		least, most = min(least, n), max(most, n)
	}
	return least, most
}

// assigned counts the ports of subscribers, given those of all slots of one
// address.
func (m *Map) assigned(perAddress uint64) uint64 {
	full, part := divmod(m.in.total, m.slots) // groups full of subscribers, and the rest
	if m.plan.shape <= shapeStepped && m.plan.x == 0 {
		return m.in.total * uint64(m.length(0))
	}
	if m.perm == nil {
		n := full * perAddress // x > 0 and uneven sizes occur in paired maps only
		for slot := range part {
			n += uint64(m.length(uint32(slot)))
		}
		return n
	}
	first, end, all := uint64(0), m.in.total, uint64(0)
	if empty := m.Capacity() - m.in.total; empty < m.in.total {
		first, end, all = m.in.total, m.Capacity(), m.ext.total*perAddress
	}
	n := uint64(0)
	for i := first; i < end; i++ {
		n += uint64(m.length(m.ports(i).slot))
	}
	if all > 0 {
		return all - n
	}
	return n
}
