package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/examples/internal/cli"
	"github.com/blocknat/blocknat/examples/quickstart/internal/proof"
	"github.com/blocknat/blocknat/examples/quickstart/internal/testpacket"
	"github.com/blocknat/blocknat/natcore"
)

const captures = "../../data"

func play(t *testing.T, args ...string) *summary {
	o, err := parseFlags(append([]string{"-out", t.TempDir()}, args...), nil)
	require.NoError(t, err)
	s, err := quickstart(o, &cli.Progress{})
	require.NoError(t, err)
	for _, c := range s.Checks {
		require.Zero(t, c.Violations, "%s: %v", c.Name, c.Examples)
	}
	return s
}

func (s *summary) dropped(r natcore.Reason) int {
	for _, l := range s.Drops {
		if l.Name == r.String() {
			return l.Count
		}
	}
	return 0
}

// TestSubscribers plays the project's capture from end to end.
func TestSubscribers(t *testing.T) {
	s := play(t, "-seed", "end to end")
	require.Equal(t, 44633, s.Packets)
	require.Equal(t, s.Packets, s.Outbound+s.Inbound+s.Hairpin+s.Bypassed+s.Held-s.HeldSent+total(s.Drops)+total(s.Unplayed))
	require.Greater(t, s.Outbound, 8000)
	require.Greater(t, s.Inbound, 8000)
	require.Greater(t, s.Hairpin, 20000)
	require.Positive(t, s.Errors)
	require.Greater(t, s.Fragments, 2000)
	require.Positive(t, s.HeldSent)
	require.Equal(t, 5688, s.dropped(natcore.ReasonIPv6))
	require.Greater(t, s.dropped(natcore.ReasonProtocol), 400)
	require.Positive(t, s.Mappings)
	require.Empty(t, s.Refusals)

	require.Positive(t, s.End.Sessions)
	require.Positive(t, s.End.BlocksHeating)
	require.Zero(t, s.Rest.Sessions)
	require.Zero(t, s.Rest.Subscribers)
	require.Zero(t, s.Rest.BlocksHeating+s.Rest.BlocksCooling)
	require.Equal(t, s.Rest.BlocksAllocated, s.Rest.BlocksReleased)
	require.Equal(t, s.Rest.BlocksAllocated+s.Rest.BlocksReleased, s.BlockRecords)
	require.Greater(t, s.Sessions, s.BlockRecords)
	require.Greater(t, len(s.Peaks), 250)
	for _, c := range s.Checks {
		if !strings.Contains(c.Name, "guard time") { // whether a block comes again so soon is chance
			require.Positive(t, c.Cases, c.Name)
		}
	}
}

// TestSameSeedSameResult plays twice: files and reports are equal but for the times.
func TestSameSeedSameResult(t *testing.T) {
	var reports, packets [2][]byte
	for i := range reports {
		dir := t.TempDir()
		code, out, errs := execute(t, "-seed", "same", "-out", dir)
		require.Equal(t, exitProven, code, errs)
		require.Empty(t, errs)
		requirePlain(t, strings.ReplaceAll(out, dir, ""))
		require.True(t, strings.HasSuffix(out, "\nviolations: 0\n"))
		saved, err := os.ReadFile(filepath.Join(dir, reportName))
		require.NoError(t, err)
		require.Equal(t, out, string(saved))
		times := regexp.MustCompile(`(?s)\nSpeed\n.*\n\nFiles\n.*\n\nProof`)
		require.True(t, times.MatchString(out))
		reports[i] = times.ReplaceAll([]byte(out), nil)
		packets[i], err = os.ReadFile(filepath.Join(dir, pcapName))
		require.NoError(t, err)
	}
	require.Equal(t, string(reports[0]), string(reports[1]))
	require.True(t, bytes.Equal(packets[0], packets[1]))
}

// TestCorners plays the capture through NATs that are too small or strict: packets are refused by name, and nothing is violated.
func TestCorners(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []natcore.Reason
	}{
		"one address":    {[]string{"-pool", "203.0.113.9"}, []natcore.Reason{natcore.ReasonAddressesExhausted}},
		"tiny blocks":    {[]string{"-pool", "203.0.113.9", "-block", "16"}, []natcore.Reason{natcore.ReasonBlockLimit}},
		"huge blocks":    {[]string{"-block", "4096"}, []natcore.Reason{natcore.ReasonAddressesExhausted}},
		"strict TCP":     {[]string{"-strict-tcp"}, []natcore.Reason{natcore.ReasonNoSession}},
		"fewer internal": {[]string{"-internal", "100.64.0.0/25"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := play(t, append([]string{"-seed", "corners"}, c.args...)...)
			for _, r := range c.want {
				require.Positive(t, s.dropped(r)+refused(s, r), r)
			}
			if name == "one address" { // all of its blocks are taken again and again
				for _, c := range s.Checks {
					require.Positive(t, c.Cases, c.Name)
				}
			}
		})
	}
}

func refused(s *summary, r natcore.Reason) int {
	for _, l := range s.Refusals {
		if l.Name == r.String() {
			return l.Count
		}
	}
	return 0
}

// TestEveryCapture plays all captures of the project, many of them malformed
// on purpose: once with the private addresses as subscribers, once with all hosts.
func TestEveryCapture(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(captures, "*", "*.pcap*"))
	require.NoError(t, err)
	require.Greater(t, len(paths), 90)
	withoutIP := map[string]bool{"communityid__arp.pcap": true, "trunc__trunc-hdr.pcap": true, "icmp-rfc8335-missing-bytes.pcap": true}
	played := 0
	for _, path := range paths {
		for _, internal := range []string{"10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,127.0.0.0/8,141.142.0.0/16", "0.0.0.0/1,128.0.0.0/2,192.0.0.0/5"} {
			o, err := parseFlags([]string{"-out", t.TempDir(), "-seed", "every", "-internal", internal, path}, nil)
			require.NoError(t, err)
			s, err := quickstart(o, &cli.Progress{})
			if withoutIP[filepath.Base(path)] {
				require.ErrorContains(t, err, "it holds no IP packets", path)
				continue
			}
			require.NoError(t, err, path)
			for _, c := range s.Checks {
				require.Zero(t, c.Violations, "%s: %s: %v", path, c.Name, c.Examples)
			}
			played += s.Outbound + s.Inbound + s.Hairpin
		}
	}
	require.Greater(t, played, 1500)
}

// TestNoSubscriber says what to do about a capture of other hosts.
func TestNoSubscriber(t *testing.T) {
	code, out, _ := execute(t, "-out", t.TempDir(), filepath.Join(captures, "zeek", "ftp__ipv4.pcap"))
	require.Equal(t, exitProven, code)
	require.Contains(t, out, "name the subscribers with")
}

func TestQuiet(t *testing.T) {
	code, out, errs := execute(t, "-quiet", "-out", t.TempDir(), filepath.Join(captures, "zeek", "ftp__ipv4.pcap"))
	require.Equal(t, exitProven, code)
	require.Equal(t, "violations: 0\n", out)
	require.Empty(t, errs)
}

// TestTsharkOpensTheResult has tshark read every packet.
func TestTsharkOpensTheResult(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	dir := t.TempDir()
	code, _, _ := execute(t, "-out", dir, "-seed", "tshark", filepath.Join(captures, "zeek", "ftp__ipv4.pcap"), "-internal", "141.142.0.0/16")
	require.Equal(t, exitUsage, code, "flags come before the capture")
	code, _, _ = execute(t, "-out", dir, "-seed", "tshark", "-internal", "141.142.0.0/16", filepath.Join(captures, "zeek", "ftp__ipv4.pcap"))
	require.Equal(t, exitProven, code)
	var out, errs bytes.Buffer
	cmd := exec.Command(tshark, "-r", filepath.Join(dir, pcapName), "-T", "fields", "-e", "ip.src", "-e", "_ws.malformed")
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), errs.String())
	for _, l := range strings.Split(strings.TrimSpace(errs.String()), "\n") {
		require.True(t, l == "" || strings.HasPrefix(l, "Running as user"), l)
	}
	require.Equal(t, 95, strings.Count(out.String(), "\n"))
}

// TestCorruptedResultsAreSeen changes the files between the run and the proof.
func TestCorruptedResultsAreSeen(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		edit func([]byte) []byte
	}{
		"a record is lost": {blocksName, func(b []byte) []byte { return b[bytes.IndexByte(b, '\n')+1:] }},
		"a record has another subscriber": {blocksName, func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte(`"subscriber":"141.142.220.`), []byte(`"subscriber":"141.142.221.`))
		}},
		"a record has another block": {blocksName, func(b []byte) []byte {
			return regexp.MustCompile(`"first":\d+,"last":\d+`).ReplaceAll(b, []byte(`"first":1,"last":1`))
		}},
		"the log is empty":              {blocksName, func([]byte) []byte { return nil }},
		"a packet is lost":              {pcapName, func(b []byte) []byte { return b[:24] }},
		"a byte of a packet is changed": {pcapName, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parseFlags([]string{"-out", t.TempDir(), "-seed", "corrupted", "-internal", "141.142.0.0/16", filepath.Join(captures, "zeek", "ftp__ipv4.pcap")}, nil)
			require.NoError(t, err)
			r, err := newRun(o)
			require.NoError(t, err)
			defer r.close()
			require.NoError(t, r.play(&cli.Progress{}))
			path := r.files.path(c.file)
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			changed := c.edit(bytes.Clone(b))
			require.NotEqual(t, b, changed)
			require.NoError(t, os.WriteFile(path, changed, 0o644))
			s, err := r.prove()
			if err == nil {
				require.Positive(t, s.violations())
				require.Equal(t, exitViolated, s.exitCode())
			} else {
				require.ErrorContains(t, err, "cannot be read back")
			}
		})
	}
}

// TestFaultyEngineIsSeen corrupts what comes out of the engine before it is
// judged, as an engine with a defect would.
func TestFaultyEngineIsSeen(t *testing.T) {
	for bit := 0; bit < 8*28; bit += 5 {
		s := newScenario(t)
		query := testpacket.UDP(alice+":5000", server+":53", "query")
		result := bytes.Clone(query)
		verdict, _ := s.run(proof.Outbound, result)
		require.Equal(t, natcore.Forward, verdict)
		result[bit/8] ^= 1 << (bit % 8)
		s.now, s.tick = began, began.Add(time.Second)
		require.NoError(t, s.translated(proof.Case{Number: 1, Time: began, Original: query, Given: query, Result: result}, len(query)))
		_, err := s.finish()
		require.NoError(t, err)
		require.NoError(t, s.proof.Records(&s.log))
		require.Positive(t, s.proof.Violations(), "bit %d", bit)
	}
}
