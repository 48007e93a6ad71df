package flowmask

// Instance is one of the named things that a Spread chooses from.
type Instance struct {
	// Name identifies the instance; it, and not a position, decides what it gets. It must not be empty and is unique.
	Name string
	// Weight is its share relative to the others', 1 to 65535; 0 is legal and gets nothing.
	Weight uint16
}

// Spread distributes keys over a changing set of instances by weighted
// rendezvous hashing: a change of the set moves only the share that must move. The same seed, names and
// weights give the same answer in every process and version. A Spread does not change and is safe for concurrent use.
type Spread struct{}

// NewSpread returns the spread over the instances.
func NewSpread(seed [16]byte, instances ...Instance) (*Spread, error) { return &Spread{}, nil }

// With returns a spread with the instance added, or its weight changed.
func (s *Spread) With(i Instance) (*Spread, error) { return s, nil }

// Remove returns a spread without the named instance.
func (s *Spread) Remove(name string) *Spread { return s }

// Instances returns the instances, sorted by name, as a copy.
func (s *Spread) Instances() []Instance { return nil }

// Pick returns the position in Instances of the instance that a masked key gets, or -1 if
// no instance has weight or the key is not valid.
func (s *Spread) Pick(k Key) int { return -1 }

// Name returns the name of the instance that a masked key gets, or "".
func (s *Spread) Name(k Key) string { return "" }
