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
	CPU     string
	Cores   int
	OS      string
	Version string
}

func describeMachine() machine {
	return machine{CPU: processor("/proc/cpuinfo"), Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Version: runtime.Version()}
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
	return fmt.Sprintf("%s, %d cores, %s, %s", m.CPU, m.Cores, m.OS, m.Version)
}

// slug is the machine in a file name: the letters and digits of its processor, and its cores.
func (m machine) slug() string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(strings.ToLower(m.CPU), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}) {
		b.WriteString(word + "-")
	}
	return fmt.Sprintf("%s%dcores", b.String(), m.Cores)
}

// availableMemory returns the bytes that a meminfo file calls available, or 0.
func availableMemory(path string) float64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib float64
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %f kB", &kib); n == 1 {
			return kib * 1024
		}
	}
	return 0
}
