package flowmask

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// classRule is a rule of the golden classifier: a list that is walked from its front, as ipfw does.
type classRule struct {
	number uint32
	mask   modelMask
	flow   modelFlow
	value  int
}

// matches reports whether the selected bits agree.
func (r classRule) matches(f modelFlow) bool {
	want, _ := r.mask.selected(r.flow)
	got, ok := r.mask.selected(f)
	return ok && got == want
}

// asksUnknown reports whether the rule selects a bit of a port that f does not know, and could match otherwise by family.
func (r classRule) asksUnknown(f modelFlow) bool {
	if r.mask.addressed() && r.mask.bits.six != f.six {
		return false
	}
	return r.mask.fields["src-port"] && r.mask.bits.sport != 0 && f.sstate == unknown ||
		r.mask.fields["dst-port"] && r.mask.bits.dport != 0 && f.dstate == unknown
}

// TestClassifierAgainstRuleList compares with the list, under inserts and deletes of single rules.
func TestClassifierAgainstRuleList(t *testing.T) { rapid.Check(t, classifierMachine) }

// FuzzClassifier is TestClassifierAgainstRuleList as a fuzz target.
func FuzzClassifier(f *testing.F) { f.Fuzz(rapid.MakeFuzz(classifierMachine)) }

// classifierMachine inserts and deletes rules in a classifier and in the list, and compares after each.
func classifierMachine(t *rapid.T) {
	var list []classRule // in the order of ipfw: by number, then as inserted
	class := NewClassifier[int]([16]byte{5})
	masks := make([]modelMask, rapid.IntRange(1, 5).Draw(t, "masks"))
	for i := range masks {
		masks[i] = genMask(t, 20)
	}
	next := 0
	// flowFor draws a flow that may meet rules: one that a rule has, with another port, or any.
	flowFor := func(t *rapid.T, states bool) modelFlow {
		if len(list) > 0 && rapid.IntRange(0, 3).Draw(t, "near") > 0 {
			f := rapid.SampledFrom(list).Draw(t, "rule").flow
			f.dport, f.dstate = port16.Draw(t, "dport"), present
			return f
		}
		return genFlow(t, rapid.Bool().Draw(t, "six"), states)
	}
	t.Repeat(map[string]func(*rapid.T){
		"insert": func(t *rapid.T) {
			r := classRule{
				number: rapid.Uint32Range(0, 6).Draw(t, "number"), mask: rapid.SampledFrom(masks).Draw(t, "mask"),
				flow: flowFor(t, false),
			}
			next++
			r.value = next
			err := class.Insert(Rule[int]{r.number, r.mask.build(), r.flow.build(), r.value})
			text, keyed := r.mask.selected(r.flow)
			if !keyed {
				require.ErrorIs(t, err, ErrNoKey)
				return
			}
			for _, o := range list {
				other, _ := o.mask.selected(o.flow)
				if o.number == r.number && o.mask.build() == r.mask.build() && other == text {
					require.ErrorIs(t, err, ErrDuplicate)
					return
				}
			}
			require.NoError(t, err)
			at := len(list)
			for at > 0 && list[at-1].number > r.number {
				at--
			}
			list = slices.Insert(list, at, r)
		},
		"delete": func(t *rapid.T) {
			if len(list) == 0 {
				_, ok := class.Delete(0, Mask{}, genFlow(t, false, false).build())
				require.False(t, ok)
				return
			}
			i := rapid.IntRange(0, len(list)-1).Draw(t, "which")
			_, ok := class.Delete(99, list[i].mask.build(), list[i].flow.build())
			require.False(t, ok)
			r, ok := class.Delete(list[i].number, list[i].mask.build(), list[i].flow.build())
			require.True(t, ok)
			require.Equal(t, list[i].value, r.Value)
			require.Equal(t, list[i].flow.build(), r.Flow)
			list = slices.Delete(list, i, i+1)
		},
		"": func(t *rapid.T) {
			require.Equal(t, len(list), class.Len())
			distinct := map[Mask]bool{}
			i := 0
			for r := range class.All() {
				require.Equal(t, list[i].value, r.Value)
				distinct[r.Mask] = true
				i++
			}
			require.Equal(t, len(list), i)
			require.Equal(t, len(distinct), class.Masks())
			f := flowFor(t, true)
			v, ok := class.Lookup(f.build())
			r, rok := class.Match(f.build())
			require.Equal(t, ok, rok)
			require.Equal(t, v, r.Value)
			want := 0
			for _, r := range list {
				if r.matches(f) {
					want = r.value
					break
				}
			}
			if f.sstate != unknown && f.dstate != unknown {
				require.Equal(t, want, v, "flow %v", f.build())
				require.Equal(t, want != 0, ok)
				return
			}
			// An unknown port: an answer is that of the list, and none of the rules before it asks.
			if ok {
				require.Equal(t, want, v)
				for _, r := range list {
					if r.value == v {
						break
					}
					require.False(t, r.asksUnknown(f), "a rule before the answer asks for the unknown port")
				}
			} else if want != 0 {
				asked := false
				for _, r := range list {
					asked = asked || r.asksUnknown(f)
				}
				require.True(t, asked, "no answer without a reason")
			}
		},
	})
}

// TestClassifierFragments: a flow with unknown ports never gets another answer than with any ports.
func TestClassifierFragments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		class := NewClassifier[int]([16]byte{})
		for i := range rapid.IntRange(1, 8).Draw(t, "rules") {
			m := genMask(t, 12)
			f := genFlow(t, m.bits.six, false)
			_ = class.Insert(Rule[int]{rapid.Uint32Range(0, 9).Draw(t, "number"), m.build(), f.build(), i + 1})
		}
		f := genFlow(t, rapid.Bool().Draw(t, "six"), false)
		v, ok := class.Lookup(f.build().WithUnknown(SrcPort | DstPort))
		if !ok {
			return
		}
		first, found := class.Lookup(f.build())
		require.True(t, found)
		require.Equal(t, first, v)
	})
}

// TestClassifierShadow: of rules with one key the later number answers when the earlier is gone.
func TestClassifierShadow(t *testing.T) {
	class := NewClassifier[string]([16]byte{})
	f := reportFlows(1, false)[0]
	m := MustParseMask("255.255.255.255", "src-ip")
	for _, n := range []uint32{20, 10, 30} {
		require.NoError(t, class.Insert(Rule[string]{n, m, f, fmt.Sprint(n)}))
	}
	err := class.Insert(Rule[string]{20, m, f, "again"})
	require.ErrorIs(t, err, ErrDuplicate)
	for _, want := range []string{"10", "20", "30"} {
		v, ok := class.Lookup(f)
		require.True(t, ok)
		require.Equal(t, want, v)
		r, _ := class.Match(f)
		_, ok = class.Delete(r.Number, m, f)
		require.True(t, ok)
	}
	require.Zero(t, class.Len())
	require.Zero(t, class.Masks())
	_, ok := class.Lookup(f)
	require.False(t, ok)
	for range class.All() {
		t.Fatal("nothing is left")
	}
}

// TestClassifierOrderAfterDelete: when a mask loses its first rule, it takes its new place among the masks.
func TestClassifierOrderAfterDelete(t *testing.T) {
	class := NewClassifier[uint32]([16]byte{})
	f := reportFlows(1, false)[0]
	a, b, c := MustParseMask("255.0.0.0", "src-ip"), MustParseMask("255.255.0.0", "src-ip"), MustParseMask("255.255.255.0", "src-ip")
	for _, r := range []Rule[uint32]{{1, a, f, 1}, {9, a, f, 9}, {3, c, f, 3}, {10, c, f, 10}, {5, b, f, 5}} {
		require.NoError(t, class.Insert(r))
	}
	_, ok := class.Delete(1, a, f)
	require.True(t, ok)
	_, ok = class.Delete(3, c, f)
	require.True(t, ok)
	// The masks' first rules are now 9, 10 and 5.
	v, ok := class.Lookup(f)
	require.True(t, ok)
	require.EqualValues(t, 5, v)
}
