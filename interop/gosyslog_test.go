package interop

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	gosyslog "github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/nontransparent"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/netsink"
	"github.com/blocknat/blocknat/logging/syslog"
)

// params is what the elements of a message must hold, among other things.
func params(r logging.Record) map[string]map[string]string {
	draft := map[logging.Kind]string{
		logging.BlockAllocated: "nprng", logging.BlockReleased: "nprng", logging.StaticAdded: "nprng", logging.StaticRemoved: "nprng", logging.SessionCreated: "nsess", logging.SessionDeleted: "nsess",
		logging.MappingCreated: "napmap", logging.MappingDeleted: "napmap", logging.AddressBound: "namap", logging.AddressUnbound: "namap",
	}[r.Kind]
	out := map[string]map[string]string{"blocknat@32473": {"kind": r.Kind.String(), "pool": r.Pool}}
	if r.Allocated != 0 {
		out["blocknat@32473"]["allocated"] = r.Allocated.String()
	}
	if r.Detail != "" {
		out["blocknat@32473"]["detail"] = r.Detail
	}
	if draft == "" {
		return out
	}
	family := "IPv4"
	if r.Subscriber.Is6() {
		family = "IPv6"
	}
	p := map[string]string{
		"NATINST": "1", "IRLM": r.Realm, "IATYP": family, "ISADDR": r.Subscriber.String(), "XATYP": "IPv4", "XSADDR": r.External.String(),
	}
	switch draft {
	case "nprng":
		p["PORTMN"], p["PORTMX"] = fmt.Sprint(r.First), fmt.Sprint(r.Last)
	case "nsess", "napmap":
		p["ISPORT"], p["XSPORT"], p["PROTO"] = "40000", fmt.Sprint(r.First), "17"
	}
	out[draft] = p
	return out
}

// msgids are those of draft-ietf-behave-syslog-nat-logging; other kinds have their own name.
var msgids = map[logging.Kind]string{
	logging.BlockAllocated: "PTADD", logging.BlockReleased: "PTDEL", logging.StaticAdded: "PTADD", logging.StaticRemoved: "PTDEL", logging.SessionCreated: "SADD", logging.SessionDeleted: "SDEL",
	logging.MappingCreated: "APMADD", logging.MappingDeleted: "APMDEL", logging.AddressBound: "AMADD", logging.AddressUnbound: "AMDEL",
}

func requireMessage(t *testing.T, r logging.Record, m gosyslog.Message) {
	t.Helper()
	got, ok := m.(*rfc5424.SyslogMessage)
	require.True(t, ok, "%T", m)
	require.EqualValues(t, 1, got.Version)
	require.EqualValues(t, 16, *got.Facility)
	require.Equal(t, "NAT", *got.Appname)
	want := msgids[r.Kind]
	if want == "" {
		want = r.Kind.String()
	}
	require.Equal(t, want, *got.MsgID)
	require.Equal(t, "cgn1.example.net", *got.Hostname)
	require.True(t, r.Time.Time().Equal(*got.Timestamp))
	require.NotNil(t, got.StructuredData)
	for element, values := range params(r) {
		for name, value := range values {
			require.Equal(t, value, (*got.StructuredData)[element][name], "%v: %s %s", r.Kind, element, name)
		}
	}
}

// TestGoSyslog has go-syslog's parser, in its strict mode, read a message of each record, and text with all characters that
// have a meaning there.
func TestGoSyslog(t *testing.T) {
	parser := rfc5424.NewParser()
	for _, r := range records() {
		b := syslog.Encoder{}.AppendMessage(nil, &r)
		m, err := parser.Parse(b)
		require.NoError(t, err, "%s", b)
		requireMessage(t, r, m)
	}
	r := records()[0]
	r.Pool = "caf\u00e9 a\"b\\c]d [e=\"f\"] \U0001F600"
	m, err := parser.Parse(syslog.Encoder{}.AppendMessage(nil, &r))
	require.NoError(t, err)
	require.Equal(t, r.Pool, (*m.(*rfc5424.SyslogMessage).StructuredData)["blocknat@32473"]["pool"])
}

// receive accepts one connection and returns what came over it when it ended.
func receive(t *testing.T) (addr string, got <-chan []byte) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	c := make(chan []byte, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		b, _ := io.ReadAll(nc)
		c <- b
	}()
	return ln.Addr().String(), c
}

// send hands all records to a sink and closes it in order.
func send(t *testing.T, s *netsink.Sink, err error, list []logging.Record) {
	t.Helper()
	require.NoError(t, err)
	for _, r := range list {
		require.NoError(t, s.Append(&r))
	}
	finish(t, s)
}

// finish closes a sink in order.
func finish(t *testing.T, s *netsink.Sink) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, s.Close(ctx))
}

// TestGoSyslogFraming: go-syslog takes the messages out of both framings of TCP.
func TestGoSyslogFraming(t *testing.T) {
	for name, one := range map[string]struct {
		open   func(addr string) (*netsink.Sink, error)
		parser func(...gosyslog.ParserOption) gosyslog.Parser
	}{
		"octet counting": {
			func(addr string) (*netsink.Sink, error) {
				return netsink.NewSyslog("tcp", addr, syslog.Encoder{}, netsink.Config{})
			},
			octetcounting.NewParser,
		},
		"line feeds": {
			func(addr string) (*netsink.Sink, error) {
				return netsink.New("tcp", addr, syslog.Encoder{}, netsink.Config{})
			},
			nontransparent.NewParser,
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr, stream := receive(t)
			s, err := one.open(addr)
			send(t, s, err, records())
			var got []gosyslog.Message
			p := one.parser(gosyslog.WithListener(func(r *gosyslog.Result) {
				require.NoError(t, r.Error)
				got = append(got, r.Message)
			}))
			select {
			case b := <-stream:
				p.Parse(strings.NewReader(string(b)))
			case <-time.After(5 * time.Second):
				t.Fatal("nothing came")
			}
			require.Equal(t, len(records()), len(got))
			for i, r := range records() {
				requireMessage(t, r, got[i])
			}
		})
	}
}
