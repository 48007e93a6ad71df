package mapping

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// flowModel is a list of flows, right by reading.
type flowModel struct {
	flows []modelFlow
	now   int64
	short int64 // idle time of UDP in class 2, in ms
}

type modelFlow struct {
	in, out     Header
	policy      FlowPolicy
	seen        int64
	answered    bool
	owner, note uint32
	class       uint8
}

func (m *flowModel) find(h Header) (i int, answer bool) {
	for i, f := range m.flows {
		if f.in == h {
			return i, false
		}
		if f.out.Reverse() == h {
			return i, true
		}
	}
	return -1, false
}

func (m *flowModel) over(i int) bool {
	f := &m.flows[i]
	idle := map[uint8]int64{17: 300000, 1: 60000, 47: 200000}[f.in.Proto]
	if f.class == 2 && f.in.Proto == 17 {
		idle = m.short
	}
	if f.policy&Unsolicited != 0 && !f.answered {
		idle = min(idle, 30000)
	}
	return m.now-f.seen >= idle
}

func (m *flowModel) remove(i int) modelFlow {
	f := m.flows[i]
	m.flows = append(m.flows[:i:i], m.flows[i+1:]...)
	return f
}

// TestFlowsAgainstModel: random flows of protocols without states, compared with a list after each step.
func TestFlowsAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		began := time.UnixMilli(1_700_000_000_000)
		idle := Timeouts{UDP: 300 * time.Second, ICMP: 60 * time.Second}
		f := NewFlows(idle, 200*time.Second, began)
		m := &flowModel{}
		shorten := func(short int64) {
			m.short = short
			f.SetTimeouts(idle, 200*time.Second, idle, Timeouts{UDP: time.Duration(short) * time.Millisecond, ICMP: idle.ICMP})
		}
		shorten(10000)
		tick := func() Tick { return f.Advance(began.Add(time.Duration(m.now) * time.Millisecond)) }
		header := rapid.Custom(func(t *rapid.T) Header {
			return Header{
				Src: uint32(rapid.IntRange(1, 3).Draw(t, "src")), Dst: uint32(rapid.IntRange(1, 3).Draw(t, "dst")),
				SrcPort: uint16(rapid.IntRange(0, 2).Draw(t, "sport")), Realm: uint16(rapid.IntRange(0, 1).Draw(t, "realm")),
				Proto: rapid.SampledFrom([]uint8{1, 17, 47}).Draw(t, "proto"), External: rapid.Bool().Draw(t, "external"),
			}
		})
		rt.Repeat(map[string]func(*rapid.T){
			"open": func(t *rapid.T) {
				in, out := header.Draw(t, "in"), header.Draw(t, "out")
				out.Proto = in.Proto
				policy := FlowPolicy(rapid.IntRange(0, 3).Draw(t, "policy"))
				w := Flow{In: in, Out: out, Owner: uint32(len(m.flows)), Note: 7, Idle: uint8(rapid.IntRange(0, 2).Draw(t, "class"))}
				i, _ := m.find(in)
				j, _ := m.find(out.Reverse())
				free := i < 0 && j < 0 && in != out.Reverse()
				require.Equal(t, i >= 0, f.Taken(in))
				require.Equal(t, free, f.Open(&w, policy, &Segment{}, tick()))
				if free {
					m.flows = append(m.flows, modelFlow{in: in, out: out, policy: policy, seen: m.now, owner: w.Owner, note: w.Note, class: w.Idle})
				}
			},
			"pass": func(t *rapid.T) {
				h := header.Draw(t, "header")
				i, answer := m.find(h)
				want, ok := Header{}, i >= 0 && !m.over(i)
				if ok {
					want = m.flows[i].out
					if answer {
						want = m.flows[i].in.Reverse()
					}
				}
				peeked, _, there := f.Peek(h, tick())
				require.Equal(t, []any{want, ok}, []any{peeked, there})
				out, owner, known := f.Pass(h, &Segment{}, tick())
				require.Equal(t, []any{want, ok}, []any{out, known})
				if !ok {
					return
				}
				w := &m.flows[i]
				require.Equal(t, w.owner, owner)
				w.answered = w.answered || answer
				if !answer || w.policy&RefreshByAnswers != 0 {
					w.seen = m.now
				}
			},
			"close": func(t *rapid.T) {
				h := header.Draw(t, "header")
				i, _ := m.find(h)
				if i >= 0 && rapid.Bool().Draw(t, "only if over") {
					_, ok := f.CloseOver(h, tick())
					require.Equal(t, m.over(i), ok)
					if ok {
						m.remove(i)
					}
					return
				}
				w, ok := f.Close(h)
				require.Equal(t, i >= 0, ok)
				if ok {
					gone := m.remove(i)
					require.Equal(t, []any{gone.in, gone.out, gone.owner, gone.note}, []any{w.In, w.Out, w.Owner, w.Note})
				}
			},
			"wait": func(t *rapid.T) {
				m.now += rapid.SampledFrom([]int64{1, 10000, 29999, 60000, 200000, 86400000}).Draw(t, "ms")
			},
			"timeouts": func(t *rapid.T) {
				shorten(rapid.SampledFrom([]int64{10000, 29999, 400000}).Draw(t, "short"))
			},
			"classify": func(t *rapid.T) { // all flows from one address are of class 2
				src := uint32(rapid.IntRange(1, 3).Draw(t, "src"))
				f.Classify(func(in Header) uint8 {
					if in.Src == src {
						return 2
					}
					return 1
				})
				for i := range m.flows {
					m.flows[i].class = 1
					if m.flows[i].in.Src == src {
						m.flows[i].class = 2
					}
				}
			},
			"expire": func(t *rapid.T) {
				over := map[Header]bool{}
				for i := len(m.flows) - 1; i >= 0; i-- {
					if m.over(i) {
						over[m.remove(i).in] = true
					}
				}
				var ended []Flow
				for round := false; !round; {
					ended, round = f.Expire(tick(), 100, ended)
				}
				require.Len(t, ended, len(over))
				for _, w := range ended {
					require.True(t, over[w.In])
				}
			},
			"": func(t *rapid.T) {
				require.NoError(t, f.CheckInvariants())
				require.Equal(t, len(m.flows), f.Len())
				var all []Flow
				for part := 0; part >= 0; {
					all, part = f.Append(all, part)
				}
				require.Len(t, all, len(m.flows))
				for _, w := range all {
					i, answer := m.find(w.In)
					require.False(t, i < 0 || answer)
					require.Equal(t, []any{m.flows[i].answered, m.flows[i].class}, []any{w.Answered, w.Idle})
				}
			},
		})
	})
}

// TestFlowsGrow: a hundred thousand flows are found, each by both of its headers, and their slots are used again.
func TestFlowsGrow(t *testing.T) {
	f := NewFlows(Timeouts{UDP: time.Second}, time.Second, time.UnixMilli(1))
	open := func(base uint32) {
		for i := range uint32(100_000) {
			in := Header{Src: base + i, Dst: 1, SrcPort: 5, DstPort: 6, Proto: 17, External: true}
			out := Header{Src: base + i, Dst: 2, SrcPort: 5, DstPort: 7, Proto: 17, Realm: 3}
			require.True(t, f.Open(&Flow{In: in, Out: out}, 0, &Segment{}, 0))
			got, _, ok := f.Pass(out.Reverse(), &Segment{}, 0)
			require.True(t, ok && got == in.Reverse())
		}
	}
	open(0)
	require.NoError(t, f.CheckInvariants())
	slots := len(f.slots)
	for round := false; !round; {
		_, round = f.Expire(1000, 5000, nil)
	}
	require.Zero(t, f.Len())
	open(1 << 20)
	require.Len(t, f.slots, slots)
	require.NoError(t, f.CheckInvariants())
}

// TestFlowSize holds the documented sizes.
func TestFlowSize(t *testing.T) {
	require.EqualValues(t, 56, unsafe.Sizeof(flow{}))
	require.EqualValues(t, 16, unsafe.Sizeof(flowKey{}))
}

// TestFlowsClock: a long pause ends all flows, and the clock never runs back.
func TestFlowsClock(t *testing.T) {
	began := time.UnixMilli(0)
	f := NewFlows(Timeouts{UDP: MaxIdle}, time.Second, began)
	in := Header{Src: 1, Dst: 2, Proto: 17}
	require.True(t, f.Open(&Flow{In: in, Out: Header{Src: 3, Dst: 2, Proto: 17}}, 0, &Segment{}, f.Advance(began)))
	require.Equal(t, Tick(5000), f.Advance(began.Add(5*time.Second)))
	require.Equal(t, Tick(5000), f.Advance(began))
	_, _, ok := f.Pass(in, &Segment{}, f.Advance(began.Add(1000*24*time.Hour)))
	require.False(t, ok)
}
