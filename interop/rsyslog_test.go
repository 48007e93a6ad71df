package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/netsink"
	"github.com/blocknat/blocknat/logging/spool"
	"github.com/blocknat/blocknat/logging/syslog"
)

// rsyslog is a running rsyslogd and the file that it writes.
type rsyslog struct {
	*daemon
	udp, tcp, tls int // its ports
	dir, file     string
	trust         *tls.Config
}

func startRsyslog(t *testing.T) *rsyslog {
	if drivers, _ := filepath.Glob("/usr/lib/*/rsyslog/lmnsd_ossl.so"); len(drivers) == 0 {
		missing(t, "rsyslog's driver for OpenSSL", "rsyslog-openssl")
	}
	dir := place(t)
	r := &rsyslog{dir: dir, udp: free(t, "udp"), tcp: free(t, "tcp"), tls: free(t, "tcp"), file: filepath.Join(dir, "nat.json")}
	r.trust = certificate(t, dir)
	configure(t, dir, []string{"5514", fmt.Sprint(r.udp), "5601", fmt.Sprint(r.tcp), "/var/log/nat.json", r.file}, "rsyslog.conf")
	configure(t, dir, []string{"6514", fmt.Sprint(r.tls), "/etc/ssl/nat", dir}, "rsyslog-tls.conf")
	text := fmt.Sprintf("include(file=%q)\ninclude(file=%q)\n", filepath.Join(dir, "rsyslog.conf"), filepath.Join(dir, "rsyslog-tls.conf"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.conf"), []byte(text), 0o644))
	r.start(t)
	return r
}

// start runs rsyslogd, again after it ended.
func (r *rsyslog) start(t *testing.T) {
	path := tool(t, "rsyslogd", "rsyslog")
	_ = os.Remove(filepath.Join(r.dir, "pid")) // of one that was killed
	r.daemon = start(t, r.dir, path, "-n", "-f", filepath.Join(r.dir, "main.conf"), "-i", filepath.Join(r.dir, "pid"))
	r.listening("udp", r.udp)
	r.listening("tcp", r.tcp)
	r.listening("tcp", r.tls)
}

// lines returns the whole lines of the file.
func (r *rsyslog) lines() []string {
	b, err := os.ReadFile(r.file)
	if err != nil {
		return nil
	}
	all := strings.SplitAfter(string(b), "\n")
	return all[:len(all)-1] // the last one is empty or not whole
}

// certificate writes ca.pem, cert.pem and key.pem of a collector at 127.0.0.1, and
// returns what a sender needs to verify it.
func certificate(t *testing.T, dir string) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, b := range map[string][]byte{"ca.pem": cert, "cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(cert))
	return &tls.Config{RootCAs: pool}
}

// TestRsyslog: rsyslog takes messages over UDP, over TCP in both framings and over TLS, and mmpstrucdata gives all parameters.
func TestRsyslog(t *testing.T) {
	r := startRsyslog(t)
	sinks := []func() (*netsink.Sink, error){
		func() (*netsink.Sink, error) {
			return netsink.NewSyslog("udp", fmt.Sprint("127.0.0.1:", r.udp), syslog.Encoder{}, netsink.Config{})
		},
		func() (*netsink.Sink, error) {
			return netsink.NewSyslog("tcp", fmt.Sprint("127.0.0.1:", r.tcp), syslog.Encoder{}, netsink.Config{})
		},
		func() (*netsink.Sink, error) {
			return netsink.New("tcp", fmt.Sprint("127.0.0.1:", r.tcp), syslog.Encoder{}, netsink.Config{})
		},
		func() (*netsink.Sink, error) {
			return netsink.NewSyslog("tls", fmt.Sprint("127.0.0.1:", r.tls), syslog.Encoder{}, netsink.Config{TLS: r.trust})
		},
	}
	for i, open := range sinks {
		s, err := open()
		send(t, s, err, records())
		await(t, fmt.Sprintf("all messages of sink %d are written", i), func() bool { return len(r.lines()) >= (i+1)*len(records()) })
	}
	r.stop()
	got := r.lines()
	require.Equal(t, len(sinks)*len(records()), len(got))
	for i, line := range got {
		requireStructured(t, records()[i%len(records())], line)
	}
}

// TestRsyslogCrashes: rsyslogd is killed three times while messages come, with what it has read and not written, and what
// is in the buffers of the connection. Each record is in its file in the end.
func TestRsyslogCrashes(t *testing.T) {
	for _, network := range []string{"tcp", "tls"} {
		t.Run(network, func(t *testing.T) {
			r := startRsyslog(t)
			waiting, err := spool.Open(filepath.Join(r.dir, "spool"), spool.Config{})
			require.NoError(t, err)
			c := netsink.Config{Store: waiting, RetryMin: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond}
			port := r.tcp
			if network == "tls" {
				port, c.TLS = r.tls, r.trust
			}
			s, err := netsink.NewSyslog(network, fmt.Sprint("127.0.0.1:", port), syslog.Encoder{}, c)
			require.NoError(t, err)
			const n = 4000
			record := records()[0]
			for i := range n {
				record.Epoch = uint64(i)
				require.NoError(t, s.Append(&record))
				if i%1000 == 800 {
					r.kill()
				}
				if i%1000 == 950 {
					r.start(t)
				}
			}
			finish(t, s)
			require.NoError(t, waiting.Close())
			r.stop()
			seen := map[string]bool{}
			for _, line := range r.lines() {
				var m struct{ Data map[string]map[string]string }
				if json.Unmarshal([]byte(line), &m) == nil { // a line that a kill tore is none
					seen[m.Data["blocknat@32473"]["epoch"]] = true
				}
			}
			for i := 1; i < n; i++ {
				require.True(t, seen[fmt.Sprint(i)], "record %d did not arrive", i)
			}
			require.Greater(t, s.Stats().Connects, uint64(1))
		})
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
