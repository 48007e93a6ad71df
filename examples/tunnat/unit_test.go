//go:build linux

package main

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
)

func TestOwnerNames(t *testing.T) {
	self, err := thisProcess()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		ok    bool
		alive bool
	}{
		{self.name("router"), true, true},
		{owner{self.pid, self.start + 1}.name("router"), true, false}, // the process id was given out again
		{owner{1 << 30, self.start}.name("client-1"), true, false},
		{"tunnat-1-x", false, false},
		{"tunnat-0-5-x", false, false},
		{"tunnat--1-5-x", false, false},
		{"tunnat-12-34-", false, false},
		{"tunnat-" + strings.Repeat("9", 30) + "-1-x", false, false},
		{"mytunnat-1-2-x", false, false},
		{"blue", false, false},
		{"", false, false},
	} {
		o, ok := parseOwner(tt.name)
		if ok != tt.ok || ok && o.alive() != tt.alive {
			t.Errorf("parseOwner(%q) = %v, %v; alive %v", tt.name, o, ok, o.alive())
		}
	}
}

func TestRangePrefixes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"203.0.113.7", "203.0.113.7/32"},
		{"203.0.113.0/29", "203.0.113.0/29"},
		{"203.0.113.1-203.0.113.6", "203.0.113.1/32 203.0.113.2/31 203.0.113.4/31 203.0.113.6/32"},
		{"0.0.0.0-255.255.255.255", "0.0.0.0/0"},
		{"255.255.255.254-255.255.255.255", "255.255.255.254/31"},
		{"192.0.2.255-198.51.100.0", ""},
	} {
		rs, err := alloc.ParseRanges(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		got := poolPrefixes(rs)
		if s := strings.Trim(strings.ReplaceAll(joined(got), ",", " "), " "); tt.want != "" && s != tt.want {
			t.Errorf("%s: %s, want %s", tt.in, s, tt.want)
		}
		// Right by reading: the prefixes follow each other without gap or overlap.
		next := rs[0].First()
		for i, p := range got {
			if p.Masked() != p || p.Addr() != next {
				t.Errorf("%s: prefix %d is %v, expected to begin at %v", tt.in, i, p, next)
			}
			next = lastAddr(p).Next()
		}
		if next != rs[0].Last().Next() {
			t.Errorf("%s: ends before %v", tt.in, next)
		}
	}
}

func TestDirection(t *testing.T) {
	f := &forwarder{internal: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("10.1.0.0/16")}}
	packet := func(src string) []byte {
		b := make([]byte, 20)
		b[0] = 0x45
		a := netip.MustParseAddr(src).As4()
		copy(b[12:], a[:])
		return b
	}
	for src, want := range map[string]natcore.Direction{
		"100.64.0.0": natcore.Outbound, "100.127.255.255": natcore.Outbound, "10.1.2.3": natcore.Outbound,
		"100.63.255.255": natcore.Inbound, "100.128.0.0": natcore.Inbound, "10.2.0.0": natcore.Inbound, "192.0.0.8": natcore.Inbound,
	} {
		if got := f.direction(packet(src)); got != want {
			t.Errorf("%s: %v, want %v", src, got, want)
		}
	}
	for _, b := range [][]byte{nil, {0x45}, make([]byte, 19), append([]byte{0x60}, make([]byte, 60)...)} {
		if got := f.direction(b); got != natcore.Outbound {
			t.Errorf("%d bytes that are no IPv4 packet: %v", len(b), got)
		}
	}
}

func TestMissing(t *testing.T) {
	all := []capability{capNetAdmin, capSysAdmin, capNetRaw}
	if err := missing(^uint64(0), 0, "", all); err != nil {
		t.Error(err)
	}
	err := missing(1<<capNetRaw.bit, 1000, "run it with sudo", all)
	var usage *usageError
	if !errors.As(err, &usage) {
		t.Fatalf("%v is no usageError", err)
	}
	for _, part := range []string{"uid 1000", "CAP_NET_ADMIN (to make", "CAP_SYS_ADMIN (to make", "run it with sudo"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
	if strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Errorf("CAP_NET_RAW is there: %v", err)
	}
}

func TestTunFault(t *testing.T) {
	for _, tt := range []struct {
		err  error
		text string
	}{
		{fs.ErrNotExist, "modprobe tun"},
		{unix.ENODEV, "CONFIG_TUN"},
		{unix.EACCES, "let the user read and write the device"},
		{unix.EPERM, "docker run --device"},
		{unix.EIO, "opening /dev/net/tun"},
	} {
		if err := tunFault(tt.err); !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%v: %q is not in %q", tt.err, tt.text, err)
		}
	}
}

func TestResolve(t *testing.T) {
	rs, err := parseBlockRecords([]byte(
		`{"kind":"block-allocated","time":"2026-01-01T00:00:01.000Z","subscriber":"100.64.0.1","external":"203.0.113.1","first":1024,"last":1279}
{"kind":"block-released","time":"2026-01-01T00:00:05.000Z","allocated":"2026-01-01T00:00:01.000Z","subscriber":"100.64.0.1","external":"203.0.113.1","first":1024,"last":1279}
{"kind":"block-allocated","time":"2026-01-01T00:00:09.000Z","subscriber":"100.64.0.2","external":"203.0.113.1","first":1024,"last":1279}
`))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		second int
		end    string
		want   string
	}{
		{0, "203.0.113.1:1024", ""}, {1, "203.0.113.1:1024", "100.64.0.1"}, {5, "203.0.113.1:1279", "100.64.0.1"},
		{6, "203.0.113.1:1279", ""}, {9, "203.0.113.1:1100", "100.64.0.2"}, {9, "203.0.113.1:1280", ""},
		{9, "203.0.113.1:1023", ""}, {9, "203.0.113.2:1100", ""},
	} {
		r, err := resolve(rs, netip.MustParseAddrPort(tt.end), start.Add(time.Duration(tt.second)*time.Second))
		if (err == nil) != (tt.want != "") || err == nil && r.Subscriber.String() != tt.want {
			t.Errorf("%s at %d s: %v, %v; want %q", tt.end, tt.second, r.Subscriber, err, tt.want)
		}
	}
	if _, err := resolve(append(rs, rs[2]), netip.MustParseAddrPort("203.0.113.1:1100"), start.Add(time.Minute)); err == nil {
		t.Error("two records that cover one endpoint are no answer")
	}
	if _, err := parseBlockRecords([]byte("{\n")); err == nil {
		t.Error("a damaged line is an error")
	}
}

func TestBlockLog(t *testing.T) {
	var kept logging.Memory
	l := newBlockLog(&kept)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rec := func(kind logging.Kind, host byte, first uint16, at time.Time) *logging.Record {
		r := &logging.Record{Kind: kind, Time: logging.MillisOf(at), First: first, Last: first + 255, Spaces: logging.AllSpaces,
			Subscriber: netip.AddrFrom4([4]byte{100, 64, 0, host}), External: netip.MustParseAddr("203.0.113.1"), Used: 1}
		if kind == logging.BlockReleased {
			r.Allocated = logging.MillisOf(now)
		}
		return r
	}
	for _, r := range []*logging.Record{
		rec(logging.BlockAllocated, 1, 2048, now), rec(logging.BlockAllocated, 1, 4096, now),
		rec(logging.BlockAllocated, 2, 1024, now), rec(logging.BlockReleased, 1, 2048, now.Add(time.Second)),
		rec(logging.BlockAllocated, 1, 8192, now.Add(time.Second)),
	} {
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	refusal := errors.New("disk full")
	kept.Refuse(refusal)
	if err := l.Append(rec(logging.BlockAllocated, 3, 512, now)); !errors.Is(err, refusal) {
		t.Errorf("a refused record gives %v", err)
	}
	if err := l.shutdown(now.Add(time.Minute)); !errors.Is(err, refusal) {
		t.Errorf("a refused shutdown gives %v", err)
	}
	kept.Refuse(nil)
	before := kept.Len()
	for range 2 { // the second time nothing is open
		if err := l.shutdown(now.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	var got []uint16
	var used []uint32
	for _, r := range kept.Records()[before:] {
		if err := r.Check(); err != nil || r.Kind != logging.BlockReleased || r.Reason != logging.ReasonShutdown || r.Time != logging.MillisOf(now.Add(time.Minute)) || r.Allocated == 0 {
			t.Errorf("%+v: %v", r, err)
		}
		got, used = append(got, r.First), append(used, r.Used)
	}
	if !slices.Equal(got, []uint16{1024, 4096, 8192}) || !slices.Equal(used, []uint32{0, 1, 0}) {
		t.Errorf("released %v with %v left, want 1024, 4096 and 8192 with 0, 1 and 0", got, used)
	}
}

func TestParseQuote(t *testing.T) {
	// A time exceeded message that quotes UDP 100.64.1.2:4660 -> 198.51.100.10:33434.
	ip := []byte{0x45, 0, 0, 51, 0, 1, 0, 0, 1, 17, 0, 0, 100, 64, 1, 2, 198, 51, 100, 10}
	sum := inetChecksum(ip)
	ip[10], ip[11] = byte(sum>>8), byte(sum)
	msg := append([]byte{icmpTimeExceeded, 0, 0, 0, 0, 0, 0, 0}, ip...)
	msg = append(msg, 0x12, 0x34, 0x82, 0x9a, 0, 31, 0, 0)
	sum = inetChecksum(msg)
	msg[2], msg[3] = byte(sum>>8), byte(sum)
	q, err := parseQuote(msg)
	want := quote{17, netip.MustParseAddrPort("100.64.1.2:4660"), netip.MustParseAddrPort("198.51.100.10:33434")}
	if err != nil || q != want {
		t.Fatalf("%+v, %v; want %+v", q, err, want)
	}
	for i := range msg {
		bad := slices.Clone(msg)
		bad[i] ^= 0x10
		if _, err := parseQuote(bad); err == nil {
			t.Errorf("a changed byte %d is not noticed", i)
		}
		if _, err := parseQuote(msg[:i]); err == nil {
			t.Errorf("%d bytes are taken for a message", i)
		}
	}
}

// TestRemoveNamedWithoutMount removes the file of a namespace that was never
// mounted, as a kill between the two steps or a new start of the machine leaves it.
func TestRemoveNamedWithoutMount(t *testing.T) {
	needRoot(t)
	unchanged(t)
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := owner{1 << 30, 1}.name("file")
	if err := os.WriteFile(netnsDir+"/"+name, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	removed, err := removeDeadNamespaces()
	if err != nil || !slices.Contains(removed, "network namespace "+name) {
		t.Errorf("removed %v: %v", removed, err)
	}
	if _, err := os.Stat(netnsDir + "/" + name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}
