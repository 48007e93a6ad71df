package flowmask

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// reportScript is the configuration of the bug report for one client class, with what stands around it in a file.
const reportScript = `# NAT by flow
ipfw -q table natout create type flow:src-ip,proto,dst-ip,dst-port valtype nat
ipfw -q table natout setmask 255.192.0.127,1,0.0.15.0,3
table natin create type flow:src-ip,proto,src-port,dst-ip valtype nat   # other direction
table natin setmask 0.0.15.0,1,3,255.255.255.255

nat 1 config ip 192.0.2.0 same_ports
/sbin/ipfw set 3 table natout add 100.64.0.0,tcp,0.0.0.0,0 1 100.64.0.0,udp,0.0.0.0,0 2
table natout atomic add 100.64.0.1,6,0.0.1.0,3 3
table natin add 0.0.0.0,tcp,0,192.0.2.0 1
table users create type addr valtype fib
table users add 10.0.0.0/8 7
add 100 nat tablearg ip from any to any flow 'table(natout)' out
set enable 3
`

// TestBug219316_Script reads the configuration of the report.
func TestBug219316_Script(t *testing.T) {
	tables, rest, err := ParseIPFW(reportScript)
	require.NoError(t, err)
	require.Len(t, tables, 2)
	out, in := tables[0], tables[1]
	require.Equal(t, "natout", out.Name)
	require.Equal(t, "nat", out.ValType)
	require.Equal(t, 2, out.Line)
	require.Equal(t, reportFields, out.Fields.String())
	require.True(t, out.HasMask)
	require.Equal(t, reportMask, out.Mask.String())
	require.Len(t, out.Entries, 3)
	require.Equal(t, "100.64.0.1,6,0.0.1.0,3", out.Entries[2].Flow.Text(out.Fields))
	require.Equal(t, "2", out.Entries[1].Value)
	require.Equal(t, 8, out.Entries[1].Line)

	reply, err := out.Mask.Reply(ReplyPlan{})
	require.NoError(t, err)
	require.Equal(t, in.Mask, reply, "the script's natin is what follows from its natout")

	var text []string
	for _, l := range rest {
		text = append(text, fmt.Sprint(l.Number, " ", l.Text))
	}
	require.Equal(t, []string{
		"7 nat 1 config ip 192.0.2.0 same_ports",
		"11 table users create type addr valtype fib",
		"12 table users add 10.0.0.0/8 7",
		"13 add 100 nat tablearg ip from any to any flow 'table(natout)' out",
		"14 set enable 3",
	}, text)

	table, err := out.Build([16]byte{1})
	require.NoError(t, err)
	v, ok := table.Lookup(FlowFrom4(0, 17, [4]byte{100, 100, 7, 128}, [4]byte{8, 8, 0xf0, 8}, 4000, 4))
	require.True(t, ok)
	require.EqualValues(t, 2, v)
}

// TestIPFWErrors: line, position and field of every fault; all are reported together.
func TestIPFWErrors(t *testing.T) {
	const create = "table t create type flow:src-ip,proto valtype nat\n"
	for _, c := range []struct {
		script    string
		line, pos int
		field     Fields
		reason    string
	}{
		{"table", 1, 0, 0, "name"},
		{"table t add 1.2.3.4 1", 1, 6, 0, "no line before"},
		{create + "table t", 2, 7, 0, "needs a command"},
		{create + "table t flush", 2, 8, 0, "only create"},
		{create + "  table  t   setmask 255.0.0.0", 2, 30, Proto, "missing"},
		{create + "table t setmask 255.0.0.0,x", 2, 26, Proto, "protocol mask"},
		{create + "table t setmask 255.0.0.0,1 2", 2, 28, 0, "one value"},
		{create + "table t setmask", 2, 15, SrcIP, "address"},
		{create + "table t add", 2, 11, 0, "needs a key"},
		{create + "table t add 1.2.3.4,tcp x", 2, 24, 0, "type nat"},
		{create + "table t add 1.2.3.4,tcp 1,2", 2, 24, 0, "one part for each"},
		{create + "table t add 1.2.3.4,tcp 1 1.2.3,tcp", 2, 26, SrcIP, "address"},
		{create + "table t atomic delete", 2, 15, 0, "atomic"},
		{create + create, 2, 6, 0, "exists"},
		{"table t create type flow", 1, 6, 0, "needs fields"},
		{"table t create type flow:src-ip,nope", 1, 32, 0, "no field"},
		{"table t create type", 1, 15, 0, "needs a value"},
		{"table t create kind flow", 1, 15, 0, "unknown option"},
		{"table t create type flow:proto valtype nat,gnu", 1, 43, 0, "value type"},
		{"table t create type flow:proto limit -1", 1, 37, 0, "limit"},
		{"table t create type flow:proto\ntable t add 6 x", 2, 14, 0, "neither"},
	} {
		tables, _, err := ParseIPFW(c.script)
		var e *SyntaxError
		require.ErrorAs(t, err, &e, c.script)
		require.ErrorIs(t, err, ErrSyntax)
		require.Nil(t, tables)
		require.Equal(t, c.line, e.Line, c.script)
		require.Equal(t, c.pos, e.Pos, c.script)
		require.Equal(t, c.field, e.Field, c.script)
		require.Contains(t, e.Reason, c.reason, c.script)
	}
	_, _, err := ParseIPFW("table a add 1 1\n\ntable b add 1 1")
	require.Contains(t, err.Error(), "line 1")
	require.Contains(t, err.Error(), "line 3")
	_, _, err = ParseIPFW(strings.Repeat("table t add 1 1\n", 10_000))
	require.Equal(t, maxScriptErrors, strings.Count(err.Error(), "\n")+1)
}

// TestIPFWBuild: masks that come late, masks that are missing, collisions, limits, values.
func TestIPFWBuild(t *testing.T) {
	parse := func(script string) *IPFWTable {
		tables, rest, err := ParseIPFW(script)
		require.NoError(t, err)
		require.Empty(t, rest)
		return &tables[0]
	}
	const create = "table t create type flow:src-ip,proto locked algo flow:hash "
	late := parse(create + "\ntable t add 10.0.0.1,tcp 7 10.0.1.1,tcp 8\ntable t setmask 0.0.255.0,255\n")
	table, err := late.Build([16]byte{})
	require.NoError(t, err)
	require.Equal(t, 2, table.Len())

	clash := parse(create + "\ntable t setmask 0.0.0.255,255\ntable t add 10.0.0.1,tcp 7\ntable t add 10.0.1.1,tcp 8\n")
	_, err = clash.Build([16]byte{})
	require.ErrorIs(t, err, ErrDuplicate)
	var e *IPFWError
	require.ErrorAs(t, err, &e)
	require.Equal(t, 4, e.Line)
	require.Contains(t, err.Error(), "line 4, table t: entries 10.0.0.1,6 and 10.0.1.1,6 are one key")

	plain := parse(create + "\ntable t add 2001:db8::1,tcp")
	require.False(t, plain.HasMask)
	require.Equal(t, FullMask(SrcIP|Proto, true), plain.Mask)
	table, err = plain.Build([16]byte{})
	require.NoError(t, err)
	require.Equal(t, 1, table.Len())

	families := parse(create + "\ntable t add 2001:db8::1,tcp 1 10.0.0.1,tcp 2")
	_, err = families.Build([16]byte{})
	require.ErrorIs(t, err, ErrNoKey)

	full := parse(create + "limit 1\ntable t add 10.0.0.1,tcp 1 10.0.0.2,tcp 2")
	_, err = full.Build([16]byte{})
	require.ErrorContains(t, err, "limit is 1")

	words := parse(create + "valtype ipv4,nat\ntable t add 10.0.0.1,tcp 192.0.2.1,5")
	_, err = words.Build([16]byte{})
	require.ErrorContains(t, err, "not a number")
	require.ErrorIs(t, err, ErrSyntax, "the reason is behind the line")
}

// TestBug219316_ScriptInFull writes and reads both tables of the report, 16,384 entries each.
func TestBug219316_ScriptInFull(t *testing.T) {
	out := IPFWTable{Name: "natout", Fields: SrcIP | Proto | DstIP | DstPort, ValType: "nat", HasMask: true, Mask: MustParseMask(reportMask, reportFields)}
	for i, f := range reportInstances() {
		out.Entries = append(out.Entries, IPFWEntry{Flow: f, Value: fmt.Sprint(i + 1)})
	}
	text := string(out.AppendTo(nil))
	tables, rest, err := ParseIPFW(text)
	require.NoError(t, err)
	require.Empty(t, rest)
	require.Equal(t, text, string(tables[0].AppendTo(nil)))
	table, err := tables[0].Build([16]byte{})
	require.NoError(t, err)
	require.Equal(t, 16384, table.Len())
}

// FuzzParseIPFW: no script panics; what is read prints, and reads again as the same.
func FuzzParseIPFW(f *testing.F) {
	f.Add(reportScript) // the report and what stands around it
	f.Add("table t create type flow:src-ip\ntable t add ::1 1\ntable t setmask ::ff")
	f.Add("table t create type flow:realm,dst-port limit 3 or-flush missing\ntable t add 1,2 3 4,5")
	f.Add("set 1 table t create type flow:proto valtype nat,ipv6\ntable t add gre 1,::")
	f.Add("table all create\ntable \x00 create type flow:proto\r\n#")
	f.Fuzz(func(t *testing.T, script string) {
		tables, _, err := ParseIPFW(script)
		if err != nil {
			if !errors.Is(err, ErrSyntax) || err.Error() == "" {
				t.Fatal(err)
			}
			return
		}
		for i := range tables {
			text := tables[i].AppendTo(nil)
			again, rest, err := ParseIPFW(string(text))
			if err != nil || len(again) != 1 || len(rest) != 0 {
				t.Fatalf("%q prints as %q: %v", script, text, err)
			}
			if got := again[0].AppendTo(nil); string(got) != string(text) {
				t.Fatalf("%q, then %q", text, got)
			}
			if len(again[0].Entries) != len(tables[i].Entries) || again[0].Mask != tables[i].Mask {
				t.Fatalf("%q reads differently", text)
			}
			if _, err := tables[i].Build([16]byte{}); err != nil && err.Error() == "" {
				t.Fatal("an error without words")
			}
		}
	})
}

// TestIPFWFile reads the script that the fuzzer is seeded with from its file, as a program would.
func TestIPFWFile(t *testing.T) {
	b, err := os.ReadFile("testdata/bug219316.ipfw")
	require.NoError(t, err)
	tables, rest, err := ParseIPFW(string(b))
	require.NoError(t, err)
	require.Len(t, tables, 2)
	require.NotEmpty(t, rest)
	for i := range tables {
		_, err := tables[i].Build([16]byte{1})
		require.NoError(t, err)
	}
}
