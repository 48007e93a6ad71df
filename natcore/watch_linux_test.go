package natcore_test

import (
	"syscall"
	"time"
	"unsafe"
)

// threadTime returns the processor time of the calling thread: what others take of the machine does not count.
func threadTime() time.Duration {
	var t syscall.Timespec
	const clockThreadCPU = 3
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockThreadCPU, uintptr(unsafe.Pointer(&t)), 0)
	return time.Duration(t.Nano())
}
