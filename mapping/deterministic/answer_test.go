package deterministic

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// An answer says which map gave it, also out of a set and out of a history.
func TestForward_says_who_answered(t *testing.T) {
	require.Nil(t, Ports{}.Map())
	a := mustNew(t, epochConfig("a", "10.0.0.0-10.0.0.3", "192.0.2.1", 4))
	b := mustNew(t, epochConfig("b", "10.0.1.0-10.0.1.3", "192.0.2.2", 4))
	p, err := b.Forward(addr("10.0.1.1"))
	require.NoError(t, err)
	require.Same(t, b, p.Map())
	s, err := NewSet(a, b)
	require.NoError(t, err)
	for host, want := range map[string]*Map{"10.0.0.3": a, "10.0.1.0": b} {
		p, err := s.Forward(0, addr(host))
		require.NoError(t, err)
		require.Same(t, want, p.Map())
	}
	p, err = s.Forward(0, addr("10.0.2.0"))
	require.ErrorIs(t, err, ErrNotSubscriber)
	require.Nil(t, p.Map())
}

func TestHistory_forward_says_which_epoch_answered(t *testing.T) {
	v6 := Config{Name: "six", Realm: 6, Internal: Spans("2001:db8::/48"), SubscriberBits: 56, External: Spans("198.51.100.1"), Algorithm: Crypto, KeyPerAddress: true, Key: [16]byte{1}}
	var h History
	_, err := h.Begin(day(1), epochConfig("east", "10.0.0.0-10.0.0.3", "192.0.2.1", 4))
	require.NoError(t, err)
	_, err = h.Begin(day(2), v6)
	require.NoError(t, err)
	_, err = h.Begin(day(5), epochConfig("east", "10.0.0.0-10.0.0.3", "192.0.2.1", 8))
	require.NoError(t, err)
	for _, c := range []struct {
		realm uint32
		host  string
		at    int
		want  Answer
		first string
		err   error
	}{
		{0, "10.0.0.1", 1, Answer{prefix("10.0.0.1/32"), "east", 0, 1}, "192.0.2.1:17152", nil},
		{0, "::ffff:10.0.0.1", 4, Answer{prefix("10.0.0.1/32"), "east", 0, 1}, "192.0.2.1:17152", nil},
		{0, "10.0.0.1", 5, Answer{prefix("10.0.0.1/32"), "east", 0, 2}, "192.0.2.1:9088", nil},
		{6, "2001:db8:0:1234::1", 3, Answer{prefix("2001:db8:0:1200::/56"), "six", 6, 1}, "", nil},
		{0, "10.0.0.4", 5, Answer{}, "", ErrNotSubscriber},
		{6, "10.0.0.1", 5, Answer{}, "", ErrNotSubscriber},
		{0, "10.0.0.1", 0, Answer{}, "", ErrNoEpoch},
		{7, "10.0.0.1", 5, Answer{}, "", ErrNoEpoch},
	} {
		a, p, err := h.ForwardAnswer(c.realm, addr(c.host), day(c.at))
		require.ErrorIs(t, err, c.err)
		require.Equal(t, c.want, a, "%s on day %d", c.host, c.at)
		plain, plainErr := h.Forward(c.realm, addr(c.host), day(c.at))
		require.Equal(t, err, plainErr)
		require.Equal(t, p.Len(), plain.Len())
		if err != nil {
			require.Equal(t, Ports{}, p)
			continue
		}
		require.Equal(t, c.want.Map, p.Map().Name())
		if c.first != "" {
			require.Equal(t, c.first, p.At(0).String())
		}
		back, err := h.Reverse(0, p.External(), p.Port(0), day(c.at))
		require.NoError(t, err)
		require.Equal(t, a, back, "both directions name the same epoch")
	}
}

// The two kinds of unused ports have names of their own, and one in common.
func TestReverse_tells_remainder_from_empty_slot(t *testing.T) {
	// Room for 2 subscribers on each of 2 addresses, 1000 ports each, 3 subscribers.
	m := mustNew(t, Config{Internal: Spans("10.0.0.0-10.0.0.2"), External: Spans("192.0.2.0/31"), SharingRatio: 2, PortsPerSubscriber: 1000})
	require.Equal(t, uint64(4), m.Capacity())
	require.Equal(t, uint64(3), m.Subscribers())
	for _, c := range []struct {
		external string
		port     uint16
		want     error
	}{
		{"192.0.2.1", 2023, nil},
		{"192.0.2.1", 2024, ErrEmptySlot},
		{"192.0.2.1", 3023, ErrEmptySlot},
		{"192.0.2.1", 3024, ErrRemainder},
		{"192.0.2.0", 3023, nil},
		{"192.0.2.0", 3024, ErrRemainder},
		{"192.0.2.0", 65535, ErrRemainder},
	} {
		_, err := m.Reverse(addr(c.external), c.port)
		require.Equal(t, c.want, err, "%s %d", c.external, c.port)
		if err != nil {
			require.ErrorIs(t, err, ErrUnused)
		}
	}
	require.False(t, errors.Is(ErrRemainder, ErrEmptySlot) || errors.Is(ErrEmptySlot, ErrRemainder))
	for _, other := range []error{ErrReserved, ErrDynamic, ErrNotInPool} {
		require.False(t, errors.Is(other, ErrUnused))
	}
	for _, cfg := range speedConfigs() {
		m := mustNew(t, cfg)
		require.Equal(t, m.Externals()*uint64(m.Ratio()), m.Capacity(), cfg.Name)
		require.Equal(t, m.Stats().Capacity, m.Capacity(), cfg.Name)
	}
}

// The realm is known, the family is not: the refusal says so.
func TestSet_refuses_a_family_without_map(t *testing.T) {
	s, err := NewSet(mustNew(t, epochConfig("a", "10.0.0.0-10.0.0.3", "192.0.2.1", 4)))
	require.NoError(t, err)
	_, err = s.Forward(0, addr("2001:db8::1"))
	require.ErrorIs(t, err, ErrRealm)
	require.ErrorContains(t, err, "family")
	_, _, err = s.Reverse(0, addr("2001:db8::1"), 5000)
	require.ErrorIs(t, err, ErrRealm)
	_, err = s.Forward(0, addr("10.0.0.4"))
	require.ErrorIs(t, err, ErrNotSubscriber)
}

// Maps that exchange addresses end before either begins again.
func TestHistory_exchange_needs_End_first(t *testing.T) {
	a, b := epochConfig("a", "10.0.0.0-10.0.0.3", "192.0.2.1", 4), epochConfig("b", "10.0.1.0-10.0.1.3", "192.0.2.2", 4)
	var h History
	for _, cfg := range []Config{a, b} {
		_, err := h.Begin(day(1), cfg)
		require.NoError(t, err)
	}
	a.External, b.External = b.External, a.External
	_, err := h.Begin(day(2), a)
	require.ErrorIs(t, err, ErrOverlap)
	for _, name := range []string{"a", "b"} {
		require.NoError(t, h.End(day(2), name))
	}
	for _, cfg := range []Config{a, b} {
		e, err := h.Begin(day(2), cfg)
		require.NoError(t, err)
		require.Equal(t, uint64(2), e.Number)
	}
	answer, err := h.Reverse(0, addr("192.0.2.1"), 20000, day(2))
	require.NoError(t, err)
	require.Equal(t, Answer{prefix("10.0.1.1/32"), "b", 0, 2}, answer)
}
