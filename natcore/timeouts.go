package natcore

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/blocknat/blocknat/mapping"
	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/portblock"
)

// PortTimeout is an idle time for the sessions with some destination ports, those of the remote end.
type PortTimeout struct {
	// Protocol is 6 (TCP) or 17 (UDP).
	Protocol uint8
	// Ports are the destination ports.
	Ports portblock.Range
	// Idle is the idle time: of UDP at least 120 s, but for ports up to 1023, where it is at least 1 s (RFC 4787 REQ-5a); of
	// established TCP connections at least 7440 s (RFC 5382 REQ-5). Timeouts.AllowShort lifts both.
	Idle time.Duration
}

// maxPortTimeouts is what the table's classes leave room for.
const maxPortTimeouts = mapping.IdleClasses - 1

// complete fills in defaults and checks.
func (t *Timeouts) complete(f *faults) {
	for _, v := range []struct {
		name                 string
		value                *time.Duration
		def, least, shortest time.Duration
		source               string
	}{
		{"UDP", &t.UDP, 300 * time.Second, leastUDP, time.Second, "RFC 4787 REQ-5"},
		{"ICMP", &t.ICMP, 60 * time.Second, 60 * time.Second, time.Second, "RFC 5508 REQ-2"},
		{"TCPEstablished", &t.TCPEstablished, leastTCP, leastTCP, time.Second, "RFC 5382 REQ-5"},
		{"TCPOpening", &t.TCPOpening, 240 * time.Second, time.Second, time.Second, "RFC 7857 section 2.1"},
		{"TCPClosing", &t.TCPClosing, 240 * time.Second, 240 * time.Second, time.Second, "RFC 7857 section 2.1"},
		{"Other", &t.Other, 300 * time.Second, 120 * time.Second, time.Second, "as RFC 4787 REQ-5"},
		{"Fragment", &t.Fragment, 10 * time.Second, 2 * time.Second, 2 * time.Second, "RFC 6146 section 4"},
	} {
		if *v.value == 0 {
			*v.value = v.def
		}
		t.check(f, "Timeouts."+v.name, *v.value, v.least, v.shortest, v.source)
	}
	t.completePorts(f)
}

// The least idle times that the RFCs allow.
const (
	leastUDP = 120 * time.Second
	leastTCP = 7440 * time.Second
)

// check reports an idle time that is out of bounds.
func (t *Timeouts) check(f *faults, path string, value, least, shortest time.Duration, source string) {
	hint := "; AllowShort lifts this in a laboratory"
	if t.AllowShort || least == shortest {
		least, hint = shortest, ""
	}
	if value < least {
		f.add(path, value, fmt.Sprintf("must be at least %v (%s)%s", least, source, hint))
	}
	if value > mapping.MaxIdle {
		f.add(path, value, fmt.Sprintf("must be at most %v", mapping.MaxIdle))
	}
}

func (t *Timeouts) completePorts(f *faults) {
	t.Ports = slices.Clone(t.Ports)
	if n := len(t.Ports); n > maxPortTimeouts {
		f.add("Timeouts.Ports", n, fmt.Sprintf("must be at most %d: put ports that are side by side together", maxPortTimeouts))
		return
	}
	for i := range t.Ports {
		v, path := &t.Ports[i], fmt.Sprintf("Timeouts.Ports[%d].", i)
		if !v.Ports.IsValid() {
			f.add(path+"Ports", v.Ports, "must not be empty")
			continue
		}
		switch {
		case v.Protocol == rewrite.ProtoUDP && v.Ports.Last() < 1024:
			t.check(f, path+"Idle", v.Idle, time.Second, time.Second, "RFC 4787 REQ-5a")
		case v.Protocol == rewrite.ProtoUDP:
			t.check(f, path+"Idle", v.Idle, leastUDP, time.Second, "RFC 4787 REQ-5, for ports above 1023")
		case v.Protocol == rewrite.ProtoTCP:
			t.check(f, path+"Idle", v.Idle, leastTCP, time.Second, "RFC 5382 REQ-5")
		default:
			f.add(path+"Protocol", v.Protocol, "must be TCP (6) or UDP (17)")
		}
		t.checkVain(f, i)
	}
}

// table returns the times as the table takes them: of all sessions, and of those of each of Ports.
func (t *Timeouts) table(refreshInbound bool) (idle mapping.Timeouts, classes []mapping.Timeouts) {
	idle = mapping.Timeouts{
		UDP: t.UDP, ICMP: t.ICMP, TCPOpening: t.TCPOpening, TCPEstablished: t.TCPEstablished, TCPClosing: t.TCPClosing,
		RefreshInbound: refreshInbound,
	}
	for _, v := range t.Ports {
		c := idle
		c.UDP, c.TCPEstablished = v.Idle, v.Idle
		classes = append(classes, c)
	}
	return idle, classes
}

// class returns the class of a session's idle times: 1 + the first of Ports that has its destination port, or 0.
func (t *Timeouts) class(space portblock.Space, remote mapping.Endpoint) uint8 {
	for i := range t.Ports {
		if v := &t.Ports[i]; v.Protocol == protocols[space] && v.Ports.Contains(remote.Port) {
			return uint8(i + 1)
		}
	}
	return 0
}

// SetTimeouts changes the idle times, of live sessions too: a session ends when it has been idle for the time that holds then. Zero
// fields mean the default, as in Config; the errors are those of New, and then nothing has changed. A datagram that is
// followed keeps its time. Where Ports changes, each shard's packets wait while its sessions are looked through.
func (e *Engine) SetTimeouts(t Timeouts, now time.Time) error {
	var f faults
	given := t
	if t.complete(&f); len(f) > 0 {
		return errors.Join(f...)
	}
	e.statics.change.Lock() // one change at a time
	defer e.statics.change.Unlock()
	e.given.Timeouts = given
	e.sweep.mu.Lock()
	defer e.sweep.mu.Unlock()
	now = e.advance(now)
	alike := samePorts(e.timeouts.Load().Ports, t.Ports)
	e.timeouts.Store(&t)
	idle, classes := t.table(e.cfg.RefreshInbound)
	for _, s := range e.shards {
		s.mu.Lock()
		s.advance(now)
		s.table.SetTimeouts(idle, classes...)
		if !alike {
			s.table.Classify(t.class)
		}
		s.mu.Unlock()
	}
	e.statics.setTimeouts(&t, e.cfg.RefreshInbound, !alike)
	e.frags.mu.Lock()
	e.frags.timeout = t.Fragment
	e.frags.mu.Unlock()
	return nil
}

// samePorts reports whether two lists make the same classes of sessions.
func samePorts(a, b []PortTimeout) bool {
	return slices.EqualFunc(a, b, func(a, b PortTimeout) bool { return a.Protocol == b.Protocol && a.Ports == b.Ports })
}

// flowClass returns the class of a static session's idle times, by the destination port of its first packet as that comes: of one that
// begins inside the remote end's, of one from outside that of the static endpoint.
func (t *Timeouts) flowClass(in mapping.Header) uint8 {
	space, ported := spaceOfProto(in.Proto)
	if !ported || in.Proto == rewrite.ProtoUDPLite {
		return 0
	}
	return t.class(space, mapping.Endpoint{Addr: in.Dst, Port: in.DstPort})
}

// setTimeouts sets the idle times of what is static; classify says that Ports has changed.
func (st *statics) setTimeouts(t *Timeouts, refreshInbound, classify bool) {
	idle, classes := t.table(refreshInbound)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.timeouts = *t
	st.flows.SetTimeouts(idle, t.Other, classes...)
	if classify {
		st.flows.Classify(t.flowClass)
	}
}
