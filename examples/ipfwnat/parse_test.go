package main

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// runOut runs the program and returns what it prints on both outputs.
func runOut(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer f.Close()
	var b bytes.Buffer
	code = run(args, &b, f)
	e, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	return code, b.String(), string(e)
}

func TestHelpReadsWell(t *testing.T) {
	code, out, errs := runOut(t, "-h")
	require.Equal(t, exitProven, code)
	require.Empty(t, errs)
	for _, want := range []string{"usage: go run ./examples/ipfwnat [flags] [SCRIPT]", "-expand FILE", "-clients NUMBER", "-block SIZE", "-order ORDER", "exit code: 0"} {
		require.Contains(t, out, want)
	}
	for _, l := range strings.Split(out, "\n") {
		require.LessOrEqual(t, len(l), 100, l)
	}
}

// TestWrongUse expects exit code 2 and a text that says what to do.
func TestWrongUse(t *testing.T) {
	edit := func(pairs ...string) string {
		s := strings.NewReplacer(pairs...).Replace(reportScript)
		require.NotEqual(t, reportScript, s)
		path := filepath.Join(t.TempDir(), "x.ipfw")
		require.NoError(t, os.WriteFile(path, []byte(s), 0o644))
		return path
	}
	const entry5 = "table natout add 100.64.0.5,tcp,0.0.0.0,0 6\n"
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"no such file", []string{"none.ipfw"}, []string{"no such file", "check the name"}},
		{"two files", []string{"a", "b"}, []string{"2 scripts are named", "flags come before"}},
		{"unknown flag", []string{"-x"}, []string{"-x", "-h lists the flags"}},
		{"several flags", []string{"-block", "65", "-clients", "0", "-ports", "0", "-span", "0s", "-usable", "9-1", "-order", "odd", "-internal", "::/8"},
			[]string{"-block 65 is no power of two", "-clients 0", "-ports 0", "-span 0s", "-usable", "neither keyed nor sequential", "-internal"}},
		{"too many clients", []string{"-internal", "10.0.0.0/24"}, []string{"more than half of the addresses"}},
		{"a mask that is none", []string{edit("255.192.0.127,1,0.0.15.0,3", "255.192.0.127,1,0.0.15,3")}, []string{"x.ipfw: flowmask: line 11", "position", "dst-ip"}},
		{"a mask that is too short", []string{edit("255.192.0.127,1,0.0.15.0,3", "255.192.0.127,1")}, []string{"line 11"}},
		{"no such table", []string{"-out", "nat_out"}, []string{`no flow table has the name "nat_out"`, "-out"}},
		{"a field that is not for engines", []string{edit("type flow:src-ip,proto,dst-ip,dst-port", "type flow:src-ip,proto,src-port,dst-ip,dst-port", "255.192.0.127,1,0.0.15.0,3", "255.192.0.127,1,7,0.0.15.0,3", "tcp,0.0.0.0,0", "tcp,0,0.0.0.0,0")},
			[]string{"line 10", "src-port", "flow:src-ip,proto,dst-ip,dst-port and no more"}},
		{"no mask", []string{edit("table natout setmask 255.192.0.127,1,0.0.15.0,3\n", "")}, []string{"has no mask", "setmask"}},
		{"no bits of the client", []string{edit("setmask 255.192.0.127,", "setmask 0.0.0.0,")}, []string{"selects no bit of src-ip"}},
		{"answers by another mask", []string{edit("0.0.15.0,1,3,255.255.255.255", "0.0.7.0,1,3,255.255.255.255")}, []string{"line 12", "natin", "needs flow:src-ip,proto,src-port,dst-ip with 0.0.15.0,1,3,255.255.255.255"}},
		{"a nat without address", []string{edit("nat 6 config ip 192.0.2.5 same_ports", "nat 6 config if ix0")}, []string{`nat 6 needs an address; write "nat 6 config ip 192.0.2.1"`}},
		{"a nat with a wrong address", []string{edit("nat 6 config ip 192.0.2.5 ", "nat 6 config ip 192.0.2.555 ")}, []string{"192.0.2.555", "no IPv4 address"}},
		{"a nat that is not there", []string{edit("nat 6 config ip 192.0.2.5 same_ports\n", "")}, []string{`names nat "6"`, "nat N config ip ADDRESS"}},
		{"a group without entry", []string{edit(entry5, "")}, []string{"no entry for the clients of group 100.64.0.5, of 128", "table natout add 100.64.0.5,6,0.0.0.0,0 1"}},
		{"two groups with one address", []string{edit("nat 6 config ip 192.0.2.5 ", "nat 6 config ip 192.0.2.4 ")}, []string{"groups 100.64.0.4 and 100.64.0.5 both leave from 192.0.2.4"}},
		{"two addresses for a group", []string{edit(entry5, entry5+"table natout add 100.64.0.5,udp,0.0.0.0,0 7\n")}, []string{"clients of group 100.64.0.5 leave from 192.0.2.6 here and from 192.0.2.5 elsewhere"}},
		{"one entry twice", []string{edit(entry5, entry5+entry5)}, []string{"line 150", "natout"}},
		{"clients elsewhere", []string{"-internal", "10.0.0.0/8"}, []string{"clients of group 100.64.0.0 are not in -internal 10.0.0.0/8"}},
		{"answers to another instance", []string{edit("table natin add 0.0.0.0,tcp,0,192.0.2.5 6", "table natin add 0.0.0.0,tcp,0,192.0.2.5 7")}, []string{"answers to nat 7 that belong to nat 6"}},
		{"answers to nobody", []string{edit("table natin add 0.0.0.0,tcp,0,192.0.2.5 6", "table natin add 0.0.0.0,tcp,0,192.0.2.255 6")}, []string{"answers to nat 6 that no client asked for"}},
		{"an external address inside", []string{edit("nat 6 config ip 192.0.2.5 ", "nat 6 config ip 100.64.0.5 ", "table natin add 0.0.0.0,tcp,0,192.0.2.5 6\n", "")}, []string{"100.64.0.5 is in -internal"}},
		{"IPv6", []string{edit("255.192.0.127,1,0.0.15.0,3", "::7f,1,::f00,3", "100.64.0.", "2001:db8::", "tcp,0.0.0.0,0", "tcp,::,0")}, []string{"IPv6"}},
		{"another type of values", []string{edit("dst-port valtype nat", "dst-port valtype fib")}, []string{"must be of type nat"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := runOut(t, append([]string{"-quiet"}, c.args...)...)
			require.Equal(t, exitUsage, code, out)
			for _, want := range c.want {
				require.Contains(t, errs, want)
			}
			for _, l := range strings.Split(strings.TrimSpace(errs), "\n") {
				require.True(t, strings.HasPrefix(l, "ipfwnat: "), l)
			}
		})
	}
}

// TestExpandedScriptIsTheSame writes the whole script and reads it back.
func TestExpandedScriptIsTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "all.ipfw")
	code, out, _ := runOut(t, "-expand", path)
	require.Equal(t, exitProven, code)
	require.Contains(t, out, "16,384 nat instances")

	short, err := loadScheme(optionsOf(t))
	require.NoError(t, err)
	long, err := loadScheme(optionsOf(t, path))
	require.NoError(t, err)
	require.Equal(t, 128, short.given)
	require.Equal(t, 16384, long.given)
	require.Equal(t, short.order, long.order)
	require.Equal(t, short.nats, long.nats)
	require.Equal(t, short.addresses, long.addresses)
	require.Equal(t, short.text, long.text)
	require.Equal(t, 16384, long.outTable.Len())
	require.Equal(t, 16384, long.inTable.Len())

	// The table for answers follows from the other one.
	var lines []string
	for l := range strings.Lines(long.text) {
		if !strings.HasPrefix(l, "table natin") {
			lines = append(lines, l)
		}
	}
	alone := filepath.Join(t.TempDir(), "alone.ipfw")
	require.NoError(t, os.WriteFile(alone, []byte(strings.Join(lines, "")), 0o644))
	derived, err := loadScheme(optionsOf(t, alone))
	require.NoError(t, err)
	require.True(t, derived.derived)
	require.Equal(t, short.text, derived.text)
}

// TestReportScript spells out some of the 16,384 instances by hand.
func TestReportScript(t *testing.T) {
	s, err := loadScheme(optionsOf(t))
	require.NoError(t, err)
	require.Equal(t, "255.192.0.127,1,0.0.15.0,3", s.out.String())
	require.Equal(t, "0.0.15.0,1,3,255.255.255.255", s.in.String())
	for _, line := range []string{
		"nat 1 config ip 192.0.2.0 same_ports",
		"nat 134 config ip 192.0.2.5 same_ports",
		"table natout add 100.64.0.5,6,0.0.0.0,0 6",
		"table natout add 100.64.0.5,17,0.0.0.0,0 134",
		"table natout add 100.64.0.5,6,0.0.0.0,1 262",
		"table natout add 100.64.0.127,17,0.0.15.0,3 16384",
		"table natin add 0.0.0.0,17,0,192.0.2.5 134",
		"table natin add 0.0.15.0,17,3,192.0.2.127 16384",
		"add 500 nat tablearg ip from any to any flow 'table(natin)' in recv ix1",
	} {
		require.Contains(t, s.text, "\n"+line+"\n")
	}
}

// TestOtherOrderOfAddresses gives group i the address 127 - i: the engine follows.
func TestOtherOrderOfAddresses(t *testing.T) {
	script := regexp.MustCompile(`192\.0\.2\.(\d+)`).ReplaceAllStringFunc(reportScript, func(a string) string {
		n, _ := strconv.Atoi(a[len("192.0.2."):])
		return fmt.Sprintf("192.0.2.%d", 127-n)
	})
	path := filepath.Join(t.TempDir(), "x.ipfw")
	require.NoError(t, os.WriteFile(path, []byte(script), 0o644))
	r := play(t, "-span", "20s", "-clients", "60", path)
	requireProven(t, r)
	require.Equal(t, netip.MustParseAddr("192.0.2.127"), r.scheme.addresses[0])
}

// TestOtherMasks plays schemes of other shapes.
func TestOtherMasks(t *testing.T) {
	for _, c := range []struct {
		name, script string
		places       int
	}{
		{"no protocol, two groups by a high bit", `
table o create type flow:src-ip,dst-port valtype nat
table o setmask 0.32.0.0,6
nat 7 config ip 198.51.100.9
nat 3 config ip 198.51.100.1
table o add 100.96.0.0,0 7 100.64.0.0,0 3
`, 2 * 4},
		{"no classes", `
ipfw -q table o create type flow:src-ip,proto valtype nat
ipfw -q table o setmask 0.0.1.1,255
ipfw nat 1 config ip 198.51.100.1
ipfw nat 2 config ip 198.51.100.2
ipfw nat 3 config ip 198.51.100.3
ipfw nat 4 config ip 198.51.100.4
ipfw table o add 100.64.0.0,tcp 1 100.64.0.1,tcp 2 100.64.1.0,udp 3 100.64.1.1,udp 4
ipfw table i create type flow:proto,dst-ip
ipfw table i setmask 255,0.0.0.7
`, 4 * 2},
		{"one group, 256 classes", `
table o create type flow:src-ip,dst-ip
table o setmask 255.192.0.0,0.0.0.255
nat 1 config ip 198.51.100.1
table o add 100.64.0.0,0.0.0.0 1
`, 256},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.ipfw")
			require.NoError(t, os.WriteFile(path, []byte(c.script), 0o644))
			r := play(t, "-span", "20s", "-clients", "50", "-out", "o", "-in", "i", path)
			requireProven(t, r)
			require.Equal(t, c.places, r.scheme.places())
			require.Empty(t, r.Refused)
			r.write(io.Discard)
		})
	}
}

// TestProofImportsNothingOfTheLibrary reads the imports of the proof.
func TestProofImportsNothingOfTheLibrary(t *testing.T) {
	files, err := filepath.Glob("internal/proof/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, i := range f.Imports {
			require.NotContains(t, i.Path.Value, ".", "%s imports more than the standard library", name)
		}
	}
}
