package main

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/examples/quickstart/internal/capture"
	"github.com/blocknat/blocknat/examples/quickstart/internal/proof"
	"github.com/blocknat/blocknat/examples/quickstart/internal/testpacket"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
)

// scenario is a player with an engine, a log in memory and a proof.
type scenario struct {
	*player
	t       *testing.T
	number  int
	written [][]byte
	log     bytes.Buffer
}

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newScenario(t *testing.T, args ...string) *scenario {
	o, err := parseFlags(append([]string{"-seed", t.Name()}, args...), nil)
	require.NoError(t, err)
	s := &scenario{t: t}
	engine, err := natcore.New(config(o, logging.NewWriter(&s.log, logging.JSON{})), began)
	require.NoError(t, err)
	s.player = newPlayer(engine, o, proof.New(proof.Times{HoldDown: 2 * time.Minute, GuardTime: 2 * time.Minute, UDP: idleUDP, ICMP: idleICMP, TCP: idleTCP}))
	s.emit = func(_ time.Time, b []byte, _ int) error {
		s.written = append(s.written, bytes.Clone(b))
		return nil
	}
	return s
}

// at plays a packet some time after the beginning.
func (s *scenario) at(after time.Duration, b []byte) {
	s.t.Helper()
	s.number++
	require.NoError(s.t, s.play(capture.Packet{Number: s.number, Time: began.Add(after), Bytes: b, Length: len(b)}))
}

// end lets all time pass and asks for the proof.
func (s *scenario) end() {
	s.t.Helper()
	_, err := s.finish()
	require.NoError(s.t, err)
	require.NoError(s.t, s.proof.Records(&s.log))
	for _, c := range s.proof.Checks() {
		require.Zero(s.t, c.Violations, "%s: %v", c.Name, c.Examples)
	}
	t := &s.tally
	sum := t.played[0] + t.played[1] + t.played[2] + t.bypassed + t.held - t.heldSent + total(sorted(t.unplayed))
	for _, n := range t.drops {
		sum += n
	}
	require.Equal(s.t, t.packets, sum, "each packet is counted once")
}

const (
	alice, bob = "100.64.0.1", "100.64.0.2"
	server     = "198.18.0.9"
)

func TestReplyFollowsTheMapping(t *testing.T) {
	s := newScenario(t)
	s.at(0, testpacket.UDP(alice+":5000", server+":53", "query"))
	answer := testpacket.UDP(server+":53", alice+":5000", "answer")
	s.at(time.Second, answer)
	require.Equal(t, [3]int{1, 1, 0}, s.tally.played)
	require.Zero(t, s.tally.mappings)
	require.Equal(t, answer, s.written[1])
	out := parsed(t, s.written[0])
	require.Equal(t, "203.0.113.0/30", prefixOf(out))
	s.end()
}

// prefixOf tells whether the source is in the default pool.
func prefixOf(p ipv4) string {
	if strings.HasPrefix(p.src.String(), "203.0.113.") {
		return "203.0.113.0/30"
	}
	return p.src.String()
}

func TestServersAskForAMapping(t *testing.T) {
	s := newScenario(t)
	s.at(0, testpacket.TCP(server+":40000", alice+":80", testpacket.SYN, ""))
	require.Equal(t, 1, s.tally.mappings)
	s.at(time.Second, testpacket.TCP(alice+":80", server+":40000", testpacket.SYN|testpacket.ACK, ""))
	s.at(2*time.Second, testpacket.TCP(server+":40000", alice+":80", testpacket.ACK, "GET"))
	require.Equal(t, 1, s.tally.mappings)
	require.Equal(t, [3]int{1, 2, 0}, s.tally.played)
	s.end()
}

func TestAnOldMappingIsNotTrusted(t *testing.T) {
	s := newScenario(t)
	s.at(0, testpacket.UDP(alice+":5000", server+":53", "query"))
	s.at(idleUDP, testpacket.UDP(server+":53", alice+":5000", "late"))
	require.Equal(t, 1, s.tally.mappings)
	require.Equal(t, [3]int{1, 1, 0}, s.tally.played)
	s.end()
}

func TestHairpin(t *testing.T) {
	s := newScenario(t)
	s.at(0, testpacket.TCP(alice+":5000", bob+":80", testpacket.SYN, ""))
	s.at(time.Millisecond, testpacket.TCP(bob+":80", alice+":5000", testpacket.SYN|testpacket.ACK, ""))
	s.at(2*time.Millisecond, testpacket.TCP(alice+":5000", bob+":80", testpacket.ACK, "GET"))
	s.at(time.Second, testpacket.UDP(alice+":6000", alice+":7000", "to myself"))
	require.Equal(t, [3]int{0, 0, 4}, s.tally.played)
	require.Equal(t, 2, s.tally.mappings)
	for _, b := range s.written {
		require.Equal(t, "203.0.113.0/30", prefixOf(parsed(t, b)))
	}
	s.end()
}

func TestQueries(t *testing.T) {
	s := newScenario(t)
	s.at(0, testpacket.ICMP(alice, server, 8, 7, 1, "ping"))
	s.at(time.Second, testpacket.ICMP(server, alice, 0, 7, 1, "ping"))
	s.at(2*time.Second, testpacket.ICMP(alice, bob, 8, 7, 2, "ping"))
	require.Equal(t, [3]int{1, 1, 0}, s.tally.played)
	require.Equal(t, map[string]int{noQueryHairpin: 1}, s.tally.unplayed)
	s.end()
}

func TestErrors(t *testing.T) {
	s := newScenario(t)
	query := testpacket.UDP(alice+":5000", server+":53", "query")
	s.at(0, query)
	s.at(time.Second, testpacket.Unreachable(server, alice, query)) // in
	answer := testpacket.UDP(server+":53", alice+":5000", "answer")
	s.at(2*time.Second, answer)
	s.at(3*time.Second, testpacket.Unreachable(alice, server, answer)) // out
	hello := testpacket.UDP(alice+":5000", bob+":80", "hello")
	s.at(4*time.Second, hello)
	s.at(5*time.Second, testpacket.Unreachable(bob, alice, hello)) // hairpinned
	ping := testpacket.ICMP(alice, server, 8, 7, 1, "ping")
	s.at(6*time.Second, ping)
	s.at(7*time.Second, testpacket.Unreachable(server, alice, ping)) // about a query
	syn := testpacket.TCP(alice+":5001", server+":80", testpacket.SYN, "")
	s.at(8*time.Second, syn)
	s.at(9*time.Second, testpacket.Unreachable("198.18.0.1", alice, syn[:28])) // from a router, with the least that it may quote
	require.Equal(t, [3]int{4, 4, 2}, s.tally.played)
	require.Equal(t, 5, s.tally.errors)
	s.at(10*time.Second, testpacket.Unreachable(server, alice, testpacket.UDP(alice+":9999", server+":53", "never sent")))
	require.Equal(t, map[string]int{noQuoted: 1}, s.tally.unplayed)
	s.at(11*time.Second, testpacket.Unreachable(server, alice, testpacket.Other(alice, server, 132, "never sent")))
	require.Equal(t, 1, s.tally.drops[natcore.ReasonICMPNoMatch])
	s.end()
}

func TestFragments(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 20)
	for _, way := range []struct {
		name     string
		src, dst string
	}{{"outbound", alice + ":5000", server + ":53"}, {"inbound", server + ":53", alice + ":5000"}, {"hairpin", bob + ":5000", alice + ":5000"}} {
		parts := testpacket.Fragments(testpacket.UDP(way.src, way.dst, big), 128)
		require.Len(t, parts, 3)
		t.Run(way.name+" in order", func(t *testing.T) {
			s := newScenario(t)
			s.at(0, testpacket.UDP(alice+":5000", server+":53", "first"))
			for _, f := range parts {
				s.at(time.Second, f)
			}
			require.Equal(t, 4, s.tally.played[0]+s.tally.played[1]+s.tally.played[2])
			require.Equal(t, 3, s.tally.fragments)
			s.end()
		})
		t.Run(way.name+" the first one last", func(t *testing.T) {
			s := newScenario(t)
			s.at(0, testpacket.UDP(alice+":5000", server+":53", "first"))
			s.at(time.Second, parts[2])
			s.at(time.Second, parts[1])
			require.Equal(t, 2, s.tally.held)
			s.at(time.Second, parts[0])
			require.Equal(t, 2, s.tally.heldSent)
			require.Equal(t, 4, s.tally.played[0]+s.tally.played[1]+s.tally.played[2])
			s.end()
		})
		t.Run(way.name+" without a first one", func(t *testing.T) {
			s := newScenario(t)
			s.at(0, testpacket.UDP(alice+":5000", server+":53", "first"))
			s.at(time.Second, parts[1])
			s.end()
			require.Equal(t, 1, s.tally.held)
			require.Zero(t, s.tally.heldSent)
		})
	}
	t.Run("to a subscriber without an address", func(t *testing.T) {
		s := newScenario(t)
		s.at(0, testpacket.Fragments(testpacket.UDP(server+":53", alice+":5000", big), 128)[1])
		require.Equal(t, map[string]int{noFirst: 1}, s.tally.unplayed)
		s.end()
	})
}

func TestWhatIsNotTranslated(t *testing.T) {
	s := newScenario(t)
	six, err := hex.DecodeString("6000000000083b40" + "20010db8000100000000000000000001" + "20010db8ffff00000000000000000001" + "0000000000000000")
	require.NoError(t, err)
	s.at(0, six)
	s.at(0, testpacket.Other(alice, server, 132, "sctp"))
	s.at(0, testpacket.Other(server, alice, 47, "gre"))
	s.at(0, testpacket.Other(alice, bob, 50, "esp"))
	s.at(0, testpacket.UDP(server+":1", "198.18.0.1:2", "between remote hosts"))
	s.at(0, []byte{0x45, 0})
	require.Equal(t, 1, s.tally.drops[natcore.ReasonIPv6])
	require.Equal(t, 3, s.tally.drops[natcore.ReasonProtocol])
	require.Equal(t, map[string]int{noSubscriber: 1}, s.tally.unplayed)
	require.Equal(t, 1, s.tally.drops[natcore.ReasonTruncated]+s.tally.drops[natcore.ReasonMalformed])
	require.Empty(t, s.written)
	s.end()
}

func TestFullPoolRefusesMappingsByName(t *testing.T) {
	s := newScenario(t, "-pool", "203.0.113.1", "-block", "4096")
	for i := range 20 { // 16 blocks of 4096, less those below 1024
		s.at(0, testpacket.UDP("100.64.1."+count(i)+":5000", server+":53", "query"))
	}
	require.Positive(t, s.tally.drops[natcore.ReasonAddressesExhausted])
	s.at(time.Second, testpacket.TCP(server+":40000", alice+":80", testpacket.SYN, ""))
	require.Equal(t, map[string]int{noMapping: 1}, s.tally.unplayed)
	require.Equal(t, map[string]int{natcore.ReasonAddressesExhausted.String(): 1}, s.tally.refusals)
	s.end()
}

func TestTimeNeverRunsBackwards(t *testing.T) {
	s := newScenario(t)
	s.at(time.Minute, testpacket.UDP(alice+":5000", server+":53", "query"))
	s.at(0, testpacket.UDP(server+":53", alice+":5000", "answer"))
	require.Equal(t, began.Add(time.Minute), s.now)
	s.at(100*24*time.Hour, testpacket.UDP(alice+":5000", server+":53", "months later")) // skipped, once all is at rest
	require.Less(t, s.ticks, 20000)
	s.end()
}

// TestCountsAreTheEngines compares what the player counted with the engine's own counters.
func TestCountsAreTheEngines(t *testing.T) {
	s := newScenario(t)
	s.at(0, testpacket.UDP(alice+":5000", server+":53", "query"))
	s.at(0, testpacket.UDP(server+":53", alice+":5000", "answer"))
	s.at(0, testpacket.UDP(bob+":5000", alice+":5000", "hello"))
	s.at(0, testpacket.Other(alice, server, 132, "sctp"))
	e := s.engine.Stats()
	require.EqualValues(t, 1, e.Packets[natcore.Outbound][natcore.Forward])
	require.EqualValues(t, 1, e.Packets[natcore.Inbound][natcore.Forward])
	require.EqualValues(t, 1, e.Packets[natcore.Outbound][natcore.Hairpin])
	for reason, n := range s.tally.drops {
		require.EqualValues(t, n, e.Drops[reason], reason)
	}
	s.end()
}
