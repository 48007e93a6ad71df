package deterministic

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/blocknat/blocknat/portblock"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

// epochConfig is a small map whose ports change with every parameter.
func epochConfig(name, in, out string, ratio int) Config {
	return Config{Name: name, Internal: Spans(in), External: Spans(out), SharingRatio: ratio}
}

// A history answers for the epoch that was valid at the time, at the instants of
// change too, and after a round trip through its file.
func TestHistory_reverse_takes_a_time(t *testing.T) {
	var h History
	first, err := h.Begin(day(1), epochConfig("east", "10.0.0.0-10.0.0.3", "192.0.2.1", 4))
	require.NoError(t, err)
	require.Equal(t, uint64(1), first.Number)
	_, err = h.Begin(day(3), epochConfig("west", "10.0.1.0-10.0.1.3", "192.0.2.2", 4))
	require.NoError(t, err)
	same, err := h.Begin(day(4), epochConfig("east", "10.0.0.0-10.0.0.3", "192.0.2.1", 4))
	require.NoError(t, err)
	require.Equal(t, first, same, "nothing changed: the epoch goes on")
	second, err := h.Begin(day(10), epochConfig("east", "10.0.0.0-10.0.0.3", "192.0.2.1", 8))
	require.NoError(t, err)
	require.Equal(t, uint64(2), second.Number)
	require.NoError(t, h.End(day(20), "east"))
	third, err := h.Begin(day(22), epochConfig("east", "10.0.5.0-10.0.5.3", "192.0.2.1", 4))
	require.NoError(t, err)
	require.Equal(t, uint64(3), third.Number)

	text, err := h.AppendText(nil)
	require.NoError(t, err)
	require.Equal(t, 4, bytes.Count(text, []byte("\n")))
	archive, err := ParseHistory(text)
	require.NoError(t, err)
	require.Equal(t, h, *archive)

	for _, h := range []*History{&h, archive} {
		for _, c := range []struct {
			at       time.Time
			external string
			port     uint16
			want     string
			epoch    uint64
			err      error
		}{
			{day(1).Add(-1), "192.0.2.1", 20000, "", 0, ErrNoEpoch},
			{day(1), "192.0.2.1", 20000, "10.0.0.1/32", 1, nil},
			{day(1), "192.0.2.2", 20000, "", 0, ErrNotInPool},
			{day(3), "192.0.2.2", 20000, "10.0.1.1/32", 1, nil},
			{day(10).Add(-1), "192.0.2.1", 20000, "10.0.0.1/32", 1, nil},
			{day(10), "192.0.2.1", 20000, "10.0.0.2/32", 2, nil},
			{day(10), "192.0.2.1", 60000, "", 2, ErrUnused},
			{day(10), "192.0.2.1", 60000, "", 2, ErrEmptySlot},
			{day(10), "192.0.2.1", 22, "", 2, ErrReserved},
			{day(20).Add(-1), "192.0.2.1", 20000, "10.0.0.2/32", 2, nil},
			{day(20), "192.0.2.1", 20000, "", 0, ErrNotInPool},
			{day(22), "192.0.2.1", 20000, "10.0.5.1/32", 3, nil},
			{day(22).AddDate(10, 0, 0), "192.0.2.1", 20000, "10.0.5.1/32", 3, nil},
		} {
			a, err := h.Reverse(0, addr(c.external), c.port, c.at)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.epoch, a.Epoch, "%v %v", c.at, c.external)
			if err == nil {
				require.Equal(t, c.want, a.Subscriber.String())
				p, err := h.Forward(0, a.Subscriber.Addr(), c.at)
				require.NoError(t, err)
				require.True(t, p.Contains(addr(c.external), c.port))
			}
		}
		_, err = h.Reverse(7, addr("192.0.2.1"), 20000, day(5))
		require.ErrorIs(t, err, ErrNoEpoch, "another external realm")
		_, err = h.Forward(0, addr("10.9.9.9"), day(5))
		require.ErrorIs(t, err, ErrNotSubscriber)
		_, err = h.Forward(7, addr("10.0.0.1"), day(5))
		require.ErrorIs(t, err, ErrNoEpoch)
	}
}

// An archived map with keys for many addresses keeps no tables and answers the
// same.
func TestHistory_keys_for_each_address(t *testing.T) {
	cfg := Config{Name: "k", Internal: Spans("10.0.0.0/24"), External: Spans("192.0.2.0/28"), Algorithm: Crypto, KeyPerAddress: true, Key: [16]byte{5}}
	var h History
	_, err := h.Begin(day(1), cfg)
	require.NoError(t, err)
	require.Empty(t, h.epochs[0].m.keys)
	m := mustNew(t, cfg)
	for port := 0; port < 65536; port += 509 {
		want, wantErr := m.Reverse(addr("192.0.2.9"), uint16(port))
		got, err := h.Reverse(0, addr("192.0.2.9"), uint16(port), day(2))
		require.Equal(t, wantErr, err)
		require.Equal(t, want, got.Subscriber)
		if err == nil {
			p, err := h.Forward(0, want.Addr(), day(2))
			require.NoError(t, err)
			require.True(t, p.Contains(addr("192.0.2.9"), uint16(port)))
		}
	}
}

func TestHistory_refusals_change_nothing(t *testing.T) {
	var h History
	_, err := h.Begin(day(5), epochConfig("east", "10.0.0.0-10.0.0.3", "192.0.2.1", 4))
	require.NoError(t, err)
	before, err := h.AppendText(nil)
	require.NoError(t, err)
	_, err = h.Begin(day(5), epochConfig("east", "10.0.0.0-10.0.0.3", "192.0.2.1", 8))
	require.ErrorIs(t, err, ErrTime)
	_, err = h.Begin(day(4), epochConfig("east", "10.0.0.0-10.0.0.3", "192.0.2.1", 4))
	require.ErrorIs(t, err, ErrTime)
	_, err = h.Begin(day(6), epochConfig("west", "10.1.0.0-10.1.0.3", "192.0.2.0/30", 4))
	var overlap *OverlapError
	require.ErrorAs(t, err, &overlap)
	require.Equal(t, &OverlapError{Side: "external", A: `epoch 1 of map "east"`, B: `epoch 1 of map "west"`, First: addr("192.0.2.1"), Last: addr("192.0.2.1")}, overlap)
	_, err = h.Begin(day(6), epochConfig("west", "10.0.0.3-10.0.0.9", "192.0.2.8/30", 4))
	require.ErrorAs(t, err, &overlap)
	require.Equal(t, "internal", overlap.Side)
	_, err = h.Begin(day(6), Config{})
	var field *FieldError
	require.ErrorAs(t, err, &field)
	require.ErrorIs(t, h.End(day(6), "north"), ErrNoEpoch)
	require.ErrorIs(t, h.End(day(5), "east"), ErrTime)
	require.ErrorIs(t, h.Add(Epoch{Number: 2, From: day(6), Until: day(6), Config: epochConfig("n", "10.7.0.0/30", "192.0.2.77", 2)}), ErrTime)
	require.ErrorIs(t, h.Add(Epoch{Number: 2, From: day(6), Config: epochConfig("east", "10.7.0.0/30", "192.0.2.77", 2)}), ErrTime, "two epochs of one map")
	require.ErrorAs(t, h.Add(Epoch{}), &field)
	after, err := h.AppendText(nil)
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))

	// Realms keep apart what would overlap.
	west := epochConfig("west", "10.0.0.0-10.0.0.3", "192.0.2.1", 4)
	west.Realm, west.ExternalRealm = 1, 1
	_, err = h.Begin(day(6), west)
	require.NoError(t, err)
	// An epoch that is over gives its addresses back.
	require.NoError(t, h.End(day(8), "east"))
	_, err = h.Begin(day(8), epochConfig("north", "10.0.0.0-10.0.0.3", "192.0.2.1", 4))
	require.NoError(t, err)
	require.Len(t, slices.Collect(h.Epochs()), 3)
}

// Between two epochs that have an address, the answer says whether the history
// knows that nobody had it (another map was in force) or is silent.
func TestHistory_between_epochs(t *testing.T) {
	east, west := epochConfig("east", "10.0.0.0-10.0.0.3", "192.0.2.1", 4), epochConfig("west", "10.0.1.0-10.0.1.3", "192.0.2.2", 4)
	v6 := epochConfig("v6", "2001:db8::/62", "2001:db8:1::1", 4)
	var h History
	for _, e := range []Epoch{
		{Number: 1, From: day(1), Until: day(5), Config: east},
		{Number: 2, From: day(20), Config: east},
		{Number: 1, From: day(10), Until: day(15), Config: west},
		{Number: 1, From: day(16), Until: day(17), Config: v6},
	} {
		require.NoError(t, h.Add(e))
	}
	for at, want := range map[int]struct{ reverse, forward error }{
		4:  {},
		7:  {ErrNoEpoch, ErrNoEpoch},
		10: {ErrNotInPool, ErrNotSubscriber},
		14: {ErrNotInPool, ErrNotSubscriber},
		15: {ErrNoEpoch, ErrNoEpoch},
		16: {ErrNotInPool, ErrNotSubscriber}, // a map of another family is in force
		18: {ErrNoEpoch, ErrNoEpoch},
		20: {},
	} {
		a, err := h.Reverse(0, addr("192.0.2.1"), 20000, day(at))
		require.ErrorIs(t, err, want.reverse, "day %d", at)
		require.Equal(t, err != nil, a == Answer{})
		_, err = h.Forward(0, addr("10.0.0.1"), day(at))
		require.ErrorIs(t, err, want.forward, "day %d", at)
	}
}

// A number names one epoch of a map for good, whenever the epochs are in force.
func TestHistory_numbers_are_unique(t *testing.T) {
	east := func(number uint64, from, until int) Epoch {
		e := Epoch{Number: number, From: day(from), Config: epochConfig("east", "10.0.0.0-10.0.0.3", "192.0.2.1", 4)}
		if until > 0 {
			e.Until = day(until)
		}
		return e
	}
	var h History
	require.NoError(t, h.Add(east(7, 3, 4)))
	for name, e := range map[string]Epoch{"later": east(7, 10, 11), "earlier": east(7, 1, 2), "next": east(7, 4, 0), "together": east(7, 3, 4)} {
		err := h.Add(e)
		require.ErrorIs(t, err, ErrNumber, name)
		require.ErrorContains(t, err, `epoch 7 of map "east" is there twice`)
	}
	require.ErrorIs(t, h.Add(east(0, 10, 11)), ErrNumber)
	require.ErrorIs(t, h.Add(Epoch{Number: 8, Until: day(1), Config: east(8, 1, 1).Config}), ErrTime, "no beginning")
	_, err := h.Begin(time.Time{}, epochConfig("south", "10.0.9.0-10.0.9.3", "192.0.2.9", 4))
	require.ErrorIs(t, err, ErrTime)
	require.Len(t, slices.Collect(h.Epochs()), 1)
	require.NoError(t, h.Add(east(2, 4, 5)), "numbers may come in any order")
	require.NoError(t, h.Add(Epoch{Number: 7, From: day(1), Config: epochConfig("west", "10.0.1.0-10.0.1.3", "192.0.2.2", 4)}), "another map")
	e, err := h.Begin(day(6), east(0, 1, 1).Config)
	require.NoError(t, err)
	require.Equal(t, uint64(8), e.Number)
	text, err := h.AppendText(nil)
	require.NoError(t, err)
	archive, err := ParseHistory(text)
	require.NoError(t, err)
	require.Equal(t, h, *archive)
	_, err = ParseHistory(append(text, bytes.ReplaceAll(text[:bytes.IndexByte(text, '\n')], []byte("2026-"), []byte("2025-"))...))
	require.ErrorIs(t, err, ErrNumber)
	require.ErrorContains(t, err, "line 5: ")

	var full History
	require.NoError(t, full.Add(east(1<<64-1, 1, 2)))
	_, err = full.Begin(day(3), east(0, 1, 1).Config)
	require.ErrorIs(t, err, ErrNumber, "no number is left")
}

// golden comparison of two maps, port by port.
func goldenProof(a, b *golden) (p Proof) {
	type place struct {
		ext  string
		port int
	}
	who := func(g *golden) map[place]string {
		out := map[place]string{}
		for e := range g.exts {
			for port, w := range g.owner[e] {
				switch {
				case w >= 0:
					out[place{g.exts[e].String(), port}] = g.subs[w].String()
				case w == goldDynamic:
					out[place{g.exts[e].String(), port}] = "dynamic"
				}
			}
		}
		return out
	}
	old, new := who(a), who(b)
	for k, v := range old {
		switch w, ok := new[k]; {
		case !ok:
			p.Freed++
		case v == w:
			p.Same++
		default:
			p.Moved++
		}
	}
	for k := range new {
		if _, ok := old[k]; !ok {
			p.Taken++
		}
	}
	return p
}

func TestProve_counts_every_port(t *testing.T) {
	base := Config{Internal: Spans("10.0.0.0-10.0.0.9"), External: Spans("192.0.2.1", "192.0.2.3"), DynamicFactor: 1}
	for name, edit := range map[string]func(*Config){
		"same":           func(c *Config) {},
		"ratio":          func(c *Config) { c.SharingRatio = 10 },
		"more external":  func(c *Config) { c.External, c.SharingRatio = Spans("192.0.2.1", "192.0.2.3", "192.0.2.9"), 5 },
		"other external": func(c *Config) { c.External = Spans("192.0.2.3", "192.0.2.9") },
		"more dynamic":   func(c *Config) { c.DynamicFactor = 2 },
		"staggered":      func(c *Config) { c.Algorithm = Staggered },
		"reserved":       func(c *Config) { c.Reserved = ranges("0-1023", "2000") },
	} {
		t.Run(name, func(t *testing.T) {
			next := base.clone()
			edit(&next)
			old, new := Epoch{From: day(1), Until: day(2), Config: base}, Epoch{From: day(2), Config: next}
			p, err := Prove(old, new, 2*time.Minute)
			require.NoError(t, err)
			ga, _ := goldenOf(base)
			gb, _ := goldenOf(next)
			want := goldenProof(ga, gb)
			require.Equal(t, [4]uint64{want.Same, want.Moved, want.Freed, want.Taken}, [4]uint64{p.Same, p.Moved, p.Freed, p.Taken})
			require.Equal(t, want.Moved == 0, p.Safe())
			require.Equal(t, want.Moved != 0, p.First.Ports.IsValid())
			changed := uint64(0)
			last := Change{}
			for c := range Changes(mustNew(t, base), mustNew(t, next)) {
				require.NotEqual(t, c.Old, c.New)
				if last.External == c.External && last.Ports.IsValid() && last.Ports.Last()+1 == c.Ports.First() {
					require.False(t, last.Old == c.Old && last.New == c.New, "runs are maximal")
				}
				changed += uint64(c.Ports.Len())
				last = c
			}
			require.Equal(t, want.Moved+want.Freed+want.Taken, changed)

			new.From = day(2).Add(2*time.Minute - 1)
			p, err = Prove(old, new, 2*time.Minute)
			require.NoError(t, err)
			require.Equal(t, want.Moved == 0, p.Safe())
			new.From = day(2).Add(2 * time.Minute)
			p, err = Prove(old, new, 2*time.Minute)
			require.NoError(t, err)
			require.True(t, p.Safe(), "the ports have rested")
			old.Until = time.Time{}
			p, err = Prove(old, new, 2*time.Minute)
			require.NoError(t, err)
			require.Equal(t, want.Moved == 0, p.Safe(), "an old epoch without end is never over")
		})
	}
	_, err := Prove(Epoch{}, Epoch{Config: base}, 0)
	require.Error(t, err)
	_, err = Prove(Epoch{Config: base}, Epoch{}, 0)
	require.Error(t, err)
}

// Another realm is another owner, and another external realm another port.
func TestProve_realms(t *testing.T) {
	old := Epoch{From: day(1), Until: day(2), Config: epochConfig("m", "10.0.0.0-10.0.0.3", "192.0.2.1", 4)}
	new := Epoch{From: day(2), Config: old.Config}
	new.Config.Realm = 1
	p, err := Prove(old, new, time.Minute)
	require.NoError(t, err)
	require.Equal(t, uint64(64512), p.Moved)
	require.Equal(t, Change{External: addr("192.0.2.1"), Ports: portblock.RangeOf(1024, 17151),
		Old: Owner{Subscriber: prefix("10.0.0.0/32")}, New: Owner{Subscriber: prefix("10.0.0.0/32"), Realm: 1}}, p.First)
	new.Config.ExternalRealm = 1
	p, err = Prove(old, new, time.Minute)
	require.NoError(t, err)
	require.Equal(t, [3]uint64{0, 64512, 64512}, [3]uint64{p.Moved, p.Freed, p.Taken})
	n := 0
	for range Changes(mustNew(t, old.Config), mustNew(t, new.Config)) {
		n++
		break
	}
	require.Equal(t, 1, n)
}

// Every parameter of every kind of map survives the archive and, but for name
// and key, the log line.
func TestRecord_holds_all_parameters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		cfg.Name = rapid.String().Draw(t, "name")
		cfg.Realm, cfg.ExternalRealm = rapid.Uint32().Draw(t, "realm"), rapid.Uint32().Draw(t, "external realm")
		m, err := New(cfg)
		if err != nil {
			return
		}
		from := time.Unix(rapid.Int64Range(0, 1<<34).Draw(t, "from"), rapid.Int64Range(0, 1e9-1).Draw(t, "nanoseconds"))
		e := Epoch{Number: rapid.Uint64Min(1).Draw(t, "number"), From: from.UTC(), Config: m.Config()}
		if rapid.Bool().Draw(t, "over") {
			e.Until = e.From.Add(1)
		}
		text, err := json.Marshal(m.Config())
		require.NoError(t, err)
		var decoded Config
		require.NoError(t, json.Unmarshal(text, &decoded))
		require.Equal(t, e.Config, decoded)
		line, err := AppendRecord([]byte("x"), e)
		require.NoError(t, err)
		got, err := ParseRecord(line[1:])
		require.NoError(t, err)
		require.True(t, mustEqual(e, got), "%+v\n%+v", e, got)
		text, err = AppendLogLine(nil, from, cfg)
		require.NoError(t, err)
		at, short, err := ParseLogLine(text)
		require.NoError(t, err)
		require.Equal(t, from.UTC().Truncate(time.Second), at)
		short.Name, short.Key = cfg.Name, cfg.Key
		again, err := New(short)
		require.NoError(t, err)
		requireSame(t, m, again)
	})
}

// mustEqual reports whether two epochs are equal to the letter.
func mustEqual(a, b Epoch) bool {
	ma, errA := New(a.Config)
	mb, errB := New(b.Config)
	return errA == nil && errB == nil && a.Number == b.Number && a.From.Equal(b.From) && a.Until.Equal(b.Until) && reflect.DeepEqual(ma.cfg, mb.cfg)
}

func TestParse_errors(t *testing.T) {
	for _, bad := range []string{"", "{", "{}{}", `{"epoch":1,"new":2}`, `{"map":{"algorithm":"x"}}`, `{"map":{"key":"00"}}`, `{"map":{"key":"zz000000000000000000000000000000"}}`,
		`{"map":{"internal":["10.0.0.0/33"]}}`, `{"map":{"remainder":"x"}}`, `{"map":{"reserved":["5-1"]}}`, `{"from":"yesterday"}`} {
		_, err := ParseRecord([]byte(bad))
		require.ErrorIs(t, err, ErrSyntax, bad)
	}
	const good = "[Wed Oct 11 14:32:52 2000]:198.51.100.0:28:192.0.2.0:32:2:5040:0:1-1023,5004,5060"
	for _, bad := range []string{"", "[", "[Wed]:", "[Wed Oct 11 14:32:52 2000]:", "[Wed Oct 11 14:32:52 2000]:198.51.100.0:28:192.0.2.0:32:2:5040:0",
		good + "x", good + ",", good + ":{", good + ":x", "[Wed Oct 11 14:32:52 2000]:198.51.100.0,10.0.0.0:28:192.0.2.0:32:2:5040:0:",
		"[Wed Oct 11 14:32:52 2000]:198.51.100.0:33:192.0.2.0:32:2:5040:0:", "[Wed Oct 11 14:32:52 2000]:198.51.100.0:28:2001:db8::1:32:2:5040:0:",
		"[Wed Oct 11 14:32:52 2000]:198.51.100.0:28:[192.0.2.0]:32:2:5040:0:", "[Wed Oct 11 14:32:52 2000]:198.51.100.0:28:192.0.2.0:32:-2:5040:0:",
		"[Wed Oct 11 14:32:52 2000]:198.51.100.0:28:192.0.2.0:32:2:5040:5:"} {
		_, _, err := ParseLogLine([]byte(bad))
		require.ErrorIs(t, err, ErrSyntax, bad)
	}
	_, err := ParseHistory([]byte("\n{}\nx\n"))
	require.ErrorContains(t, err, "line 2")
	require.ErrorContains(t, err, "line 3")
	require.ErrorIs(t, err, ErrSyntax)
	_, err = AppendRecord(nil, Epoch{Config: Config{Internal: []Span{{}}}})
	require.Error(t, err)
	_, err = AppendLogLine(nil, day(1), Config{})
	require.Error(t, err)
	for _, a := range []Algorithm{Sequential, Mask} {
		require.NotContains(t, a.String(), "Algorithm")
	}
	require.Equal(t, "Algorithm(99) Remainder(99)", Algorithm(99).String()+" "+Remainder(99).String())
	_, err = Algorithm(99).MarshalText()
	require.True(t, errors.Is(err, ErrSyntax))
	_, err = Remainder(99).MarshalText()
	require.True(t, errors.Is(err, ErrSyntax))
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 5}, []int{Sequential.RFC7422(), Staggered.RFC7422(), RoundRobin.RFC7422(), Interlaced.RFC7422(), Crypto.RFC7422(), Random.RFC7422(), Mask.RFC7422()})
}
