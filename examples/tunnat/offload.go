//go:build linux

package main

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct{ cmd, data uint32 }

// ethtoolIfreq is struct ifreq of linux/if.h with its pointer.
type ethtoolIfreq struct {
	name [unix.IFNAMSIZ]byte
	data *ethtoolValue
	_    [16]byte // the rest of the union
}

// checksumsOff switches off that a device computes transport checksums. The
// kernel then computes them before it hands packets to the device, and the
// receiver verifies them. Between veth devices it would do neither: a
// checksum that is marked as partial is taken for right all the way, and a
// translator that breaks it would not be noticed.
func (n *namespace) checksumsOff(device string) error {
	return n.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		value := ethtoolValue{cmd: unix.ETHTOOL_STXCSUM, data: 0}
		req := ethtoolIfreq{data: &value}
		copy(req.name[:unix.IFNAMSIZ-1], device)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
		runtime.KeepAlive(&value)
		if errno != 0 {
			return fmt.Errorf("switching checksum offload of %s off: %w", device, errno)
		}
		return nil
	})
}
