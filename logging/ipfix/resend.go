package ipfix

import "github.com/blocknat/blocknat/logging"

// sendTemplates sends all templates that collectors may know, and the names of
// the pools, in messages of their own. Templates that are first used in the open
// message are in that one.
func (e *Exporter) sendTemplates(now logging.Millis) error {
	e.aux.reset()
	e.aux.time = now
	for s := range shapeCount {
		if e.announced&(1<<s) == 0 {
			continue
		}
		if err := e.auxPut(func(m *message) { m.template(e.ids[s], e.fields[s]) }); err != nil {
			return err
		}
	}
	if len(e.c.Pools) > 0 {
		if e.poolID == 0 {
			e.poolID = e.nextID
			e.nextID++
		}
		if err := e.auxPut(e.optionsTemplate); err != nil {
			return err
		}
		for i := range e.c.Pools {
			if err := e.auxPut(func(m *message) { e.poolName(m, &e.c.Pools[i]) }); err != nil {
				return err
			}
		}
	}
	if e.aux.records > 0 {
		if err := e.write(&e.aux); err != nil {
			return err
		}
	}
	e.resend, e.sentAt, e.sentAgo = false, now, 0
	return nil
}

// auxPut writes one template or options record, in a message of its own where
// it does not fit in the open one.
func (e *Exporter) auxPut(f func(*message)) error {
	before := e.aux
	f(&e.aux)
	if e.aux.size() <= e.c.MTU {
		return nil
	}
	buf := e.aux.buf[:len(before.buf)]
	e.aux = before
	e.aux.buf = buf
	if err := e.write(&e.aux); err != nil {
		return err
	}
	now := e.aux.time
	e.aux.reset()
	e.aux.time = now
	f(&e.aux)
	return nil
}

// optionsTemplate appends the template of pool names. In IPFIX the scope is the
// pool's number; the scopes of NetFlow9 are few, so there it is the system, with
// the source id as value, and number and name are both options.
func (e *Exporter) optionsTemplate(m *message) {
	if m.nf9 {
		m.begin(setOptionsNF9)
		for _, v := range [...]uint16{e.poolID, 4, 8, 1, 4, iePoolID, 4, iePoolName, maxPoolName} {
			m.buf = append16(m.buf, v)
		}
	} else {
		m.begin(setOptionsIPFIX)
		for _, v := range [...]uint16{e.poolID, 2, 1, iePoolID, 4, iePoolName, variable} {
			m.buf = append16(m.buf, v)
		}
	}
	m.records++
	m.close()
}

func (e *Exporter) poolName(m *message, p *Pool) {
	m.open(e.poolID)
	if m.nf9 {
		m.buf = append32(append32(m.buf, e.c.Domain), p.ID)
		m.buf = append(m.buf, p.Name...)
		var zeros [maxPoolName]byte
		m.buf = append(m.buf, zeros[len(p.Name):]...)
	} else {
		m.buf = appendVariable(append32(m.buf, p.ID), p.Name)
	}
	m.records++
	m.data++
}
