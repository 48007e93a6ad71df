package deterministic

import (
	"fmt"
	"slices"
)

var algorithmNames = [...]string{"sequential", "staggered", "round-robin", "interlaced", "crypto", "random", "map", "gma", "mask"}

var remainderNames = [...]string{"auto", "dynamic", "spread", "unused"}

// RFC7422 returns the A of RFC 7422 section 2: 5, vendor-specific, for the
// algorithms that the RFC does not have.
func (a Algorithm) RFC7422() int { return min(int(a), 5) }

// String returns the name that an archive has for the algorithm.
func (a Algorithm) String() string {
	if int(a) < len(algorithmNames) {
		return algorithmNames[a]
	}
	return fmt.Sprintf("Algorithm(%d)", uint8(a))
}

// MarshalText implements encoding.TextMarshaler.
func (a Algorithm) MarshalText() ([]byte, error) {
	if int(a) >= len(algorithmNames) {
		return nil, fmt.Errorf("%w: %v", ErrSyntax, a)
	}
	return []byte(algorithmNames[a]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Algorithm) UnmarshalText(text []byte) error {
	i := slices.Index(algorithmNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%w: algorithm %q", ErrSyntax, text)
	}
	*a = Algorithm(i)
	return nil
}

// String returns the name that an archive has for the policy.
func (r Remainder) String() string {
	if int(r) < len(remainderNames) {
		return remainderNames[r]
	}
	return fmt.Sprintf("Remainder(%d)", uint8(r))
}

// MarshalText implements encoding.TextMarshaler.
func (r Remainder) MarshalText() ([]byte, error) {
	if int(r) >= len(remainderNames) {
		return nil, fmt.Errorf("%w: %v", ErrSyntax, r)
	}
	return []byte(remainderNames[r]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Remainder) UnmarshalText(text []byte) error {
	i := slices.Index(remainderNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("%w: remainder policy %q", ErrSyntax, text)
	}
	*r = Remainder(i)
	return nil
}
