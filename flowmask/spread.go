package flowmask

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// Instance is one of the named things that a Spread chooses from.
type Instance struct {
	// Name identifies the instance; it, and not a position, decides what the instance gets.
	// It must not be empty and must be unique.
	Name string
	// Weight is the share relative to the others', from 0, which gets nothing, to 65535.
	Weight uint16
}

// Spread distributes keys over a changing set of instances by weighted rendezvous hashing
// (Thaler and Ravishankar 1998; weights as in Schindelhauer and Schomaker 2005). Every
// instance has a score for every key, and the best one gets the key. A score depends on the
// seed, the key, the name and the weight, and on no other instance. Therefore
//
//   - an added instance takes keys from the others and moves none between them,
//     a share of weight/(sum of weights) in the mean;
//   - a removed instance's keys go to the others, and no other key moves;
//   - a weight that rises only draws keys to its instance, one that falls only sends keys away.
//
// The score is -log2(u)/weight, lowest wins, in integers only (floating point may differ
// between processors): u is a 64-bit hash of key and name, the logarithm is interpolated
// between 257 values that are computed exactly to 2^-40; the shares follow the weights to
// within 0.1 %. Equal scores are decided by the names' order. The same seed, names, weights
// and key give the same answer in every process and version; the tests pin it.
//
// A pick takes time in proportion to the number of instances. A Spread does not change and
// is safe for concurrent use.
type Spread struct {
	hash      Hasher
	logs      *[257]uint64
	instances []Instance // sorted by name
	hashes    []uint64   // of the names
}

// InstanceError says which instance is not legal and why. It matches ErrSpread.
type InstanceError struct {
	Instance Instance
	Reason   string
}

// Error names the instance and the reason.
func (e *InstanceError) Error() string {
	return fmt.Sprintf("flowmask: instance %q: %s", clip(e.Instance.Name), e.Reason)
}

// Is reports whether target is ErrSpread.
func (e *InstanceError) Is(target error) bool { return target == ErrSpread }

// NewSpread returns the spread over the instances, in any order. It reports all instances
// that are not legal (an empty name, a name that occurs twice), joined.
func NewSpread(seed [16]byte, instances ...Instance) (*Spread, error) {
	s := &Spread{hash: newHasher(seed, domainSpread), logs: logTable()}
	s.instances = slices.Clone(instances)
	slices.SortStableFunc(s.instances, func(a, b Instance) int { return strings.Compare(a.Name, b.Name) })
	var faults []error
	for i, in := range s.instances {
		switch {
		case in.Name == "":
			faults = append(faults, &InstanceError{in, "the name is empty"})
		case i > 0 && s.instances[i-1].Name == in.Name:
			faults = append(faults, &InstanceError{in, "another instance has this name"})
		}
		s.hashes = append(s.hashes, s.hash.text(in.Name))
	}
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	return s, nil
}

// With returns a spread with the instance added, or its weight changed. An empty name
// returns an *InstanceError.
func (s *Spread) With(in Instance) (*Spread, error) {
	if in.Name == "" {
		return nil, &InstanceError{in, "the name is empty"}
	}
	n := *s
	i, had := s.search(in.Name)
	if had {
		n.instances = slices.Clone(s.instances)
		n.instances[i] = in
		return &n, nil
	}
	n.instances = slices.Insert(slices.Clone(s.instances), i, in)
	n.hashes = slices.Insert(slices.Clone(s.hashes), i, s.hash.text(in.Name))
	return &n, nil
}

// Remove returns a spread without the named instance, or s if there is none.
func (s *Spread) Remove(name string) *Spread {
	i, had := s.search(name)
	if !had {
		return s
	}
	n := *s
	n.instances = slices.Delete(slices.Clone(s.instances), i, i+1)
	n.hashes = slices.Delete(slices.Clone(s.hashes), i, i+1)
	return &n
}

// search finds the position of a name, or where it would be.
func (s *Spread) search(name string) (int, bool) {
	return slices.BinarySearchFunc(s.instances, name, func(in Instance, n string) int { return strings.Compare(in.Name, n) })
}

// Instances returns the instances, sorted by name, as a copy.
func (s *Spread) Instances() []Instance { return slices.Clone(s.instances) }

// Pick returns the position in Instances of the instance that a masked key gets, or -1 if
// no instance has weight or the key is not valid.
func (s *Spread) Pick(k Key) int {
	if !k.IsValid() || s == nil || s.logs == nil {
		return -1
	}
	v := s.hash.Key(k)
	best, low, weight := -1, uint64(0), uint64(0)
	for i, h := range s.hashes {
		w := uint64(s.instances[i].Weight)
		if w == 0 {
			continue
		}
		e := negLog2(s.logs, mix(v+h))
		// e/w < low/weight; e is below 2^47 and w below 2^16, so the products fit.
		if best < 0 || e*weight < low*w {
			best, low, weight = i, e, w
		}
	}
	return best
}

// Name returns the name of the instance that a masked key gets, or "".
func (s *Spread) Name(k Key) string {
	if i := s.Pick(k); i >= 0 {
		return s.instances[i].Name
	}
	return ""
}

// mix is the finalizer of splitmix64 (Stafford's variant 13): a bijection in which every
// input bit changes every output bit with a probability of about one half.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// logBits is the number of fractional bits of the logarithms.
const logBits = 40

// negLog2 returns -log2(u / 2^64) with logBits fractional bits, at most 64; u = 0 counts as
// 1. It never rises when u rises.
func negLog2(logs *[257]uint64, u uint64) uint64 {
	u = max(u, 1)
	zeros := bits.LeadingZeros64(u)
	u <<= zeros
	// u is x * 2^63 with 1 <= x < 2. The eight bits after the leading one choose the
	// segment.
	i := u >> 55 & 0xff
	part := u << 9 // the place in the segment, as a fraction of 2^64
	drop, _ := bits.Mul64(logs[i]-logs[i+1], part)
	return uint64(zeros)<<logBits + logs[i] - drop
}

// logTable returns 1 - log2(1 + i/256) for i from 0 to 256, with logBits fractional bits.
func logTable() *[257]uint64 {
	var t [257]uint64
	for i := range uint64(256) {
		// x * 2^63, 1 <= x < 2; squaring x shifts one more bit of its logarithm out.
		x := 1<<63 + i<<55
		var log uint64
		for range logBits {
			hi, lo := bits.Mul64(x, x) // x*x * 2^126
			log <<= 1
			if hi>>63 != 0 {
				log |= 1
				x = hi
			} else {
				x = hi<<1 | lo>>63
			}
		}
		t[i] = 1<<logBits - log
	}
	return &t
}
