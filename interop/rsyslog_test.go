package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/netsink"
	"github.com/blocknat/blocknat/logging/syslog"
)

// TestRsyslog: rsyslog takes messages over UDP, and over TCP in both framings, and mmpstrucdata gives all parameters.
func TestRsyslog(t *testing.T) {
	path := tool(t, "rsyslogd", "rsyslog")
	dir, udp, tcp := place(t), free(t, "udp"), free(t, "tcp")
	file := filepath.Join(dir, "nat.json")
	configure(t, dir, []string{"5514", fmt.Sprint(udp), "5601", fmt.Sprint(tcp), "/var/log/nat.json", file}, "rsyslog.conf")
	d := start(t, dir, path, "-n", "-f", filepath.Join(dir, "rsyslog.conf"), "-i", filepath.Join(dir, "pid"))
	d.listening("udp", udp)
	d.listening("tcp", tcp)
	lines := func() []string {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil
		}
		all := strings.SplitAfter(string(b), "\n")
		return all[:len(all)-1] // without the last one, which is empty or not whole
	}
	sinks := []func() (*netsink.Sink, error){
		func() (*netsink.Sink, error) {
			return netsink.NewSyslog("udp", fmt.Sprint("127.0.0.1:", udp), syslog.Encoder{}, netsink.Config{})
		},
		func() (*netsink.Sink, error) {
			return netsink.NewSyslog("tcp", fmt.Sprint("127.0.0.1:", tcp), syslog.Encoder{}, netsink.Config{})
		},
		func() (*netsink.Sink, error) {
			return netsink.New("tcp", fmt.Sprint("127.0.0.1:", tcp), syslog.Encoder{}, netsink.Config{})
		},
	}
	for i, open := range sinks {
		s, err := open()
		send(t, s, err, records())
		await(t, "all messages are written", func() bool { return len(lines()) >= (i+1)*len(records()) })
	}
	d.stop()
	got := lines()
	require.Equal(t, len(sinks)*len(records()), len(got))
	for i, line := range got {
		requireStructured(t, records()[i%len(records())], line)
	}
}

// requireStructured holds a line of rsyslog's file against the record that it is of.
func requireStructured(t *testing.T, r logging.Record, line string) {
	t.Helper()
	var m struct {
		Time, Host, Event string
		Data              map[string]map[string]string
	}
	require.NoError(t, json.Unmarshal([]byte(line), &m), line)
	event := msgids[r.Kind]
	if event == "" {
		event = r.Kind.String()
	}
	require.Equal(t, r.Time.String(), m.Time)
	require.Equal(t, "cgn1.example.net", m.Host)
	require.Equal(t, event, m.Event)
	for element, values := range params(r) {
		for name, value := range values {
			require.Equal(t, value, m.Data[element][strings.ToLower(name)], "%v: %s %s", r.Kind, element, name)
		}
	}
}
