package logging

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestCSVAgainstStandardLibrary reads with encoding/csv what CSV wrote, and
// compares each column with the record.
func TestCSVAgainstStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		recs := rapid.SliceOfN(genRecord(), 1, 5).Draw(t, "records")
		var b bytes.Buffer
		w := NewWriter(&b, CSV{})
		for i := range recs {
			if err := w.Append(&recs[i]); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(rows) != len(recs)+1 {
			t.Fatalf("%d rows for %d records: %v", len(rows), len(recs), err)
		}
		if strings.Join(rows[0], " ") != strings.Join(fields[:], " ") {
			t.Fatalf("header %q", rows[0])
		}
		for i, row := range rows[1:] {
			r := &recs[i]
			got := map[string]string{}
			for n, v := range row {
				got[rows[0][n]] = v
			}
			// encoding/csv reads a carriage return and a line feed as a line feed.
			unix := func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
			for name, want := range map[string]string{
				"kind": r.Kind.String(), "time": r.Time.Time().Format("2006-01-02T15:04:05.000Z"),
				"host": unix(r.Host), "pool": unix(r.Pool), "realm": unix(r.Realm), "subscriber_id": unix(r.SubscriberID),
				"external_realm": unix(r.ExternalRealm), "detail": unix(r.Detail),
				"instance": number(r.Instance), "epoch": number(r.Epoch), "pool_id": number(r.PoolID), "step": number(r.Step), "class": number(r.Class),
				"protocol": number(r.Protocol), "used": number(r.Used), "max": number(r.Max), "suppressed": number(r.Suppressed),
				"internal": text(r.Internal), "remote": text(r.Remote), "external": text(r.External),
			} {
				if r.Time == 0 && name == "time" {
					continue
				}
				if got[name] != want {
					t.Fatalf("%s: got %q, want %q", name, got[name], want)
				}
			}
			if r.Kind.hasPorts() && (got["first"] != fmt.Sprint(r.First) || got["last"] != fmt.Sprint(r.Last)) {
				t.Fatalf("ports %q to %q", got["first"], got["last"])
			}
		}
	})
}

func number[T uint8 | uint16 | uint32 | uint64](v T) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprint(v)
}

func text[T interface {
	IsValid() bool
	String() string
}](v T) string {
	if !v.IsValid() {
		return ""
	}
	return v.String()
}

func TestCEFGolden(t *testing.T) {
	r := exampleBlock()
	require.Equal(t, `CEF:0|blocknat|natcore|1|block-released|Port block released|3|rt=1795228210123 start=1795224610123 dvchost=cgn1.example.net `+
		`deviceProcessId=1 externalId=3 src=100.64.1.10 sourceTranslatedAddress=198.51.100.7 sourceTranslatedPort=20480 cn1=20735 cn1Label=lastPort `+
		`cn2=1 cn2Label=used cn3=4 cn3Label=max cs1=cgn cs1Label=pool cs3=vrf7 cs3Label=realm cs5=tcp+udp+icmp cs5Label=spaces reason=idle`+"\n",
		string(CEF{}.AppendRecord(nil, &r)))
	s := Record{Kind: SessionCreated, Time: exampleTime, Protocol: 17, Internal: netip.MustParseAddrPort("[2001:db8::1]:40000"),
		External: netip.MustParseAddr("198.51.100.7"), First: 50000, Last: 50000, Remote: netip.MustParseAddrPort("192.0.2.1:53")}
	require.Equal(t, `CEF:0|a\|b|natcore|1|session-created|Session created|3|rt=1795228210123 c6a2=2001:db8::1 c6a2Label=internalAddress spt=40000 `+
		`sourceTranslatedAddress=198.51.100.7 sourceTranslatedPort=50000 cn1=50000 cn1Label=lastPort dst=192.0.2.1 dpt=53 proto=UDP`+"\n",
		string(CEF{Vendor: "a|b"}.AppendRecord(nil, &s)))
}

// TestCEFEscapes reads the extension back by its rules: a key is what stands
// before an equal sign without a backslash.
func TestCEFEscapes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := genRecord().Draw(t, "record")
		line := string(CEF{Vendor: "v|\\\n"}.AppendRecord(nil, &r))
		if strings.Count(line, "\n") != 1 || strings.Contains(line, "\r") {
			t.Fatalf("not one line: %q", line)
		}
		parts := strings.SplitN(strings.TrimPrefix(line, `CEF:0|v\|\\ |`), "|", 6)
		if len(parts) != 6 || parts[2] != r.Kind.String() {
			t.Fatalf("header of %q", line)
		}
		ext := parsePairs(strings.TrimSuffix(parts[5], "\n"))
		for key, want := range map[string]string{"cs1": r.Pool, "cs2": r.SubscriberID, "cs3": r.Realm, "cs4": r.ExternalRealm, "dvchost": r.Host} {
			if ext[key] != want {
				t.Fatalf("%s: got %q, want %q in %q", key, ext[key], want, line)
			}
		}
		if ext["rt"] != fmt.Sprint(int64(r.Time)) {
			t.Fatalf("rt %q", ext["rt"])
		}
	})
}

// parsePairs reads key=value pairs from the right: the equal sign of a pair is
// the last one without a backslash, its key goes back to a space.
func parsePairs(s string) map[string]string {
	out := map[string]string{}
	for s != "" {
		i := len(s) - 1
		for s[i] != '=' || i > 0 && s[i-1] == '\\' {
			i--
		}
		value := strings.NewReplacer(`\\`, `\`, `\=`, `=`, `\n`, "\n", `\r`, "\r").Replace(s[i+1:])
		k := strings.LastIndex(s[:i], " ")
		out[s[k+1:i]] = value
		s = s[:max(k, 0)]
	}
	return out
}

func TestKindNames(t *testing.T) {
	for v := range 256 {
		k, r, s, set := Kind(v), Reason(v), Resource(v), Spaces(v)
		for _, x := range []struct {
			ok   bool
			v    interface{ MarshalText() ([]byte, error) }
			back interface{ UnmarshalText([]byte) error }
			same func() bool
			name string
		}{
			{k.Valid(), k, new(Kind), nil, k.String()},
			{r.Valid(), r, new(Reason), nil, r.String()},
			{s.Valid(), s, new(Resource), nil, s.String()},
			{set <= AllSpaces, set, new(Spaces), nil, set.String()},
		} {
			b, err := x.v.MarshalText()
			require.Equal(t, x.ok, err == nil, "%T %d", x.v, v)
			if !x.ok {
				require.Contains(t, x.name, "(")
				continue
			}
			require.Equal(t, x.name, string(b))
			require.NoError(t, x.back.UnmarshalText(b))
			switch back := x.back.(type) {
			case *Kind:
				require.Equal(t, k, *back)
			case *Reason:
				require.Equal(t, r, *back)
			case *Resource:
				require.Equal(t, s, *back)
			case *Spaces:
				require.Equal(t, set, *back)
			}
		}
	}
	for _, bad := range []string{"", "tcp+tcp", "tcp+", "sctp", "none+tcp"} {
		require.Error(t, new(Spaces).UnmarshalText([]byte(bad)), bad)
	}
	require.Error(t, new(Kind).UnmarshalText(nil))
	require.Equal(t, []Spaces{ICMP, TCP, UDP, ICMP, 0}, []Spaces{SpaceOf(1), SpaceOf(6), SpaceOf(17), SpaceOf(58), SpaceOf(47)})
}

func TestAllocatesNothing(t *testing.T) {
	r := exampleBlock()
	r.Pool, r.Host = `a"b\`, "caf\u00e9\xff"
	buf := make([]byte, 0, 4096)
	w := NewWriter(io.Discard, JSON{})
	_ = w.Append(&r)
	lim := NewLimiter(Discard, LimiterConfig{})
	_ = lim.Append(&r)
	multi := Multi(w, lim, Discard)
	for name, f := range map[string]func(){
		"JSON":    func() { buf = JSON{}.AppendRecord(buf[:0], &r) },
		"CSV":     func() { buf = CSV{}.AppendRecord(buf[:0], &r) },
		"CEF":     func() { buf = CEF{}.AppendRecord(buf[:0], &r) },
		"Check":   func() { _ = r.Check() },
		"Millis":  func() { buf = r.Time.AppendTo(buf[:0]) },
		"Discard": func() { _ = Discard.Append(&r) },
		"Writer":  func() { _ = w.Append(&r) },
		"Limiter": func() { _ = lim.Append(&r) },
		"Multi":   func() { _ = multi.Append(&r) },
	} {
		require.Zero(t, testing.AllocsPerRun(100, f), name)
	}
}

func BenchmarkEncode(b *testing.B) {
	r := exampleBlock()
	buf := make([]byte, 0, 4096)
	for name, enc := range map[string]Encoder{"json": JSON{}, "csv": CSV{}, "cef": CEF{}} {
		b.Run("format="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = enc.AppendRecord(buf[:0], &r)
			}
			b.SetBytes(int64(len(buf)))
		})
	}
	b.Run("format=json/parse", func(b *testing.B) {
		line := JSON{}.AppendRecord(nil, &r)
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := ParseJSON(line); err != nil {
				b.Fatal(err)
			}
		}
	})
}
