package nattest

import (
	"errors"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRowsAreNamed holds ids, sources and titles to their forms.
func TestRowsAreNamed(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rows() {
		require.Regexp(t, regexp.MustCompile(`^\d{4}-\d\d[a-z]?(/[a-z-]+)?$`), r.ID)
		require.False(t, seen[r.ID], "%s is there twice", r.ID)
		seen[r.ID] = true
		require.NotEmpty(t, r.Source)
		require.Regexp(t, regexp.MustCompile(`^[A-Z].*[^.]$`), r.Title)
	}
	require.GreaterOrEqual(t, len(seen), 80)
}

// TestOutcomes makes rows come out in every way that there is.
func TestOutcomes(t *testing.T) {
	mistake := errors.New("a mistake")
	for _, tt := range []struct {
		name    string
		subject Subject
		want    Outcome
		detail  string
	}{
		{"failed to make", Subject{New: func(Config) (NAT, error) { return nil, mistake }}, Failed, "a mistake"},
		{"not offered", Subject{New: func(Config) (NAT, error) { return nil, ErrNotOffered }}, NotOffered, "not offered"},
		{"panics", Subject{New: func(Config) (NAT, error) { panic("out of cheese") }}, Failed, "panic: out of cheese"},
		{"no NAT", Subject{New: func(Config) (NAT, error) { return nil, nil }}, Failed, "panic: runtime error: invalid memory address or nil pointer dereference"},
	} {
		for _, r := range Check(tt.subject) {
			require.Equal(t, tt.want, r.Outcome, "%s: %s", tt.name, r.ID)
			require.Equal(t, tt.detail, r.Detail, "%s: %s", tt.name, r.ID)
		}
	}
	lacking := Subject{Lacks: TCP | Hairpin, Deviates: map[string]string{}, New: func(Config) (NAT, error) { return nil, mistake }}
	lacking.Deviates["4787-01"] = "symmetric on purpose"
	for _, r := range Check(lacking) {
		switch {
		case r.Needs&(TCP|Hairpin) != 0:
			require.Equal(t, NotOffered, r.Outcome, r.ID)
		case r.ID == "4787-01":
			require.Equal(t, Result{r.Row, Deviates, "symmetric on purpose"}, r)
		default:
			require.Equal(t, Failed, r.Outcome, r.ID)
		}
	}
	require.Equal(t, "TCP, hairpinning", (TCP | Hairpin).String())
	require.Equal(t, "Level(9) Outcome(9) Behaviour(9)", Level(9).String()+" "+Outcome(9).String()+" "+Behaviour(9).String())
}
