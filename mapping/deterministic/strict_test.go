package deterministic

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	epochPart = `"epoch":1`
	fromPart  = `"from":"2026-01-01T00:00:00Z"`
	mapPart   = `"map":{"name":"a","internal":["10.0.0.0/30"],"external":["192.0.2.1"],"reserved":["0-1023"]}`
)

func object(parts ...string) string { return "{" + strings.Join(parts, ",") + "}" }

// A line without its number, beginning or map is refused by the name of the
// member, so no epoch is in force since the year 1.
func TestParseRecord_needs_its_members(t *testing.T) {
	e, err := ParseRecord([]byte(object(epochPart, fromPart, mapPart)))
	require.NoError(t, err)
	require.Equal(t, Epoch{Number: 1, From: day(1), Config: e.Config}, e)
	require.Equal(t, "a", e.Config.Name)
	for text, members := range map[string][]string{
		object(fromPart, mapPart):                                        {`"epoch"`},
		object(`"epoch":null`, fromPart, mapPart):                        {`"epoch"`},
		object(`"epoch":0`, fromPart, mapPart):                           {`"epoch"`},
		object(epochPart, mapPart):                                       {`"from"`, `epoch 1 of map "a"`},
		object(epochPart, `"from":null`, mapPart):                        {`"from"`},
		object(epochPart, `"from":"0001-01-01T00:00:00Z"`, mapPart):      {`"from"`},
		object(epochPart, `"from":"0001-01-01T01:00:00+01:00"`, mapPart): {`"from"`},
		object(epochPart, fromPart):                                      {`"map"`},
		object(epochPart, fromPart, `"map":null`):                        {`"map"`},
		object(mapPart): {`"epoch"`, `"from"`},
		object():        {`"epoch"`, `"from"`, `"map"`},
		"null":          {`"epoch"`, `"from"`, `"map"`},
	} {
		_, err := ParseRecord([]byte(text))
		require.ErrorIs(t, err, ErrSyntax, text)
		_, err2 := ParseHistory([]byte("\n" + text + "\n"))
		require.ErrorIs(t, err2, ErrSyntax, text)
		require.ErrorContains(t, err2, "line 2: ")
		for _, member := range members {
			require.ErrorContains(t, err, member, text)
			require.ErrorContains(t, err2, member, text)
		}
	}
}

// What ParseRecord refuses is not written either.
func TestAppendRecord_needs_number_and_beginning(t *testing.T) {
	whole := Epoch{Number: 1, From: day(1), Config: epochConfig("a", "10.0.0.0/30", "192.0.2.1", 2)}
	_, err := AppendRecord(nil, whole)
	require.NoError(t, err)
	for member, edit := range map[string]func(*Epoch){
		"number":    func(e *Epoch) { e.Number = 0 },
		"beginning": func(e *Epoch) { e.From = time.Time{} },
	} {
		e := whole
		edit(&e)
		out, err := AppendRecord([]byte("x"), e)
		require.ErrorContains(t, err, member)
		require.Equal(t, "x", string(out))
	}
}

// Names of members are exact and single, at every depth and in the log line.
func TestStrict_refuses_other_case_and_repeats(t *testing.T) {
	good := object(epochPart, fromPart, mapPart)
	for _, c := range []struct{ old, new, fault string }{
		{`"epoch"`, `"Epoch"`, `"Epoch"`},
		{`"from"`, `"FROM"`, `"FROM"`},
		{`"map"`, `"mAp"`, `"mAp"`},
		{`"internal"`, `"Internal"`, `"Internal"`},
		{`"name"`, `"n\u0041me"`, `"nAme"`},
		{`"epoch":1`, `"epoch":1,"epoch":2`, `"epoch" is there twice`},
		{`"epoch":1`, `"epoch":1,"epoch":1`, `"epoch" is there twice`},
		{`"epoch":1`, `"epoch":1,"\u0065poch":2`, `"epoch" is there twice`},
		{fromPart, fromPart + "," + fromPart, `"from" is there twice`},
		{mapPart, mapPart + "," + mapPart, `"map" is there twice`},
		{`"name":"a"`, `"name":"a","name":"b"`, `"name" is there twice`},
		{`"reserved":["0-1023"]`, `"reserved":["0-1023"],"reserved":[]`, `"reserved" is there twice`},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		require.NotEqual(t, good, text)
		_, err := ParseRecord([]byte(text))
		require.ErrorIs(t, err, ErrSyntax, text)
		require.ErrorContains(t, err, c.fault)
	}
	var cfg Config
	require.NoError(t, json.Unmarshal([]byte(`{"internal":["10.0.0.0/30"],"external":["192.0.2.1"],"key":"000102030405060708090a0b0c0d0e0f"}`), &cfg))
	require.Equal(t, byte(15), cfg.Key[15])
	for _, tail := range []string{`{"Internal":[]}`, `{"internal":[],"internal":[]}`, `{"sharing_ratio":1,"Sharing_ratio":2}`} {
		require.ErrorIs(t, json.Unmarshal([]byte(tail), &cfg), ErrSyntax, tail)
		_, _, err := ParseLogLine([]byte("[Wed Oct 11 14:32:52 2000]:198.51.100.0:28:192.0.2.0:32:2:5040:5:1-1023:" + tail))
		require.ErrorIs(t, err, ErrSyntax, tail)
	}
}
