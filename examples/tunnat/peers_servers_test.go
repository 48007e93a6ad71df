//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/blocknat/blocknat/natcore"
)

// TestPeersDNS asks dnsmasq through Go's resolver: many names at once, each from a port of its own, and an answer
// that is too long for UDP and is asked for again by TCP.
func TestPeersDNS(t *testing.T) {
	needTools(t, "dnsmasq")
	n := startPeers(t, 2, nil)
	at := netip.AddrPortFrom(serverAddr.Addr(), 53)
	args := []string{"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-ping", "--user=root",
		"--pid-file=", "--log-facility=-", "--bind-interfaces", "--listen-address=" + at.Addr().String()}
	const names = 100
	for i := range names {
		args = append(args, fmt.Sprintf("--host-record=host%d.example,192.0.2.%d", i, i))
	}
	long := strings.Repeat("a text of sixty bytes that is repeated until it is long -- ", 4)
	for range 12 {
		args = append(args, "--txt-record=long.example,"+long)
	}
	n.server.serve(t, at, "dnsmasq", args...)

	var all sync.WaitGroup
	for _, c := range n.clients {
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return c.dial(ctx, &net.Dialer{}, network, at.String())
		}}
		all.Go(func() {
			txt, err := resolver.LookupTXT(t.Context(), "long.example.")
			if err != nil || len(txt) != 12 || txt[0] != long {
				t.Errorf("%s: the long answer is %q (%v)", c.title, txt, err)
			}
		})
		for i := range names {
			all.Go(func() {
				got, err := resolver.LookupNetIP(t.Context(), "ip4", fmt.Sprintf("host%d.example.", i))
				if want := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}); err != nil || len(got) != 1 || got[0].Unmap() != want {
					t.Errorf("%s: host%d is %v, want %v (%v)", c.title, i, got, want, err)
				}
			})
		}
	}
	all.Wait()
	if s := n.engine.Stats(); s.SessionsCreated < 2*names {
		t.Errorf("%d queries made %d sessions", 2*names, s.SessionsCreated)
	}
}

// TestPeersFTP fetches files from vsftpd in passive mode, by PASV and by EPSV, and stores one. vsftpd
// accepts a data connection only from the address of the control connection, and so tests
// paired pooling too: each client opens many connections, and the pool has eight addresses.
func TestPeersFTP(t *testing.T) {
	needTools(t, "curl", "vsftpd")
	n := startPeers(t, 2, func(cfg *natcore.Config) {
		cfg.Pools[0].Blocks.BlockSize = 16 // several blocks for each client
	})
	root := t.TempDir()
	upload := filepath.Join(root, "upload")
	body := make([]byte, 1_000_000)
	randomStream(21).Read(body)
	// The server's unprivileged user reads here and writes into upload.
	for _, step := range []error{
		os.Chmod(filepath.Dir(root), 0o755), os.Chmod(root, 0o555), os.Mkdir(upload, 0o777), os.Chmod(upload, 0o777),
		os.WriteFile(filepath.Join(root, "file"), body, 0o644), os.Chmod(filepath.Join(root, "file"), 0o644),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	config, empty := filepath.Join(t.TempDir(), "vsftpd.conf"), t.TempDir()
	text := strings.Join([]string{
		"listen=YES", "listen_address=" + serverAddr.Addr().String(), "background=NO", "connect_from_port_20=NO", "port_enable=NO",
		"anonymous_enable=YES", "local_enable=NO", "no_anon_password=YES", "anon_root=" + root, "ftp_username=daemon",
		"nopriv_user=nobody", "secure_chroot_dir=" + empty, "write_enable=YES", "anon_upload_enable=YES", "anon_umask=022",
		"pasv_enable=YES", "pasv_promiscuous=NO", "seccomp_sandbox=NO", "isolate=NO", "isolate_network=NO", "xferlog_enable=NO",
	}, "\n") + "\n"
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	n.server.serve(t, netip.AddrPortFrom(serverAddr.Addr(), 21), "vsftpd", config)

	for _, c := range n.clients {
		for _, mode := range []string{"--disable-epsv", "--ftp-pasv"} { // PASV; EPSV first
			into := t.TempDir()
			url := "ftp://" + serverAddr.Addr().String()
			args := []string{"-sS", "--max-time", "20", mode}
			for i := range 12 {
				args = append(args, "-o", filepath.Join(into, fmt.Sprint(i)), url+"/file")
			}
			c.run(t, "curl", args...)
			for i := range 12 {
				if got, err := os.ReadFile(filepath.Join(into, fmt.Sprint(i))); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%s %s: the file that came is another one (%v)", c.title, mode, err)
				}
			}
			name := c.title + mode
			c.run(t, "curl", "-sS", "--max-time", "20", mode, "-T", filepath.Join(into, "0"), url+"/upload/"+name)
			if got, err := os.ReadFile(filepath.Join(upload, name)); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s %s: the file that was stored is another one (%v)", c.title, mode, err)
			}
		}
	}
	if s := n.engine.Stats(); s.Pools[0].AddressesInUse != 2 {
		t.Errorf("2 clients use %d external addresses", s.Pools[0].AddressesInUse)
	}
}
