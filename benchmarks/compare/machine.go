package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// machine describes where a report was made: no names of hosts.
type machine struct {
	cpu     string
	cores   int
	goos    string
	version string
}

func describeMachine() machine {
	return machine{cpu: processor("/proc/cpuinfo"), cores: runtime.NumCPU(), goos: runtime.GOOS + "/" + runtime.GOARCH, version: runtime.Version()}
}

// processor returns the model name in a cpuinfo file, or "unknown".
func processor(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s, %s", m.cpu, m.cores, m.goos, m.version)
}

// slug is the machine in a file name: the letters and digits of its processor, and its cores.
func (m machine) slug() string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(strings.ToLower(m.cpu), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}) {
		b.WriteString(word + "-")
	}
	return fmt.Sprintf("%s%dcores", b.String(), m.cores)
}
