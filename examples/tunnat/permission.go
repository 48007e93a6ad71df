//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// capability is a Linux capability with what tunnat needs it for.
type capability struct {
	bit  uint
	name string
	why  string
}

var (
	capNetAdmin = capability{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "to make a TUN device, routes and routing rules"}
	capSysAdmin = capability{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "to make network namespaces"}
	capNetRaw   = capability{unix.CAP_NET_RAW, "CAP_NET_RAW", "to send pings and to read ICMP errors"}
)

// requireCapabilities returns a usageError that names every capability that
// the process lacks and what to do about it.
func requireCapabilities(hint string, need ...capability) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("reading the capabilities of the process: %w", err)
	}
	return missing(uint64(sets[0].Effective)|uint64(sets[1].Effective)<<32, os.Geteuid(), hint, need)
}

// missing compares the effective capabilities with the needed ones.
func missing(effective uint64, uid int, hint string, need []capability) error {
	var lacks []string
	for _, c := range need {
		if effective&(1<<c.bit) == 0 {
			lacks = append(lacks, fmt.Sprintf("%s (%s)", c.name, c.why))
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	if uid == 0 {
		hint = "root of a container lacks it unless the container was given it (docker run --cap-add, or --privileged)"
	}
	return &usageError{fmt.Errorf("missing permission: the process (uid %d) lacks %s: %s", uid, strings.Join(lacks, ", "), hint)}
}

// tunPath is the device through which TUN devices are made.
const tunPath = "/dev/net/tun"

// tunFault explains why tunPath could not be opened.
func tunFault(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &usageError{fmt.Errorf("there is no %s: load the driver with \"modprobe tun\"; in a container pass the device in (docker run --device %s)", tunPath, tunPath)}
	case errors.Is(err, unix.ENODEV):
		return &usageError{fmt.Errorf("%s is there but the kernel has no TUN driver: load it with \"modprobe tun\" or use a kernel with CONFIG_TUN", tunPath)}
	case errors.Is(err, fs.ErrPermission):
		return &usageError{fmt.Errorf("missing permission: opening %s: %w: run as root, or let the user read and write the device; in a container, pass it in (docker run --device %s)", tunPath, err, tunPath)}
	}
	return fmt.Errorf("opening %s: %w", tunPath, err)
}
