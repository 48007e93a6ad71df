//go:build linux

package kernel_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/blocknat/blocknat/benchmarks/kernel"
	"github.com/blocknat/blocknat/benchmarks/workload"
)

// TestPath sends packets through the kernel, with and without masquerade, and all arrive. .ci/run runs it as root.
func TestPath(t *testing.T) {
	if os.Getenv("BLOCKNAT_NETNS") == "" {
		t.Skip("set BLOCKNAT_NETNS=1 to run this as root: it makes network namespaces")
	}
	flows := workload.Repeated(1, workload.Uniform(1, 100), 1000)
	for i, masquerade := range []bool{false, true} {
		p, err := kernel.NewPath(i, masquerade)
		require.NoError(t, err)
		defer p.Close()
		spent, arrived, err := p.Send(flows)
		require.NoError(t, err)
		require.Positive(t, spent)
		// A stray packet of the neighbour discovery may be among them.
		require.InDelta(t, len(flows), arrived, 10)
	}
}

// TestRemovesWhatAKilledProcessLeft leaves a namespace in the name of a process that cannot be.
func TestRemovesWhatAKilledProcessLeft(t *testing.T) {
	if os.Getenv("BLOCKNAT_NETNS") == "" {
		t.Skip("set BLOCKNAT_NETNS=1 to run this as root: it makes network namespaces")
	}
	const left = "bnbench-99999999-0-client" // above the greatest process id
	require.NoError(t, exec.Command("ip", "netns", "add", left).Run())
	p, err := kernel.NewPath(9, false)
	require.NoError(t, err)
	p.Close()
	require.NoFileExists(t, "/run/netns/"+left)
	require.NoFileExists(t, fmt.Sprintf("/run/netns/bnbench-%d-9-client", os.Getpid()))
}

func TestWithoutRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		return // there is nothing to refuse
	}
	_, err := kernel.NewPath(0, true)
	require.ErrorContains(t, err, "root")
}
