//go:build !amd64 && !arm64

package mapping

// prefetch does nothing: the processor is not told ahead what memory a batch needs.
func prefetch(*half) {}

// prefetchBlock does nothing.
func prefetchBlock(*block) {}
