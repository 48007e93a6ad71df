package cli

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
)

func TestParse(t *testing.T) {
	parse := func(args ...string) (int, string, error) {
		var out bytes.Buffer
		set := flag.NewFlagSet("x", flag.ContinueOnError)
		n := set.Int("n", 3, "a `NUMBER`")
		err := Parse(set, args, &out, "head\n", "tail\n")
		return *n, out.String(), err
	}
	n, out, err := parse("-n", "5")
	require.NoError(t, err)
	require.Equal(t, 5, n)
	require.Empty(t, out)
	_, out, err = parse("-h")
	require.ErrorIs(t, err, ErrHelp)
	require.Regexp(t, `(?s)^head\n.*-n NUMBER.*tail\n$`, out)
	for _, args := range [][]string{{"-n", "x"}, {"-m"}} {
		_, out, err = parse(args...)
		require.ErrorContains(t, err, args[0])
		require.ErrorContains(t, err, "-h lists the flags")
		require.Empty(t, out, "a slip does not print the whole help")
	}
}

// TestByFlag asks the engine for two impossible things and reads the flags in place of fields.
func TestByFlag(t *testing.T) {
	_, err := natcore.New(natcore.Config{
		Seed: [32]byte{1}, Log: logging.Discard,
		Pools: []natcore.PoolConfig{{
			Name: "p", Addresses: alloc.MustParseRanges("203.0.113.0/30,203.0.113.1"), Blocks: portblock.Config{BlockSize: 100},
		}},
	}, time.Unix(0, 0))
	require.Error(t, err)
	var b bytes.Buffer
	Complain(&b, "prog", ByFlag(err, map[string]string{"Addresses": "-pool", "Blocks": "-block"}))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Len(t, lines, 2, b.String())
	require.Contains(t, b.String(), "prog: -pool 203.0.113.0/30 and 203.0.113.1: must not overlap")
	require.Contains(t, b.String(), "prog: -block 100: ")
	require.NotContains(t, b.String(), "Pools[")
	require.NoError(t, ByFlag(nil, nil))
	other := errors.New("other")
	require.ErrorIs(t, ByFlag(other, nil), other)
}

func TestCheckBlock(t *testing.T) {
	for _, size := range []int{16, 256, 4096} {
		require.NoError(t, CheckBlock("-block", size))
	}
	for _, size := range []int{-1, 0, 8, 100, 8192} {
		require.ErrorContains(t, CheckBlock("-block", size), "-block")
	}
}

func TestKey(t *testing.T) {
	require.Equal(t, Key("a", "1"), Key("a", "1"))
	require.NotEqual(t, Key("a", "1"), Key("b", "1"))
	require.NotEqual(t, Key("a", "1"), Key("a", "2"))
}

// TestProgress draws nothing on what is no terminal, and one line on what is.
func TestProgress(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	require.NoError(t, err)
	defer f.Close()
	p := NewProgress(f, false)
	require.False(t, p.Due())
	p.Show("half")
	p.Done()
	info, err := f.Stat()
	require.NoError(t, err)
	require.Zero(t, info.Size())

	var b bytes.Buffer
	p = &Progress{w: &b}
	p.Show("%d %%", 50)
	p.Show("%d %%", 60) // too soon
	p.Done()
	require.Equal(t, "\r50 %\r    \r", b.String())
}
