//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// namePrefix begins the name of everything that outlives a killed process.
const namePrefix = "tunnat-"

// owner is the process that made something, as it stands in the name of what
// it made. A process id alone is not enough, because the kernel gives it out
// again; with the start time it names one process since boot.
type owner struct {
	pid   int
	start uint64 // clock ticks from boot to the start of the process
}

// thisProcess returns the owner that this process is.
func thisProcess() (owner, error) {
	pid := os.Getpid()
	start, err := processStart(pid)
	if err != nil {
		return owner{}, fmt.Errorf("is /proc mounted? %w", err)
	}
	return owner{pid, start}, nil
}

// name returns a name that the owner can be read from.
func (o owner) name(what string) string {
	return fmt.Sprintf("%s%d-%d-%s", namePrefix, o.pid, o.start, what)
}

// parseOwner reads the owner from a name. ok is false for names of others.
func parseOwner(name string) (o owner, ok bool) {
	rest, ok := strings.CutPrefix(name, namePrefix)
	if !ok {
		return owner{}, false
	}
	f := strings.SplitN(rest, "-", 3)
	if len(f) != 3 || f[2] == "" {
		return owner{}, false
	}
	pid, err1 := strconv.Atoi(f[0])
	start, err2 := strconv.ParseUint(f[1], 10, 64)
	return owner{pid, start}, err1 == nil && err2 == nil && pid > 0
}

// alive reports whether the owner still runs. It sees only processes of its
// own PID namespace: containers that share /run/netns but not their process
// ids take each other for dead.
func (o owner) alive() bool {
	start, err := processStart(o.pid)
	return err == nil && start == o.start
}

// processStart returns field 22 of /proc/PID/stat. The second field is the
// program's name in parentheses and may hold anything, so fields are counted
// from the last parenthesis.
func processStart(pid int) (uint64, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return 0, fmt.Errorf("%s has %d fields after the name, not 20", path, len(f))
	}
	// A zombie holds nothing any more.
	if f[0][0] == 'Z' || f[0][0] == 'X' {
		return 0, os.ErrProcessDone
	}
	return strconv.ParseUint(string(f[19]), 10, 64)
}
