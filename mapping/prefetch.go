//go:build amd64 || arm64

package mapping

// prefetch asks for two cache lines, of which p is the first, and waits for none of them. It reads nothing and never faults.
//
//go:noescape
func prefetch(p *half)

// prefetchBlock asks for one cache line.
//
//go:noescape
func prefetchBlock(p *block)
