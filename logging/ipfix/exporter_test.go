package ipfix

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/loggingtest"
)

func TestConformance(t *testing.T) {
	for _, v := range []Version{IPFIX, NetFlow9} {
		t.Run(fmt.Sprint("version=", v), func(t *testing.T) {
			loggingtest.Run(t, func(t *testing.T) loggingtest.Harness {
				e, _ := newExporter(t, Config{Version: v})
				return loggingtest.Harness{Log: e}
			})
		})
	}
}

func genRecord(t *rapid.T) logging.Record {
	r := blockRecord()
	r.Kind = logging.Kind(rapid.IntRange(1, 15).Draw(t, "kind"))
	r.Resource = logging.Resource(rapid.IntRange(1, 7).Draw(t, "resource"))
	r.Time = vectorTime + logging.Millis(rapid.IntRange(0, 1000000).Draw(t, "time"))
	r.Allocated = vectorTime
	r.Protocol = rapid.SampledFrom([]uint8{0, 1, 6, 17}).Draw(t, "protocol")
	r.Spaces = logging.Spaces(rapid.IntRange(1, 7).Draw(t, "spaces"))
	r.Max = rapid.Uint32().Draw(t, "max")
	r.Instance = rapid.Uint32().Draw(t, "instance")
	r.PoolID = rapid.Uint32().Draw(t, "pool")
	r.Realm = strings.Repeat("r", rapid.SampledFrom([]int{0, 1, 254, 255, 256, 300}).Draw(t, "realm"))
	if rapid.Bool().Draw(t, "v6") {
		r.Subscriber = host6
	}
	if r.Kind >= logging.SessionCreated && r.Kind <= logging.MappingDeleted {
		r.Last = r.First
		r.Internal = netip.AddrPortFrom(r.Subscriber, rapid.Uint16().Draw(t, "port"))
	}
	return r
}

// TestStream sends random records in every configuration through the decoder:
// nothing exceeds the MTU, every record comes out as it went in and in order, no
// data precedes its template, and sequence numbers are what RFC 7011 (data
// records) and RFC 3954 (packets) say. Rows 8158-01, 8158-11 and 8158-15.
func TestStream_RFC8158_01_15(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Config{
			Version:          rapid.SampledFrom([]Version{IPFIX, NetFlow9}).Draw(t, "version"),
			Domain:           rapid.Uint32().Draw(t, "domain"),
			MTU:              rapid.SampledFrom([]int{0, 512, 513, 601, 65535}).Draw(t, "mtu"),
			Batch:            rapid.Bool().Draw(t, "batch"),
			Mandatory:        rapid.Bool().Draw(t, "mandatory"),
			Interim:          rapid.Bool().Draw(t, "interim"),
			TemplateInterval: rapid.SampledFrom([]time.Duration{0, -1, time.Second}).Draw(t, "interval"),
			TemplateMessages: rapid.SampledFrom([]int{0, -1, 2}).Draw(t, "every"),
			Sequence:         rapid.SampledFrom([]uint32{0, 1<<32 - 3}).Draw(t, "sequence"),
			Boot:             vectorTime.Time().Add(-time.Hour),
		}
		c.Realms = c.Version == IPFIX && rapid.Bool().Draw(t, "realms")
		pools := rapid.IntRange(0, 20).Draw(t, "pools")
		for i := range pools {
			c.Pools = append(c.Pools, Pool{uint32(i), strings.Repeat("p", i)})
		}
		s := &sink{}
		e, err := NewExporter(s, c)
		if err != nil {
			t.Fatal(err)
		}
		var want []logging.Record
		var events []event
		for range rapid.IntRange(0, 60).Draw(t, "records") {
			r := genRecord(t)
			fails := rapid.IntRange(0, 5).Draw(t, "fails") == 0
			if s.err = nil; fails {
				s.err = io.ErrClosedPipe
			}
			err := e.Append(&r)
			// Long realms, once for each protocol, may exceed a small message.
			large := errors.Is(err, ErrTooLarge) && c.Realms && c.MTU != 65535 && c.MTU != 0
			if err != nil && !fails && !large {
				t.Fatal(err)
			}
			var v values
			if v.set(&r, &e.c) != nil || v.shape == shapeNone || err != nil {
				continue
			}
			for range v.protocols {
				want = append(want, r)
				events = append(events, v.event)
			}
		}
		s.err = nil
		if err := e.Flush(); err != nil {
			t.Fatal(err)
		}
		var d decoder
		seq := c.Sequence
		got := 0
		for _, b := range s.messages {
			if limit := max(c.MTU, 512); len(b) > limit && c.MTU != 0 || len(b) > 1400 && c.MTU == 0 {
				t.Fatalf("%d octets", len(b))
			}
			m, err := d.message(b)
			if err != nil {
				t.Fatal(err)
			}
			if m.seq != seq || m.domain != c.Domain {
				t.Fatalf("sequence %d, want %d", m.seq, seq)
			}
			if c.Version == NetFlow9 {
				seq++
			} else {
				seq += uint32(len(m.data))
			}
			if c.Version == NetFlow9 && (m.uptime < 3600000 || m.uptime > 3600000+1000000) {
				t.Fatalf("uptime %d", m.uptime)
			}
			for _, f := range m.data {
				if _, ok := f[284]; ok {
					if name := strings.TrimRight(f[284], "\x00"); int(f.uint(283)) != len(name) {
						t.Fatalf("pool %d has name %q", f.uint(283), name)
					}
					continue
				}
				if got == len(want) {
					t.Fatal("more records came out than went in")
				}
				r, ev := &want[got], events[got]
				got++
				if f.uint(230) != uint64(ev.number) || f[4] != "" && r.Protocol != 0 && f.uint(4) != uint64(r.Protocol) {
					t.Fatalf("got %v, want %+v", f, r)
				}
				if when := r.Time; r.Kind != logging.BlockInterim && f.uint(323) != uint64(when) {
					t.Fatalf("time %d, want %d", f.uint(323), when)
				}
				if c.Realms && f[464] != r.Realm && hasRealms(ev.shape) {
					t.Fatalf("realm %q, want %q", f[464], r.Realm)
				}
				if f[283] != "" && f.uint(283) != uint64(r.PoolID) || f[463] != "" && f.uint(463) != uint64(r.Instance) {
					t.Fatalf("got %v, want %+v", f, r)
				}
			}
		}
		if got != len(want) {
			t.Fatalf("%d records came out, want %d", got, len(want))
		}
		if st := e.Stats(); int(st.Messages) != len(s.messages) {
			t.Fatalf("%+v for %d messages", st, len(s.messages))
		}
	})
}

// FuzzExporter exports whatever record JSON lines can say: every message can be
// read by its templates and none exceeds the MTU.
func FuzzExporter(f *testing.F) {
	for _, r := range loggingtest.Records() { // one of each kind
		f.Add(logging.JSON{}.AppendRecord(nil, &r), true, uint16(0))
	}
	f.Fuzz(func(t *testing.T, line []byte, nf9 bool, mtu uint16) {
		r, _, err := logging.ParseJSON(line)
		if err != nil {
			return
		}
		c := Config{MTU: int(max(mtu, 512)), Remotes: true, Interim: true, Realms: !nf9, Pools: []Pool{{7, "cgn"}}}
		if nf9 {
			c.Version = NetFlow9
		}
		e, s := newExporter(t, c)
		var d decoder
		for range 3 {
			if err := e.Append(&r); err != nil && !errors.Is(err, logging.ErrRecord) {
				t.Fatal(err)
			}
		}
		for _, b := range s.messages {
			if _, err := d.message(b); err != nil || len(b) > c.MTU {
				t.Fatalf("%d octets: %v", len(b), err)
			}
		}
	})
}

// TestRFC8158_15_Resend: templates come again by time and by count, each once,
// and in messages of their own.
func TestRFC8158_15_Resend(t *testing.T) {
	e, s := newExporter(t, Config{TemplateInterval: time.Minute, TemplateMessages: 10})
	r, q := blockRecord(), sessionRecord(host4)
	var d decoder
	templates := func() (counts []int) {
		for _, b := range s.messages {
			m, err := d.message(b)
			require.NoError(t, err)
			counts = append(counts, len(m.templates))
		}
		s.messages = nil
		return counts
	}
	require.NoError(t, e.Append(&r))
	require.NoError(t, e.Append(&q))
	require.NoError(t, e.Append(&r))
	require.Equal(t, []int{1, 1, 0}, templates())
	r.Time += 59999
	require.NoError(t, e.Append(&r))
	require.Equal(t, []int{0}, templates())
	r.Time++
	require.NoError(t, e.Append(&r))
	require.Equal(t, []int{2, 0}, templates(), "by time, before the data")
	for range 9 {
		require.NoError(t, e.Append(&r))
	}
	require.Equal(t, []int{0, 0, 0, 0, 0, 0, 0, 0, 0}, templates())
	require.NoError(t, e.Append(&r))
	require.Equal(t, []int{2, 0}, templates(), "by count")
	require.NoError(t, e.Resend(r.Time+59999))
	require.Empty(t, templates())
	require.NoError(t, e.Resend(r.Time+60000))
	require.Equal(t, []int{2}, templates(), "without records")
	var second sink
	e.Restart(&second)
	require.NoError(t, e.Append(&r))
	d = decoder{}
	for i, b := range second.messages {
		m, err := d.message(b)
		require.NoError(t, err)
		require.Zero(t, m.seq, "message %d", i)
	}
	require.Len(t, second.messages, 2)
}

// TestWriteFails: a message that was not sent is not counted and its template
// comes with the next one.
func TestWriteFails(t *testing.T) {
	e, s := newExporter(t, Config{})
	r := blockRecord()
	s.err = io.ErrClosedPipe
	require.ErrorIs(t, e.Append(&r), io.ErrClosedPipe)
	s.err = nil
	require.NoError(t, e.Append(&r))
	var d decoder
	m, err := d.message(s.messages[0])
	require.NoError(t, err)
	require.Zero(t, m.seq)
	require.Len(t, m.data, 1)
	require.Equal(t, Stats{Records: 1, Refused: 1, Messages: 1, Bytes: uint64(len(s.messages[0])), Templates: 1}, e.Stats())
	e, err = NewExporter(shortWriter{}, Config{})
	require.NoError(t, err)
	require.ErrorIs(t, e.Append(&r), io.ErrShortWrite)
}

type shortWriter struct{}

func (shortWriter) Write(b []byte) (int, error) { return len(b) - 1, nil }

func TestRefusals(t *testing.T) {
	e, _ := newExporter(t, Config{MTU: 512, Realms: true})
	r := blockRecord()
	r.Subscriber, r.SubscriberID = netip.Addr{}, "line 4"
	require.ErrorIs(t, e.Append(&r), ErrNoHost)
	r = blockRecord()
	r.External = host6
	require.ErrorIs(t, e.Append(&r), ErrExternal)
	r = blockRecord()
	r.Realm = strings.Repeat("x", 1000)
	require.ErrorIs(t, e.Append(&r), ErrTooLarge)
	r.Realm = ""
	require.NoError(t, e.Append(&r))
	require.EqualValues(t, 3, e.Stats().Refused)
}

func TestConfigFaults(t *testing.T) {
	_, err := NewExporter(io.Discard, Config{Version: 5, MTU: 100, FirstTemplate: 2, Pools: []Pool{{1, strings.Repeat("x", 65)}}})
	for _, want := range []string{"Version is 5", "MTU is 100", "FirstTemplate is 2", "Pools[0].Name"} {
		require.ErrorContains(t, err, want)
	}
	_, err = NewExporter(io.Discard, Config{Version: NetFlow9, Realms: true})
	var ce *ConfigError
	require.True(t, errors.As(err, &ce))
	require.Equal(t, "Realms", ce.Field)
}

func TestAllocatesNothing(t *testing.T) {
	for _, v := range []Version{IPFIX, NetFlow9} {
		e, err := NewExporter(io.Discard, Config{Version: v, TemplateMessages: 50, Pools: []Pool{{1, "cgn"}}})
		require.NoError(t, err)
		r, q := blockRecord(), sessionRecord(host6)
		require.NoError(t, e.Append(&r))
		require.Zero(t, testing.AllocsPerRun(200, func() {
			_ = e.Append(&r)
			_ = e.Append(&q)
		}), "version %d", v)
		require.Zero(t, testing.AllocsPerRun(10, func() {
			e.resend = true
			_ = e.Resend(r.Time)
		}), "templates, version %d", v)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, v := range []Version{IPFIX, NetFlow9} {
		for _, batch := range []bool{true, false} {
			b.Run(fmt.Sprintf("version=%d/batch=%v", v, batch), func(b *testing.B) {
				e, err := NewExporter(io.Discard, Config{Version: v, Batch: batch})
				if err != nil {
					b.Fatal(err)
				}
				r := blockRecord()
				b.ReportAllocs()
				for b.Loop() {
					if err := e.Append(&r); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkEncode is the encoding of a record alone: without lock and Write.
func BenchmarkEncode(b *testing.B) {
	for _, mandatory := range []bool{false, true} {
		b.Run(fmt.Sprintf("mandatory=%v", mandatory), func(b *testing.B) {
			e, err := NewExporter(io.Discard, Config{Mandatory: mandatory})
			if err != nil {
				b.Fatal(err)
			}
			r := blockRecord()
			b.ReportAllocs()
			for b.Loop() {
				var v values
				if err := v.set(&r, &e.c); err != nil {
					b.Fatal(err)
				}
				if !e.put(&v) {
					e.msg.reset()
				}
			}
		})
	}
}
