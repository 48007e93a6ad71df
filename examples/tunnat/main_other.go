//go:build !linux

package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "tunnat needs Linux: it uses a TUN device, policy routing and network namespaces, which %s does not have.\n"+
		"Run it in a Linux virtual machine; examples/quickstart shows the NAT on any system.\n", runtime.GOOS)
	os.Exit(2)
}
