//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where named network namespaces are mounted; ip netns uses the same place.
const netnsDir = "/run/netns"

// namespace is a network namespace with a netlink socket in it. Its methods
// are safe for concurrent use.
type namespace struct {
	// name is the file below netnsDir; "" for the namespace that the process is in.
	name   string
	handle netns.NsHandle
	nl     *netlink.Handle
}

// hostNamespace is the namespace that the process runs in.
func hostNamespace() (*namespace, error) {
	nl, err := netlink.NewHandle()
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &namespace{handle: netns.None(), nl: nl}, nil
}

// newNamespace makes a named namespace with nothing but its loopback in it.
func newNamespace(name string) (*namespace, error) {
	n := &namespace{name: name, handle: netns.None()}
	err := onThread(func() error {
		var err error
		n.handle, err = netns.NewNamed(name)
		return err
	})
	if err == nil {
		n.nl, err = netlink.NewHandleAt(n.handle)
	}
	if err == nil {
		err = n.quiet()
	}
	if err != nil {
		n.remove()
		return nil, fmt.Errorf("making the network namespace %s: %w", name, err)
	}
	return n, nil
}

// quiet brings loopback up and switches IPv6 off, so that no router
// solicitation or duplicate address detection mixes with the traffic.
func (n *namespace) quiet() error {
	for _, which := range []string{"all", "default"} {
		err := n.sysctl("net/ipv6/conf/"+which+"/disable_ipv6", "1")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	lo, err := n.nl.LinkByName("lo")
	if err != nil {
		return err
	}
	return n.nl.LinkSetUp(lo)
}

// remove takes the name away and closes the handles. The kernel ends the
// namespace with all links in it when its last socket is closed.
func (n *namespace) remove() error {
	if n.nl != nil {
		n.nl.Close()
	}
	if n.handle.IsOpen() {
		n.handle.Close()
	}
	if n.name == "" {
		return nil
	}
	return removeNamed(n.name)
}

// removeNamed removes a named namespace, and a file that is left of one.
func removeNamed(name string) error {
	path := filepath.Join(netnsDir, name)
	// EINVAL: nothing is mounted there; the process died between making the
	// file and the mount, or the machine was started again.
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
		return fmt.Errorf("unmounting %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// namedNamespaces lists the names below netnsDir.
func namedNamespaces() ([]string, error) {
	entries, err := os.ReadDir(netnsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// do calls f on an OS thread that is in the namespace. Sockets and files that f
// opens belong to the namespace and are used from any thread afterwards.
func (n *namespace) do(f func() error) error {
	if n.name == "" {
		return f() // setns would need CAP_SYS_ADMIN, also into the same namespace
	}
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("entering %s: %w", n.name, err)
		}
		return f()
	})
}

// onThread calls f on a locked OS thread and brings the thread back into the
// network namespace that it came from. A thread that cannot be brought back
// stays locked and ends with its goroutine.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		err = f()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		home.Close()
		done <- err
	}()
	return <-done
}

// sysctl writes a value to a file below /proc/sys of the namespace, unless the
// value is there: a container may not be allowed to write.
func (n *namespace) sysctl(key, value string) error {
	if before, err := n.readSysctl(key); err == nil && before == value {
		return nil
	}
	return n.do(func() error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0o644) })
}

// readSysctl reads a file below /proc/sys of the namespace.
func (n *namespace) readSysctl(key string) (value string, err error) {
	err = n.do(func() error {
		b, err := os.ReadFile("/proc/sys/" + key)
		value = string(trimNewline(b))
		return err
	})
	return value, err
}

func trimNewline(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return b
}

// dial is net.Dialer.DialContext in the namespace. The address must be
// numeric: then the dialer makes its socket on the calling thread.
func (n *namespace) dial(ctx context.Context, d *net.Dialer, network, address string) (c net.Conn, err error) {
	err = n.do(func() error {
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// listen is net.ListenConfig.Listen in the namespace.
func (n *namespace) listen(ctx context.Context, lc *net.ListenConfig, network, address string) (l net.Listener, err error) {
	err = n.do(func() error {
		l, err = lc.Listen(ctx, network, address)
		return err
	})
	return l, err
}

// listenPacket is net.ListenConfig.ListenPacket in the namespace.
func (n *namespace) listenPacket(ctx context.Context, lc *net.ListenConfig, network, address string) (c net.PacketConn, err error) {
	err = n.do(func() error {
		c, err = lc.ListenPacket(ctx, network, address)
		return err
	})
	return c, err
}
