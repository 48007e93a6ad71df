package interop

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tool returns the path of a program. Where it is missing, the test is skipped,
// or fails where collectors are a must.
func tool(t *testing.T, name, debian string) string {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	if err == nil {
		return path
	}
	missing(t, name, debian)
	return ""
}

func missing(t *testing.T, what, debian string) {
	why := fmt.Sprintf("%s is missing: apt-get install %s", what, debian)
	if os.Getenv("BLOCKNAT_COLLECTORS") == "1" {
		t.Fatal(why)
	}
	t.Skip(why + " (.ci/run does)")
}

// patience is how long a collector may take for a step.
const patience = 20 * time.Second

// await waits until done, for as long as patience.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(20 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("%s: not within %v", what, patience)
}

// daemon is a collector that runs in the foreground.
type daemon struct {
	t    *testing.T
	cmd  *exec.Cmd
	end  syscall.Signal // that ends it in order
	out  output
	done chan error
}

// output is a buffer that may be read while a program writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs a collector in a directory; the end of the test ends it.
func start(t *testing.T, dir, path string, args ...string) *daemon {
	d := &daemon{t: t, cmd: exec.Command(path, args...), end: syscall.SIGTERM, done: make(chan error, 1)}
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = dir, &d.out, &d.out
	// A group of its own, so that a collector's children end with it.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, d.cmd.Start())
	go func() { d.done <- d.cmd.Wait() }()
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", path, d.out.String())
		}
	})
	return d
}

// stop asks the collector to end and write what it has, and kills it where that
// takes too long.
func (d *daemon) stop() {
	if d.cmd == nil {
		return
	}
	group := -d.cmd.Process.Pid
	_ = d.cmd.Process.Signal(d.end)
	select {
	case <-d.done:
	case <-time.After(patience):
		d.t.Errorf("%s does not end", d.cmd.Path)
		_ = syscall.Kill(group, syscall.SIGKILL)
		<-d.done
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // children that are left; mostly there are none
	d.cmd = nil
}

// kill ends the collector at once, as a crash does.
func (d *daemon) kill() {
	_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
	<-d.done
	d.cmd = nil
}

// free returns a port of 127.0.0.1 that nobody has.
func free(t *testing.T, network string) int {
	if network == "tcp" {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		return ln.Addr().(*net.TCPAddr).Port
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer pc.Close()
	return pc.LocalAddr().(*net.UDPAddr).Port
}

// listening waits until the daemon has a socket on a port.
func (d *daemon) listening(network string, port int) {
	d.t.Helper()
	await(d.t, fmt.Sprintf("%s listens on %s port %d", d.cmd.Path, network, port), func() bool {
		select {
		case err := <-d.done:
			d.done <- err
			d.t.Fatalf("%s ended: %v", d.cmd.Path, err)
		default:
		}
		b, err := os.ReadFile("/proc/net/" + network)
		require.NoError(d.t, err)
		return strings.Contains(string(b), fmt.Sprintf(":%04X ", port))
	})
}

// drained waits until a daemon has read all datagrams that its socket got.
func drained(t *testing.T, port int) {
	t.Helper()
	await(t, fmt.Sprint("the datagrams of port ", port, " are read"), func() bool {
		b, err := os.ReadFile("/proc/net/udp")
		require.NoError(t, err)
		for _, line := range strings.Split(string(b), "\n") {
			f := strings.Fields(line)
			if len(f) > 12 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				require.Equal(t, "0", f[12], "datagrams that the socket had no room for")
				_, queued, _ := strings.Cut(f[4], ":")
				return queued == "00000000"
			}
		}
		return false
	})
}

// configure writes configurations into a directory, with replacements: pairs of
// what the document shows and what a test needs.
func configure(t *testing.T, dir string, replace []string, names ...string) {
	for _, name := range names {
		b, err := Config.ReadFile("config/" + name)
		require.NoError(t, err)
		for i := 0; i < len(replace); i += 2 {
			require.Contains(t, string(b), replace[i], name)
		}
		text := strings.NewReplacer(replace...).Replace(string(b))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
}

// place returns a directory for a collector's files, which other users may enter.
func place(t *testing.T) string {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); errors.Is(err, os.ErrPermission) {
			break
		}
	}
	return dir
}
