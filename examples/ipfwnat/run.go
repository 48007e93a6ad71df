package main

import (
	"encoding/binary"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/examples/internal/cli"
	"github.com/blocknat/blocknat/examples/ipfwnat/internal/proof"
	"github.com/blocknat/blocknat/flowmask"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
)

const poolName = "ipfw"

// begin is when the simulated time begins.
var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Idle times and rests: the engine's defaults, by which the proof measures.
var times = proof.Times{
	UDP: 300 * time.Second, TCPOpening: 240 * time.Second, TCPEstablished: 7440 * time.Second, TCPClosing: 240 * time.Second,
	HoldDown: portblock.DefaultHoldDown,
}

// config is the engine's configuration that follows from the script.
func config(o options, s *scheme, log logging.Log) natcore.Config {
	pool := natcore.PoolConfig{
		Name:    poolName,
		Blocks:  portblock.Config{BlockSize: o.block, Ports: o.usable, Order: o.order},
		Select:  s.out.Only(flowmask.SrcIP),
		Remotes: s.out.Only(flowmask.DstIP | flowmask.DstPort),
	}
	// The engine takes the i-th address for the i-th group, so they are listed in that order.
	for _, a := range s.addresses {
		r, _ := alloc.RangeOf(a, a) // one valid address is always a range
		pool.Addresses = append(pool.Addresses, r)
	}
	if pool.Remotes.Ones() == 0 {
		pool.Remotes = flowmask.Mask{}
	}
	return natcore.Config{
		Seed: o.key(), Pools: []natcore.PoolConfig{pool}, Log: log,
		Rules: []natcore.Rule{{Internal: o.internal, Pool: poolName}},
		// Each class of a client counts as a subscriber.
		Limits: natcore.Limits{Subscribers: 2 * o.clients * s.remotes.Len()},
	}
}

// A player runs flows through the engine and shows both sides of it to the proof.
type player struct {
	scheme *scheme
	world  *world
	engine *natcore.Engine
	proof  *proof.Proof // once observer has finished
	shown  *observer
	flows  []flow
	wheel  [][]uint32 // by second: flows whose next step is due
	ms     int32
	second int32 // of the steps under way

	b, before []byte // scratch of a packet

	packets   [2]int // translated, by direction
	strangers [2]int // packets that nobody asked for: delivered, dropped
	refused   map[natcore.Reason]int
	agreed    [2]int          // lookups in flowmask's tables: cases, violations
	retired   map[uint32]bool // addresses that clients had before they moved
	inEngine  time.Duration
	sessions  sessionLog
	corrupt   func(outbound bool, b []byte) // of tests: changes a translated packet
	sharpness int                           // every so many calls are timed
	calls     int
}

// simulate plays the clients, and proves the result.
func simulate(o options, s *scheme, bar *cli.Progress) (*report, error) {
	wall := time.Now()
	p, r, err := simulateWith(o, s, bar, nil, nil)
	if err != nil {
		return nil, err
	}
	r.measure(p)
	r.Wall = time.Since(wall)
	return r, nil
}

// simulateWith is simulate without measurements and with damage between engine and proof, for
// tests: to packets, to records.
func simulateWith(o options, s *scheme, bar *cli.Progress, corrupt func(bool, []byte), spoil func([]byte) []byte) (*player, *report, error) {
	rules, err := proof.ReadRules(s.text, o.outTable, o.inTable)
	if err != nil {
		return nil, nil, err
	}
	p := &player{
		scheme: s, proof: proof.New(rules, times, begin), corrupt: corrupt, sharpness: 16,
		refused: map[natcore.Reason]int{}, retired: map[uint32]bool{},
	}
	if _, err := natcore.New(config(o, s, logging.Discard), begin); err != nil {
		return nil, nil, err
	}
	var file *os.File
	if o.records != "" {
		if file, err = os.Create(o.records); err != nil {
			return nil, nil, err
		}
		defer file.Close()
	}
	p.shown = observe(p.proof)
	var lines io.Writer = p.shown
	if spoil != nil {
		lines = spoiler{lines, spoil}
	}
	if file != nil {
		lines = io.MultiWriter(file, lines)
	}
	log := logging.NewWriter(lines, logging.JSON{})
	p.engine, _ = natcore.New(config(o, s, log), begin) // the same configuration was accepted above
	seed := o.key()
	seed[0] ^= 1 // the engine's own choices and the traffic have nothing in common
	p.world = newWorld(o, seed, s.addresses)
	p.play(o, bar)
	p.shown.finish()
	bar.Done()
	return p, p.report(o, log.Stats()), nil
}

// A spoiler damages what is written.
type spoiler struct {
	w     io.Writer
	spoil func([]byte) []byte
}

func (s spoiler) Write(b []byte) (int, error) {
	_, err := s.w.Write(s.spoil(b))
	return len(b), err
}

// out sends a packet from a client through the engine, and returns where it seems to come from.
func (p *player) out(f *flow, flags byte) (seen end, reason natcore.Reason) {
	sv := &p.world.services[f.service]
	seq, ack := numbers(flags, isnOut, isnBack)
	p.b = appendPacket(p.b[:0], sv.proto, end{f.client, f.port}, end{sv.addr, sv.port}, seq, ack, flags)
	p.before = append(p.before[:0], p.b...)
	verdict, reason := p.timed(p.engine.Outbound)
	if verdict != natcore.Forward {
		if f.external.addr != 0 {
			p.shown.event(eventLostOut, p.ms, p.before, []byte(reason.String()))
		}
		return end{}, reason
	}
	if p.corrupt != nil {
		p.corrupt(true, p.b)
	}
	p.packets[natcore.Outbound]++
	p.shown.event(eventOut, p.ms, p.before, p.b)
	return source(p.b), natcore.ReasonNone
}

// answer sends a packet from a flow's service to the endpoint where the flow seems to come from.
func (p *player) answer(f *flow, flags byte) {
	sv := &p.world.services[f.service]
	seq, ack := numbers(flags, isnBack, isnOut)
	p.b = appendPacket(p.b[:0], sv.proto, end{sv.addr, sv.port}, f.external, seq, ack, flags)
	p.before = append(p.before[:0], p.b...)
	verdict, reason := p.timed(p.engine.Inbound)
	if verdict != natcore.Forward {
		p.shown.event(eventLostIn, p.ms, p.before, []byte(reason.String()))
		return
	}
	if p.corrupt != nil {
		p.corrupt(false, p.b)
	}
	p.packets[natcore.Inbound]++
	p.shown.event(eventIn, p.ms, p.before, p.b)
}

// stranger sends a UDP packet from anywhere to the external endpoint of a flow. natin says
// which instance it belongs to: that of who has the port in the stranger's class, if anybody.
func (p *player) stranger(f *flow) {
	from := end{p.world.publicAddress(), uint16(1024 + p.world.rnd.IntN(64000))}
	p.b = appendPacket(p.b[:0], udp, from, f.external, 0, 0, 0)
	p.before = append(p.before[:0], p.b...)
	verdict, _ := p.timed(p.engine.Inbound)
	if verdict != natcore.Forward {
		p.strangers[1]++
		p.shown.event(eventStranger, p.ms, p.before, nil)
		return
	}
	if p.corrupt != nil {
		p.corrupt(false, p.b)
	}
	p.strangers[0]++
	p.shown.event(eventStranger, p.ms, p.before, p.b)
	p.compare(end{binary.BigEndian.Uint32(p.b[16:]), binary.BigEndian.Uint16(p.b[22:])}, service{from.addr, from.port, udp}, f.external)
}

// timed calls the engine, and measures some of the calls.
func (p *player) timed(call func([]byte, time.Time) (natcore.Verdict, natcore.Reason)) (natcore.Verdict, natcore.Reason) {
	now := begin.Add(time.Duration(p.ms) * time.Millisecond)
	p.calls++
	if p.calls%p.sharpness != 0 {
		return call(p.b, now)
	}
	t := time.Now()
	v, r := call(p.b, now)
	p.inEngine += time.Since(t)
	return v, r
}

// consult asks flowmask's tables about a flow: the instance of the request must have the
// external address that the engine chose, and the answer must find the same instance.
func (p *player) consult(f *flow) {
	p.compare(end{f.client, f.port}, p.world.services[f.service], f.external)
}

func (p *player) compare(client end, sv service, at end) {
	request := flowmask.NewFlow(0, sv.proto, netip.AddrPortFrom(addr4(client.addr), client.port), netip.AddrPortFrom(addr4(sv.addr), sv.port))
	external := netip.AddrPortFrom(addr4(at.addr), at.port)
	out, ok := p.scheme.outTable.Lookup(request)
	in, ok2 := p.scheme.inTable.Lookup(flowmask.ReplyFlow(request, external))
	p.agreed[0]++
	if !ok || !ok2 || in != out || p.scheme.nats[out] != external.Addr() {
		p.agreed[1]++
	}
}
