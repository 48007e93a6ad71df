//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The virtio-net header (virtio 1.2, section 5.1.6) stands before each packet
// of a device with IFF_VNET_HDR. Its offsets are relative to the IP header and
// none of them changes in translation, so the header goes out as it came in.
const (
	vnetHeaderLen = 10
	vnetNeedsCsum = 1 // first byte: the transport checksum is partial
	vnetGSONone   = 0 // second byte: the packet is no row of segments
)

// Offloads that the device announces to the kernel (linux/if_tun.h): partial
// checksums and segments of TCP, and of UDP where the kernel has it (6.2).
const (
	tunOffloadTCP = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	tunOffloadUDP = 0x20 | 0x40 // TUN_F_USO4, TUN_F_USO6
)

// maxPacket is the longest IPv4 packet; with segmentation offload the kernel
// passes packets of this size whatever the MTU.
const maxPacket = 65535

// frame is room for one packet.
type frame struct {
	buf []byte // the virtio-net header, if the device has one, and the packet
	n   int    // bytes of buf that are in use
}

// newFrames returns n frames that share one piece of memory.
func newFrames(n int) []frame {
	const size = (vnetHeaderLen + maxPacket + 63) / 64 * 64
	slab := make([]byte, n*size)
	frames := make([]frame, n)
	for i := range frames {
		frames[i].buf = slab[i*size : (i+1)*size : (i+1)*size]
	}
	return frames
}

// tun is a TUN device. The device lives as long as it is open: when the process
// ends, however it ends, the kernel removes it and all routes through it. One
// goroutine reads and writes; interrupt and close may be called from any.
type tun struct {
	file   *os.File
	raw    syscall.RawConn
	name   string
	header int // bytes before each packet: 0 or vnetHeaderLen

	// State of the one readBatch or write under way. The callbacks are made
	// once, because a closure per call would be an allocation per packet.
	frames  []frame
	got     int
	out     [][]byte
	err     error
	readFn  func(fd uintptr) bool
	writeFn func(fd uintptr) bool
	zero    [vnetHeaderLen]byte
}

// errTUNGone means that the device was removed from outside.
var errTUNGone = errors.New("the TUN device was removed")

// openTUN makes a TUN device in the network namespace of the calling thread.
// With offload the device carries virtio-net headers, partial checksums and
// segments longer than the MTU.
func openTUN(name string, offload bool) (*tun, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, tunFault(err)
	}
	t := &tun{}
	if err := t.configure(fd, name, offload); err != nil {
		unix.Close(fd)
		return nil, err
	}
	// os.NewFile finds the descriptor non-blocking and gives it to the
	// runtime's poller, which makes deadlines work. The device must be
	// attached before: an unattached one reports an error to the poller.
	t.file = os.NewFile(uintptr(fd), tunPath)
	if t.raw, err = t.file.SyscallConn(); err != nil {
		t.file.Close()
		return nil, err
	}
	t.readFn, t.writeFn = t.readReady, t.writeReady
	return t, nil
}

func (t *tun) configure(fd int, name string, offload bool) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return &usageError{fmt.Errorf("%q is no name for a device: 1 to 15 bytes", name)}
	}
	// IFF_TUN_EXCL refuses a device that is there already; without it the
	// process would attach to a persistent device of somebody else.
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_TUN_EXCL)
	if offload {
		flags |= unix.IFF_VNET_HDR
	}
	ifr.SetUint16(flags)
	switch err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); {
	case errors.Is(err, unix.EBUSY):
		return nameTaken(name, "")
	case errors.Is(err, unix.EPERM):
		return &usageError{errors.New("missing permission: making a TUN device needs CAP_NET_ADMIN: run as root, or with \"setcap cap_net_admin+ep\" on the program")}
	case err != nil:
		return fmt.Errorf("making the TUN device %s: %w", name, err)
	}
	t.name = ifr.Name()
	if !offload {
		return nil
	}
	t.header = vnetHeaderLen
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, vnetHeaderLen); err != nil {
		return fmt.Errorf("setting the length of the virtio-net header: %w", err)
	}
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tunOffloadTCP|tunOffloadUDP) == nil {
		return nil
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tunOffloadTCP); err != nil {
		return fmt.Errorf("switching offloads on (try -gso=false): %w", err)
	}
	return nil
}

// nameTaken says that a device of this name exists; kind may be "".
func nameTaken(name, kind string) error {
	if kind != "" {
		kind = " (a device of type " + kind + ")"
	}
	return &usageError{fmt.Errorf("the name %s is taken%s: choose another with -tun, or end the program that uses it (\"ip link show %s\")", name, kind, name)}
}

// readBatch waits until a packet is there or the deadline is over, and then
// reads as many packets as are there, at most len(frames). It returns how many
// it read, also with an error.
func (t *tun) readBatch(frames []frame) (int, error) {
	t.frames, t.got, t.err = frames, 0, nil
	err := t.raw.Read(t.readFn)
	if err == nil {
		err = t.err
	}
	return t.got, err
}

// readReady reads until the device is empty. It returns false to wait for more.
func (t *tun) readReady(fd uintptr) bool {
	for t.got < len(t.frames) {
		f := &t.frames[t.got]
		n, err := unix.Read(int(fd), f.buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return t.got > 0
		case err == unix.EBADFD || err == unix.EBADF || err == unix.ENODEV:
			t.err = errTUNGone
			return true
		case err != nil:
			t.err = err
			return true
		case n <= t.header:
			continue // nothing behind the header
		}
		f.n = n
		t.got++
	}
	return true
}

// write gives one frame to the kernel.
func (t *tun) write(f *frame) error { return t.writeParts(f.buf[:f.n]) }

// writePacket gives a packet without a frame to the kernel.
func (t *tun) writePacket(p []byte) error {
	if t.header == 0 {
		return t.writeParts(p)
	}
	return t.writeParts(t.zero[:], p)
}

func (t *tun) writeParts(parts ...[]byte) error {
	t.out, t.err = append(t.out[:0], parts...), nil
	err := t.raw.Write(t.writeFn)
	if err == nil {
		err = t.err
	}
	return err
}

// writeReady writes the parts as one packet. A full queue makes it wait.
func (t *tun) writeReady(fd uintptr) bool {
	for {
		var err error
		if len(t.out) == 1 {
			_, err = unix.Write(int(fd), t.out[0])
		} else {
			_, err = unix.Writev(int(fd), t.out)
		}
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		case unix.EBADFD, unix.EBADF, unix.ENODEV:
			err = errTUNGone
		}
		t.err = err
		return true
	}
}

// setDeadline bounds the wait of readBatch. A deadline in the past ends it at once.
func (t *tun) setDeadline(at time.Time) error { return t.file.SetReadDeadline(at) }

// interrupt ends a readBatch or a write that waits.
func (t *tun) interrupt() { t.file.SetDeadline(time.Unix(1, 0)) }

// close removes the device, and the kernel with it every route through it.
func (t *tun) close() error { return t.file.Close() }
