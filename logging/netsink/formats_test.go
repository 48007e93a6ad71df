package netsink_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/ipfix"
	"github.com/blocknat/blocknat/logging/loggingtest"
	"github.com/blocknat/blocknat/logging/netsink"
	"github.com/blocknat/blocknat/logging/syslog"
)

// certificate returns both ends' configurations of TLS.
func certificate(t require.TestingT) (server, client *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool}
}

// sendAll sends a record of each kind and closes the sink in order.
func sendAll(t *testing.T, s *netsink.Sink, err error) {
	t.Helper()
	require.NoError(t, err)
	for _, r := range loggingtest.Records() {
		require.NoError(t, s.Append(&r))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	require.NoError(t, s.Close(ctx))
	r := numbered(0)
	require.ErrorIs(t, s.Append(&r), logging.ErrClosed)
	require.ErrorIs(t, s.Close(ctx), logging.ErrClosed)
	st := s.Stats()
	require.Equal(t, [...]uint64{17, 17, 0, 0, 1, 1}, [...]uint64{st.Accepted, st.Sent, st.Waiting, st.Unconfirmed, st.Refused, st.Connects})
	require.False(t, st.Connected)
}

// messages are what a syslog collector must read, in the encoder's own words.
func wantMessages() (out []string) {
	for _, r := range loggingtest.Records() {
		out = append(out, string(syslog.Encoder{}.AppendMessage(nil, &r)))
	}
	return out
}

// unframe takes messages out of octet counting (RFC 6587 section 3.4.1).
func unframe(t testing.TB, b []byte) (out []string) {
	for len(b) > 0 {
		length, rest, ok := bytes.Cut(b, []byte(" "))
		n, err := strconv.Atoi(string(length))
		require.True(t, ok && err == nil && n <= len(rest) && length[0] != '0', "frame %.40q", b)
		out = append(out, string(rest[:n]))
		b = rest[n:]
	}
	return out
}

// TestSYS_01_Datagrams: one message a datagram, without a trailer (RFC 5426 section 3.1).
func TestSYS_01_Datagrams(t *testing.T) {
	srv := newUDPCollector(t, "127.0.0.1:0")
	s, err := netsink.NewSyslog("udp", srv.LocalAddr().String(), syslog.Encoder{}, netsink.Config{})
	sendAll(t, s, err)
	await(t, func() bool { return len(srv.datagrams()) == 17 })
	for i, want := range wantMessages() {
		require.Equal(t, want, string(srv.datagrams()[i]))
	}
}

// TestSYS_07_OctetCounting: over TCP each message has its length in front (RFC 6587 section 3.4.1).
func TestSYS_07_OctetCounting(t *testing.T) {
	srv := newCollector(t, nil)
	s, err := netsink.NewSyslog("tcp", srv.addr, syslog.Encoder{}, netsink.Config{})
	sendAll(t, s, err)
	require.Equal(t, wantMessages(), unframe(t, srv.streams()[0]))
}

// TestSYS_08_LineFeeds: by choice each message over TCP ends with a line feed (RFC 6587 section 3.4.2).
func TestSYS_08_LineFeeds(t *testing.T) {
	srv := newCollector(t, nil)
	s, err := netsink.New("tcp", srv.addr, syslog.Encoder{}, netsink.Config{})
	sendAll(t, s, err)
	lines := bytes.SplitAfter(srv.streams()[0], []byte("\n"))
	for i, want := range wantMessages() {
		require.Equal(t, want+"\n", string(lines[i]))
	}
	require.Len(t, lines, 18)
}

// TestSYS_09_TLS: octet counting over TLS, with the collector's certificate verified, and an end in order (RFC 5425
// sections 4.2 to 4.4).
func TestSYS_09_TLS(t *testing.T) {
	server, client := certificate(t)
	srv := newCollector(t, func(nc net.Conn) net.Conn { return tls.Server(nc, server) })
	s, err := netsink.NewSyslog("tls", srv.addr, syslog.Encoder{}, netsink.Config{TLS: client})
	sendAll(t, s, err)
	require.Equal(t, wantMessages(), unframe(t, srv.streams()[0]))

	told := make(chan error, 100)
	s, err = netsink.NewSyslog("tls", srv.addr, syslog.Encoder{}, soon(netsink.Config{OnError: func(err error) {
		select {
		case told <- err:
		default:
		}
	}}))
	require.NoError(t, err)
	shut(t, s)
	r := numbered(1)
	require.NoError(t, s.Append(&r))
	require.ErrorContains(t, <-told, "x509: ", "a certificate that nobody vouches for")
	require.Zero(t, s.Stats().Sent)
}

// set is a set of an IPFIX message or a FlowSet of NetFlow 9.
type set struct {
	id   uint16
	body []byte
}

// split reads messages by their lengths alone. Every octet must be part of one.
func split(t testing.TB, b []byte) (sequence []uint32, sets [][]set) {
	be := binary.BigEndian
	for len(b) > 0 {
		require.Greater(t, len(b), 16)
		require.EqualValues(t, 10, be.Uint16(b))
		n := int(be.Uint16(b[2:]))
		require.LessOrEqual(t, n, len(b))
		sequence = append(sequence, be.Uint32(b[8:]))
		m := b[16:n]
		b = b[n:]
		var list []set
		for len(m) > 0 {
			l := int(be.Uint16(m[2:]))
			list = append(list, set{be.Uint16(m), m[4:l]})
			m = m[l:]
		}
		sets = append(sets, list)
	}
	return sequence, sets
}

// known checks that each data set's template stands before it, and counts data
// records by their length.
func known(t testing.TB, sets [][]set) (data int, templates int) {
	lengths := map[uint16]int{}
	for _, m := range sets {
		for _, s := range m {
			if s.id == 2 {
				be := binary.BigEndian
				n := 0
				for i := range int(be.Uint16(s.body[2:])) {
					n += int(be.Uint16(s.body[4+4*i+2:]))
				}
				lengths[be.Uint16(s.body)] = n
				templates++
				continue
			}
			require.NotZero(t, lengths[s.id], "data of template %d, which was not sent on this connection", s.id)
			data += len(s.body) / lengths[s.id]
		}
	}
	return data, templates
}

// TestIPFIXStream: each connection has its templates before their data and counts its data records from 0; nothing is
// repeated on it (RFC 7011 sections 3.1 and 10.4).
//
// Rows: 8158-16.
func TestIPFIXStream(t *testing.T) {
	server, client := certificate(t)
	for _, network := range []string{"tcp", "tls"} {
		t.Run(network, func(t *testing.T) {
			var wrap func(net.Conn) net.Conn
			c := soon(netsink.Config{})
			if network == "tls" {
				wrap, c.TLS = func(nc net.Conn) net.Conn { return tls.Server(nc, server) }, client
			}
			srv := newCollector(t, wrap, 300)
			s, err := netsink.NewIPFIX(network, srv.addr, ipfix.Config{Domain: 7}, c)
			require.NoError(t, err)
			for i := range 200 {
				r := loggingtest.Records()[i%14]
				require.NoError(t, s.Append(&r))
				time.Sleep(time.Duration(i%7) * 20 * time.Microsecond)
			}
			require.NoError(t, s.Close(t.Context()))
			streams := srv.streams()
			require.Greater(t, len(streams), 1)
			sequence, sets := split(t, streams[len(streams)-1])
			data, templates := known(t, sets)
			require.Greater(t, data, 180, "all that is not confirmed comes again")
			require.EqualValues(t, 0, sequence[0])
			count := 0
			for i := range sets {
				require.EqualValues(t, count, sequence[i], "data records before message %d", i)
				count = 0
				count, _ = known(t, sets[:i+1])
			}
			require.LessOrEqual(t, templates, 20, "no template twice")
		})
	}
}

// TestIPFIXDatagrams: over UDP templates come again by time, also when no records do, and by count.
//
// Rows: 8158-15.
func TestIPFIXDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe() // a Write is a datagram
		var mu sync.Mutex
		var all [][]byte
		messages := func() [][]byte {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		go func() {
			b := make([]byte, 1<<16)
			for {
				n, err := far.Read(b)
				if err != nil {
					return
				}
				mu.Lock()
				all = append(all, bytes.Clone(b[:n]))
				mu.Unlock()
			}
		}()
		s, err := netsink.NewIPFIX("udp", "192.0.2.1:4739", ipfix.Config{TemplateInterval: time.Minute, TemplateMessages: 3, MTU: 600}, netsink.Config{
			Dial: func(context.Context, string, string) (net.Conn, error) { return near, nil },
		})
		require.NoError(t, err)
		r := numbered(1)
		require.NoError(t, s.Append(&r))
		got := messages()
		require.Len(t, got, 1)
		_, sets := split(t, bytes.Join(got, nil))
		data, templates := known(t, sets)
		require.Equal(t, [2]int{1, 1}, [2]int{data, templates})
		require.EqualValues(t, time.Now().Unix(), binary.BigEndian.Uint32(got[0][4:]), "the export time is that of sending")
		time.Sleep(time.Minute + time.Second)
		_, sets = split(t, bytes.Join(messages(), nil))
		data, templates = known(t, sets)
		require.Equal(t, [2]int{1, 2}, [2]int{data, templates}, "by time")
		for range 300 { // at once: several messages
			require.NoError(t, s.Append(&r))
		}
		_, sets = split(t, bytes.Join(messages(), nil))
		data, templates = known(t, sets)
		require.Equal(t, 301, data)
		require.GreaterOrEqual(t, templates, 6, "by count")
		for _, m := range messages() {
			require.LessOrEqual(t, len(m), 600)
		}
		require.NoError(t, s.Close(t.Context()))
	})
}

// TestTooLarge: a record that the network cannot take is counted as rejected, once, and does not hold up others.
func TestTooLarge(t *testing.T) {
	srv := newUDPCollector(t, "127.0.0.1:0")
	var told []error
	s, err := netsink.NewSyslog("udp", srv.LocalAddr().String(), syslog.Encoder{}, netsink.Config{OnError: func(err error) { told = append(told, err) }})
	require.NoError(t, err)
	r := loggingtest.Records()[14]
	r.Detail = strings.Repeat("x", 65535)
	require.NoError(t, s.Append(&r))
	r = numbered(1)
	require.NoError(t, s.Append(&r))
	require.NoError(t, s.Close(t.Context()))
	require.Equal(t, [2]uint64{1, 1}, [2]uint64{s.Stats().Rejected, s.Stats().Sent})
	require.Len(t, told, 1)
	require.ErrorIs(t, told[0], logging.ErrRecord)
	await(t, func() bool { return len(srv.datagrams()) == 1 })

	s, err = netsink.NewIPFIX("udp", srv.LocalAddr().String(), ipfix.Config{}, netsink.Config{})
	require.NoError(t, err)
	r.Subscriber, r.SubscriberID = netip.Addr{}, "a line without an address"
	require.NoError(t, s.Append(&r))
	require.NoError(t, s.Close(t.Context()))
	require.Equal(t, [2]uint64{1, 0}, [2]uint64{s.Stats().Rejected, s.Stats().Sent})

	s, err = netsink.NewIPFIX("udp", srv.LocalAddr().String(), ipfix.Config{}, netsink.Config{})
	require.NoError(t, err)
	r = loggingtest.Records()[14]
	require.NoError(t, s.Append(&r))
	require.NoError(t, s.Close(t.Context()))
	require.Equal(t, [2]uint64{1, 0}, [2]uint64{s.Stats().Skipped, s.Stats().Sent}, "a configuration epoch")
}
