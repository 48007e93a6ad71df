package flowmask

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// tableModel is the golden table: a list of entries, searched from the front, keyed by the text of selected bits.
type tableModel struct {
	mask    modelMask
	entries []modelEntry
}

type modelEntry struct {
	flow  modelFlow
	value int
}

func (t *tableModel) find(f modelFlow) int {
	text, ok := t.mask.selected(f)
	if !ok {
		return -1
	}
	for i, e := range t.entries {
		if other, _ := t.mask.selected(e.flow); other == text {
			return i
		}
	}
	return -1
}

// TestTableStateMachine runs random operations on a table and on the model.
func TestTableStateMachine(t *testing.T) { rapid.Check(t, tableMachine) }

// FuzzTable is TestTableStateMachine as a fuzz target.
func FuzzTable(f *testing.F) { f.Fuzz(rapid.MakeFuzz(tableMachine)) }

// tableMachine runs operations on a table and on the model, and compares after each.
func tableMachine(t *rapid.T) {
	model := &tableModel{mask: genMask(t, 40)}
	table := NewTable[int](model.mask.build(), [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "key")))
	next := 0
	draw := func(t *rapid.T) modelFlow {
		if len(model.entries) > 0 && rapid.Bool().Draw(t, "known") {
			return rapid.SampledFrom(model.entries).Draw(t, "entry").flow
		}
		return genFlow(t, genFamily(t, model.mask), true)
	}
	t.Repeat(map[string]func(*rapid.T){
		"insert": func(t *rapid.T) {
			f := draw(t)
			next++
			err := table.Insert(f.build(), next)
			_, keyed := model.mask.selected(f)
			switch i := model.find(f); {
			case !keyed:
				require.ErrorIs(t, err, ErrNoKey)
			case i >= 0:
				var e *DuplicateError
				require.ErrorAs(t, err, &e)
				require.ErrorIs(t, err, ErrDuplicate)
				require.Equal(t, model.entries[i].flow.build(), e.Have)
				require.Equal(t, f.build(), e.New)
				require.Equal(t, table.Mask(), e.Mask)
			default:
				require.NoError(t, err)
				model.entries = append(model.entries, modelEntry{f, next})
			}
		},
		"replace": func(t *rapid.T) {
			f := draw(t)
			next++
			had, err := table.Replace(f.build(), next)
			if _, keyed := model.mask.selected(f); !keyed {
				require.ErrorIs(t, err, ErrNoKey)
				return
			}
			require.NoError(t, err)
			i := model.find(f)
			require.Equal(t, i >= 0, had)
			if i >= 0 {
				model.entries[i] = modelEntry{f, next}
			} else {
				model.entries = append(model.entries, modelEntry{f, next})
			}
		},
		"delete": func(t *rapid.T) {
			f := draw(t)
			v, ok := table.Delete(f.build())
			i := model.find(f)
			require.Equal(t, i >= 0, ok)
			if i >= 0 {
				require.Equal(t, model.entries[i].value, v)
				last := len(model.entries) - 1
				model.entries[i] = model.entries[last]
				model.entries = model.entries[:last]
			}
		},
		"lookup": func(t *rapid.T) {
			f := draw(t)
			v, ok := table.Lookup(f.build())
			i := model.find(f)
			require.Equal(t, i >= 0, ok)
			if i >= 0 {
				require.Equal(t, model.entries[i].value, v)
			}
		},
		"rebuild": func(t *rapid.T) {
			m := genMask(t, 60)
			if rapid.IntRange(0, 3).Draw(t, "set") == 0 {
				err := table.SetMask(m.build())
				if len(model.entries) > 0 {
					require.ErrorIs(t, err, ErrNotEmpty)
				} else {
					require.NoError(t, err)
					model.mask = m
				}
				return
			}
			after := &tableModel{mask: m}
			clash := false
			for _, e := range model.entries {
				if _, keyed := m.selected(e.flow); !keyed || after.find(e.flow) >= 0 {
					clash = true
					break
				}
				after.entries = append(after.entries, e)
			}
			err := table.Rebuild(m.build())
			require.Equal(t, clash, err != nil)
			if !clash {
				model.mask, model.entries = m, after.entries
			}
		},
		"flush": func(t *rapid.T) {
			if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
				table.Flush()
				model.entries = nil
			}
		},
		"": func(t *rapid.T) {
			require.Equal(t, len(model.entries), table.Len())
			i := 0
			for f, v := range table.All() {
				require.Equal(t, model.entries[i].flow.build(), f)
				require.Equal(t, model.entries[i].value, v)
				i++
			}
			require.Equal(t, len(model.entries), i)
			used := 0
			for _, s := range table.slots {
				if s != 0 {
					used++
				}
			}
			require.Equal(t, table.Len(), used, "one slot for each entry")
			for _, e := range model.entries {
				v, ok := table.Lookup(e.flow.build())
				require.True(t, ok, "an entry is out of reach")
				require.Equal(t, e.value, v)
			}
		},
	})
}

// TestTableFillAndEmpty fills a table far beyond its first sizes and frees single entries among live ones.
func TestTableFillAndEmpty(t *testing.T) {
	mask := MustParseMask(reportMask, reportFields)
	table := NewTable[int](mask, [16]byte{3})
	flows := reportInstances()
	for i, f := range flows {
		require.NoError(t, table.Insert(f, i))
	}
	for step := range 3 {
		for i := step; i < len(flows); i += 3 {
			v, ok := table.Delete(flows[i])
			require.True(t, ok)
			require.Equal(t, i, v)
		}
		for i, f := range flows {
			v, ok := table.Lookup(f)
			require.Equal(t, i%3 > step, ok)
			if ok {
				require.Equal(t, i, v)
			}
		}
	}
	require.Zero(t, table.Len())
	for _, s := range table.slots {
		require.Zero(t, s, "a slot is left")
	}
}

// TestTableEqualHashes: flows whose hashes are equal are still told apart, by every single bit.
func TestTableEqualHashes(t *testing.T) {
	for _, six := range []bool{false, true} {
		mask := FullMask(AllFields, six)
		f := reportFlows(1, six)[0]
		for _, x := range inputBits(six) {
			table := NewTable[int](mask, [16]byte{1})
			require.NoError(t, table.Insert(f, 1))
			v := [5]uint64{f.a, f.b, f.c, f.d, f.w}
			v[x/64] ^= 1 << (x % 64)
			other := Flow{v[0], v[1], v[2], v[3], v[4]}
			// The entry of f is filed under the hash of the other flow.
			clear(table.slots)
			table.place(table.tag(&other)<<32 | 1)
			_, ok := table.Lookup(other)
			require.False(t, ok, "bit %d", x)
		}
	}
}

// TestTableRebuildReports: all collisions are named, up to the bound, and nothing has changed.
func TestTableRebuildReports(t *testing.T) {
	table := NewTable[int](MustParseMask("255.255.255.255", "src-ip"), [16]byte{})
	for i := range 3 {
		f, err := ParseFlow(fmt.Sprintf("10.0.0.%d", i), SrcIP)
		require.NoError(t, err)
		require.NoError(t, table.Insert(f, i))
	}
	err := table.Rebuild(MustParseMask("255.255.255.0", "src-ip"))
	require.ErrorIs(t, err, ErrDuplicate)
	require.Contains(t, err.Error(), "10.0.0.0 and 10.0.0.1 are one key under mask 255.255.255.0")
	require.Contains(t, err.Error(), "10.0.0.0 and 10.0.0.2")
	require.Equal(t, 3, table.Len())
	require.Equal(t, "255.255.255.255", table.Mask().String())
	require.ErrorIs(t, table.SetMask(Mask{}), ErrNotEmpty)
	require.NoError(t, table.Rebuild(MustParseMask("0.0.0.255", "src-ip")))
	table.Flush()
	require.NoError(t, table.SetMask(Mask{}))
	require.NoError(t, table.Rebuild(Mask{}))

	var zero Table[int]
	_, ok := zero.Lookup(reportFlows(1, false)[0])
	require.False(t, ok)
	require.NoError(t, zero.Insert(reportFlows(1, false)[0], 1))
	require.ErrorIs(t, zero.Insert(reportFlows(2, false)[1], 1), ErrDuplicate)
	for range zero.All() {
		break
	}
}

// TestAllocatesNothing is the table of calls on the way of a packet.
func TestAllocatesNothing(t *testing.T) {
	mask := MustParseMask(reportMask, reportFields)
	table := NewTable[uint32](mask, [16]byte{1})
	class := NewClassifier[uint32]([16]byte{1})
	six := reportFlows(1, true)[0]
	flow := reportFlows(1, false)[0]
	require.NoError(t, table.Insert(flow, 1))
	require.NoError(t, class.Insert(Rule[uint32]{Mask: mask, Flow: flow}))
	require.NoError(t, class.Insert(Rule[uint32]{Number: 1}.anywhere(six)))
	x, err := NewIndex(mask)
	require.NoError(t, err)
	spread, err := NewSpread([16]byte{}, Instance{"a", 1}, Instance{"b", 2})
	require.NoError(t, err)
	h := NewHasher([16]byte{2})
	reply := mustReply(t, mask)
	buf := make([]byte, 0, 256)
	external := flow.Src()
	for name, call := range map[string]func(){
		"FlowFrom4":         func() { flow = FlowFrom4(0, 6, [4]byte{1}, [4]byte{2}, 1, 2) },
		"NewFlow":           func() { flow = NewFlow(0, 6, addrPort(flow.Src(), 1), addrPort(flow.Dst(), 2)) },
		"FlowFrom16":        func() { six = FlowFrom16(0, 6, [16]byte{1}, [16]byte{2}, 1, 2) },
		"Reverse":           func() { flow = flow.Reverse() },
		"ReplyFlow":         func() { flow = ReplyFlow(flow, addrPort(external, 1)) },
		"Apply":             func() { sink += mask.Apply(flow).a },
		"Check":             func() { _ = mask.Check(flow) },
		"Apply of a reply":  func() { sink += reply.Apply(flow).a },
		"Table.Lookup":      func() { table.Lookup(flow) },
		"Table.Lookup six":  func() { table.Lookup(six) },
		"Table.Replace":     func() { _, _ = table.Replace(flow, 2) },
		"Classifier.Lookup": func() { class.Lookup(flow) },
		"Classifier.Match":  func() { class.Match(six) },
		"Index.Of":          func() { x.Of(flow) },
		"Index.Flow":        func() { flow = x.Flow(77) },
		"Spread.Pick":       func() { spread.Pick(mask.Apply(flow)) },
		"Spread.Name":       func() { _ = spread.Name(mask.Apply(flow)) },
		"Hasher":            func() { sink += h.Flow(six) + h.Symmetric(flow) + h.Key(mask.Apply(flow)) },
		"Mask.AppendTo":     func() { buf = mask.AppendTo(buf[:0]) },
		"Flow.AppendTo":     func() { buf = flow.AppendTo(buf[:0], AllFields) },
	} {
		if n := testing.AllocsPerRun(100, call); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
