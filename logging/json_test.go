package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// genText draws valid UTF-8 with what needs escapes.
func genText(max int) *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.Just(""),
		rapid.SampledFrom([]string{"cgn", "vrf7", `a"b\c]d`, "line\nbreak", `\n\=`, "\x00\x1f", "caf\u00e9 \u2028 \U0001F600", "|=,", "\x7f"}),
		rapid.StringN(0, 8, max),
	)
}

func genAddr() *rapid.Generator[netip.Addr] {
	return rapid.Custom(func(t *rapid.T) netip.Addr {
		switch rapid.IntRange(0, 3).Draw(t, "family") {
		case 0:
			return netip.Addr{}
		case 1:
			return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6")))
		}
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "v4")))
	})
}

func genEndpoint() *rapid.Generator[netip.AddrPort] {
	return rapid.Custom(func(t *rapid.T) netip.AddrPort {
		a := genAddr().Draw(t, "addr")
		if !a.IsValid() {
			return netip.AddrPort{}
		}
		return netip.AddrPortFrom(a, rapid.Uint16().Draw(t, "port"))
	})
}

// genRecord draws any record that JSON can hold, also ones that Check refuses.
func genRecord() *rapid.Generator[Record] {
	return rapid.Custom(func(t *rapid.T) Record {
		r := Record{
			Kind:          Kind(rapid.IntRange(1, int(kindEnd)-1).Draw(t, "kind")),
			Reason:        Reason(rapid.IntRange(0, int(reasonEnd)-1).Draw(t, "reason")),
			Resource:      Resource(rapid.IntRange(0, int(resourceEnd)-1).Draw(t, "resource")),
			Spaces:        Spaces(rapid.IntRange(0, 7).Draw(t, "spaces")),
			Protocol:      rapid.Uint8().Draw(t, "protocol"),
			First:         rapid.Uint16().Draw(t, "first"),
			Last:          rapid.Uint16().Draw(t, "last"),
			Step:          rapid.Uint16().Draw(t, "step"),
			Instance:      rapid.Uint32().Draw(t, "instance"),
			PoolID:        rapid.Uint32().Draw(t, "pool_id"),
			Class:         rapid.Uint32().Draw(t, "class"),
			Used:          rapid.Uint32().Draw(t, "used"),
			Max:           rapid.Uint32().Draw(t, "max"),
			Suppressed:    rapid.Uint32().Draw(t, "suppressed"),
			Time:          Millis(rapid.Int64Range(int64(minMillis), int64(maxMillis)).Draw(t, "time")),
			Allocated:     Millis(rapid.Int64Range(int64(minMillis), int64(maxMillis)).Draw(t, "allocated")),
			Epoch:         rapid.Uint64().Draw(t, "epoch"),
			Subscriber:    genAddr().Draw(t, "subscriber"),
			External:      genAddr().Draw(t, "external"),
			Internal:      genEndpoint().Draw(t, "internal"),
			Remote:        genEndpoint().Draw(t, "remote"),
			SubscriberID:  genText(64).Draw(t, "id"),
			Realm:         genText(64).Draw(t, "realm"),
			ExternalRealm: genText(64).Draw(t, "external realm"),
			Host:          genText(64).Draw(t, "host"),
			Pool:          genText(64).Draw(t, "pool"),
			Detail:        genText(256).Draw(t, "detail"),
		}
		if r.Subscriber.IsValid() {
			r.SubscriberBits = uint8(rapid.IntRange(0, r.Subscriber.BitLen()).Draw(t, "bits"))
		}
		return r
	})
}

var exampleTime = MillisOf(time.Date(2026, 11, 21, 2, 30, 10, 123e6, time.UTC))

// exampleBlock has every field that a block record uses.
func exampleBlock() Record {
	return Record{
		Kind: BlockReleased, Reason: ReasonIdle, Spaces: AllSpaces, First: 20480, Last: 20735, Step: 1,
		Instance: 1, PoolID: 7, Pool: "cgn", Used: 1, Max: 4, Time: exampleTime, Allocated: exampleTime - 3600000,
		Host: "cgn1.example.net", Epoch: 3, Realm: "vrf7", Subscriber: netip.MustParseAddr("100.64.1.10"),
		External: netip.MustParseAddr("198.51.100.7"),
	}
}

func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := genRecord().Draw(t, "record")
		line := JSON{}.AppendRecord([]byte("x"), &r)[1:]
		if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' || !utf8.Valid(line) {
			t.Fatalf("not one line: %q", line)
		}
		got, n, err := ParseJSON(append(line, "next"...))
		if err != nil || n != len(line) || got != r {
			t.Fatalf("%s\n got %+v\nwant %+v\nn %d of %d, err %v", line, got, r, n, len(line), err)
		}
	})
}

// TestJSONAgainstStandardLibrary reads what JSON wrote with encoding/json, which
// shares no code with it.
func TestJSONAgainstStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := genRecord().Draw(t, "record")
		dec := json.NewDecoder(bytes.NewReader(JSON{}.AppendRecord(nil, &r)))
		dec.UseNumber()
		var m map[string]any
		if err := dec.Decode(&m); err != nil {
			t.Fatal(err)
		}
		for field, want := range map[string]string{
			"host": r.Host, "pool": r.Pool, "realm": r.Realm, "external_realm": r.ExternalRealm,
			"subscriber_id": r.SubscriberID, "detail": r.Detail,
		} {
			if got, _ := m[field].(string); got != want {
				t.Fatalf("%s: got %q, want %q", field, got, want)
			}
		}
		when, err := time.Parse(time.RFC3339Nano, m["time"].(string))
		if err != nil || when.UnixMilli() != int64(r.Time) {
			t.Fatalf("time %v, want %d: %v", m["time"], r.Time, err)
		}
		if n, _ := m["max"].(json.Number); r.Max != 0 {
			if v, err := n.Int64(); err != nil || uint32(v) != r.Max {
				t.Fatalf("max %v, want %d", n, r.Max)
			}
		}
	})
}

func TestJSONGolden(t *testing.T) {
	r := exampleBlock()
	require.Equal(t, `{"kind":"block-released","time":"2026-11-21T02:30:10.123Z","allocated":"2026-11-21T01:30:10.123Z","instance":1,`+
		`"host":"cgn1.example.net","epoch":3,"pool_id":7,"pool":"cgn","realm":"vrf7","subscriber":"100.64.1.10",`+
		`"external":"198.51.100.7","first":20480,"last":20735,"step":1,"spaces":["tcp","udp","icmp"],"reason":"idle","used":1,"max":4}`+"\n",
		string(JSON{}.AppendRecord(nil, &r)))
	r = Record{Kind: BlockAllocated, Time: exampleTime, Spaces: UDP, Subscriber: netip.MustParseAddr("2001:db8:1::"), SubscriberBits: 48,
		External: netip.MustParseAddr("198.51.100.7")}
	require.Equal(t, `{"kind":"block-allocated","time":"2026-11-21T02:30:10.123Z","subscriber":"2001:db8:1::/48","external":"198.51.100.7","first":0,"last":0,"spaces":["udp"]}`+"\n",
		string(JSON{}.AppendRecord(nil, &r)))
}

// TestJSONZoneAndBadText shows what is not kept.
func TestJSONZoneAndBadText(t *testing.T) {
	r := Record{Kind: BlockAllocated, Time: 1, Subscriber: netip.MustParseAddr(`fe80::1%a"b`), Pool: "a\xffb"}
	got, _, err := ParseJSON(JSON{}.AppendRecord(nil, &r))
	require.NoError(t, err)
	require.Equal(t, netip.MustParseAddr("fe80::1"), got.Subscriber)
	require.Equal(t, "a\ufffdb", got.Pool)
}

func TestParseJSONFaults(t *testing.T) {
	const head = `{"kind":"block-released","time":"2026-11-21T02:30:10.123Z"`
	for name, tc := range map[string]struct{ line, msg string }{
		"empty":              {"", "expected '{'"},
		"no kind":            {`{"time":"2026-11-21T02:30:10.123Z"}`, "no field kind"},
		"no time":            {`{"kind":"block-released"}`, "no field time"},
		"unknown kind":       {`{"kind":"block-eaten","time":"2026-11-21T02:30:10.123Z"}`, "name of a kind"},
		"twice":              {head + `,"first":1,"first":1}`, "given twice"},
		"torn":               {head, "expected '}'"},
		"torn string":        {head + `,"pool":"cg`, "without an end"},
		"two objects":        {head + `}{}`, "more than one object"},
		"port too large":     {head + `,"first":65536}`, "0 to 65535"},
		"protocol too large": {head + `,"protocol":256}`, "0 to 255"},
		"negative":           {head + `,"first":-1}`, "integer"},
		"fraction":           {head + `,"first":1.5}`, "expected '}'"},
		"leading zero":       {head + `,"first":01}`, "integer"},
		"number is text":     {head + `,"first":"1"}`, "integer"},
		"text is null":       {head + `,"pool":null}`, "expected a string"},
		"zone":               {head + `,"subscriber":"fe80::1%eth0"}`, "address or a prefix"},
		"prefix of external": {head + `,"external":"198.51.100.0/24"}`, "must be an address"},
		"space twice":        {head + `,"spaces":["tcp","tcp"]}`, "each once"},
		"control character":  {head + ",\"pool\":\"a\tb\"}", "control character"},
		"deep":               {head + `,"x":` + strings.Repeat("[", 1000) + `}`, "nested too deep"},
		"not a time":         {`{"kind":"block-released","time":"yesterday"}`, "RFC 3339"},
		"year 0":             {`{"kind":"block-released","time":"0000-12-31T00:00:00Z"}`, "years 1 to 9999"},
	} {
		t.Run(name, func(t *testing.T) {
			_, n, err := ParseJSON([]byte(tc.line + "\nrest"))
			var se *SyntaxError
			require.ErrorAs(t, err, &se)
			require.Contains(t, err.Error(), tc.msg)
			require.Equal(t, len(tc.line)+1, n, "the damaged line is passed over as a whole")
		})
	}
}

func TestParseJSONLenient(t *testing.T) {
	line := "\t{ \"time\" : \"2026-11-21T03:30:10.123999+01:00\", \"x\": {\"a\":[1,-2.5e+3,true,null,\"\\u00e9\"],\"b\":{}},\"kind\":\"config-epoch\",\"detail\":\"\\ud83d\\ude00 \\ud83d \\/\\b\\f\" } \r\n"
	r, n, err := ParseJSON([]byte(line))
	require.NoError(t, err)
	require.Equal(t, len(line), n)
	require.Equal(t, Record{Kind: ConfigEpoch, Time: exampleTime, Detail: "\U0001F600 \ufffd /\b\f"}, r)
}

// TestParseJSONFieldsComplete fails when a field of Record has no name in JSON.
func TestParseJSONFieldsComplete(t *testing.T) {
	// SubscriberBits is part of subscriber.
	require.Equal(t, reflect.TypeFor[Record]().NumField()-1, len(fields))
	require.LessOrEqual(t, len(fields), 32, "parser.seen has a bit each")
}

func TestReadJSON(t *testing.T) {
	r := exampleBlock()
	line := string(JSON{}.AppendRecord(nil, &r))
	stream := line + "\n" + "damaged\n" + line[:40] + "\n" + line[:len(line)-2] + `,"pad":"` + strings.Repeat("x", 2<<20) + "\"}\n" + line + strings.TrimSpace(line)
	var recs []Record
	var lines []int64
	for rec, err := range ReadJSON(strings.NewReader(stream)) {
		var se *SyntaxError
		if errors.As(err, &se) {
			lines = append(lines, se.Line)
			continue
		}
		require.NoError(t, err)
		recs = append(recs, rec)
	}
	require.Equal(t, []Record{r, r, r}, recs)
	require.Equal(t, []int64{3, 4, 5}, lines)
	var last error
	for _, err := range ReadJSON(iotest.TimeoutReader(strings.NewReader(strings.Repeat(line, 1000)))) {
		last = err
	}
	require.ErrorIs(t, last, iotest.ErrTimeout)
	for range ReadJSON(strings.NewReader(stream)) {
		break
	}
}

func FuzzParseJSON(f *testing.F) {
	r := exampleBlock()
	f.Add(JSON{}.AppendRecord(nil, &r))                                                            // a whole line
	f.Add([]byte(`{"kind":"config-epoch","time":"2026-11-21T02:30:10Z","detail":"\ud83d\ude00"}`)) // a surrogate pair
	f.Add([]byte(`{"kind":"block-released","time":"2026-11-21T02:30:10Z","x":[{"y":-1e5}]}`))      // an unknown field
	f.Add([]byte("{\"kind\":\"session-created\",\"time\":\"1970-01-01T00:00:00Z\",\"remote\":\"[2001:db8::1]:0\"}\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n, err := ParseJSON(b)
		if n < 0 || n > len(b) || (n == 0 && len(b) > 0) {
			t.Fatalf("used %d of %d bytes", n, len(b))
		}
		if err != nil {
			return
		}
		// What the standard library refuses must not be taken.
		if !json.Valid(b[:n]) {
			t.Fatalf("accepted what is no JSON: %q", b[:n])
		}
		again, _, err := ParseJSON(JSON{}.AppendRecord(nil, &r))
		if err != nil || again != r {
			t.Fatalf("%q\n got %+v\nwant %+v: %v", b, again, r, err)
		}
	})
}

func TestMillis(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Millis(rapid.Int64Range(int64(minMillis), int64(maxMillis)).Draw(t, "m"))
		if got, want := string(m.AppendTo(nil)), time.UnixMilli(int64(m)).UTC().Format("2006-01-02T15:04:05.000Z"); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		if m != 0 && m != minMillis && MillisOf(m.Time()) != m {
			t.Fatalf("%d does not come back", m)
		}
	})
	for day := int64(-719162); day < 2932896; day++ { // every day of the years 1 to 9999
		y, m, d := time.Unix(day*86400, 0).UTC().Date()
		if gy, gm, gd := civil(day); gy != y || gm != int(m) || gd != d {
			t.Fatalf("day %d: got %d-%d-%d, want %d-%d-%d", day, gy, gm, gd, y, m, d)
		}
	}
	require.Equal(t, "0001-01-01T00:00:00.000Z", Millis(-1<<63).String())
	require.Equal(t, "9999-12-31T23:59:59.999Z", Millis(1<<63-1).String())
	require.Equal(t, "never", Millis(0).String())
	require.True(t, Millis(0).Time().IsZero())
	require.Zero(t, MillisOf(time.Time{}))
}
