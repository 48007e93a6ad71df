package deterministic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// manyMaps returns n maps of a /24 each onto two addresses each.
func manyMaps(t testing.TB, n int, realm func(int) uint32) []*Map {
	maps := make([]*Map, n)
	for i := range maps {
		maps[i] = mustNew(t, Config{
			Name:     fmt.Sprintf("m%d", i),
			Realm:    realm(i),
			Internal: []Span{PrefixSpan(netip.PrefixFrom(u128{0, uint64(10<<24 | i<<8)}.addr(true), 24))},
			External: []Span{PrefixSpan(netip.PrefixFrom(u128{0, uint64(203<<24 | i<<1)}.addr(true), 31))},
		})
	}
	rand.New(rand.NewPCG(1, uint64(n))).Shuffle(n, func(i, j int) { maps[i], maps[j] = maps[j], maps[i] })
	return maps
}

func TestSet_1000_maps_find_the_right_one(t *testing.T) {
	for name, realm := range map[string]func(int) uint32{
		"one realm":        func(int) uint32 { return 0 },
		"a realm for each": func(i int) uint32 { return uint32(i) },
	} {
		t.Run(name, func(t *testing.T) {
			maps := manyMaps(t, 1000, realm)
			s, err := NewSet(maps...)
			require.NoError(t, err)
			require.Equal(t, maps, s.Maps())
			for _, m := range maps {
				for i := range m.Subscribers() {
					sub := m.Subscriber(i)
					p, err := s.Forward(m.cfg.Realm, sub.Addr())
					require.NoError(t, err)
					got, back, err := s.Reverse(0, p.External(), p.Port(0))
					if got != m || back != sub || err != nil {
						t.Fatalf("%v of %s: %s %v %v", sub, m.Name(), got.Name(), back, err)
					}
				}
				boundary, ok := m.cfg.Internal[0].Prefix()
				require.True(t, ok)
				_, err := s.Forward(m.cfg.Realm, boundary.Addr())
				require.ErrorIs(t, err, ErrNotSubscriber)
				_, err = s.Forward(m.cfg.Realm+5000, boundary.Addr())
				require.ErrorIs(t, err, ErrRealm)
			}
			_, _, err = s.Reverse(0, addr("192.0.2.1"), 5000)
			require.ErrorIs(t, err, ErrNotInPool)
			m, _, err := s.Reverse(0, addr("203.0.7.208"), 5000)
			require.ErrorIs(t, err, ErrNotInPool, "one above the last")
			require.Nil(t, m)
			_, _, err = s.Reverse(1, addr("203.0.0.0"), 5000)
			require.ErrorIs(t, err, ErrRealm)
			_, _, err = s.Reverse(0, addr("2001:db8::1"), 5000)
			require.ErrorIs(t, err, ErrRealm)
			m, _, err = s.Reverse(0, addr("203.0.0.0"), 80)
			require.ErrorIs(t, err, ErrReserved)
			require.Equal(t, "m0", m.Name())
		})
	}
}

// TestH31_realms: the same internal addresses in two realms, and the same external
// addresses in two external realms, are different addresses.
func TestH31_realms(t *testing.T) {
	a := mustNew(t, Config{Name: "a", Realm: 1, Internal: Spans("10.0.0.0/24"), External: Spans("192.0.2.1")})
	b := mustNew(t, Config{Name: "b", Realm: 2, Internal: Spans("10.0.0.0/24"), External: Spans("192.0.2.2")})
	c := mustNew(t, Config{Name: "c", Realm: 3, ExternalRealm: 1, Internal: Spans("10.0.0.0/24"), External: Spans("192.0.2.1")})
	s, err := NewSet(a, b, c)
	require.NoError(t, err)
	p, err := s.Forward(2, addr("10.0.0.9"))
	require.NoError(t, err)
	require.Equal(t, addr("192.0.2.2"), p.External())
	m, _, err := s.Reverse(1, addr("192.0.2.1"), 2000)
	require.NoError(t, err)
	require.Same(t, c, m)
}

func TestSet_overlaps_name_both_sides(t *testing.T) {
	cfg := func(name, in, out string) *Map {
		return mustNew(t, Config{Name: name, Internal: Spans(in), External: Spans(out)})
	}
	_, err := NewSet(
		cfg("wide", "10.0.0.0/16", "192.0.2.0/28"),
		cfg("", "10.0.3.0-10.0.3.9", "192.0.2.9-192.0.2.30"),
		cfg("apart", "10.1.0.0/24", "198.51.100.1"),
		cfg("inner", "10.0.200.0/24", "192.0.2.31"))
	var faults interface{ Unwrap() []error }
	require.ErrorAs(t, err, &faults)
	require.ErrorIs(t, err, ErrOverlap)
	require.Equal(t, []error{
		&OverlapError{Side: "internal", A: `map "wide"`, B: "map 1", First: addr("10.0.3.0"), Last: addr("10.0.3.9")},
		&OverlapError{Side: "internal", A: `map "wide"`, B: `map "inner"`, First: addr("10.0.200.1"), Last: addr("10.0.200.254")},
		&OverlapError{Side: "external", A: `map "wide"`, B: "map 1", First: addr("192.0.2.9"), Last: addr("192.0.2.15")},
	}, faults.Unwrap())
	_, err = NewSet(nil)
	var field *FieldError
	require.True(t, errors.As(err, &field))
	s, err := NewSet()
	require.NoError(t, err)
	_, err = s.Forward(0, addr("10.0.0.1"))
	require.ErrorIs(t, err, ErrRealm)
}
