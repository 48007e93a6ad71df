package portblock

// Layout is a validated Config: how the ports of an address are cut, and by
// which rules they are given out. All addresses and holdings of a pool share
// one.
//
// A Layout is immutable and safe for concurrent use.
type Layout struct{ cfg Config }

// NewLayout checks cfg and returns its layout, or all faults joined, each a
// *ConfigError.
func NewLayout(cfg Config) (*Layout, error) { return &Layout{cfg: cfg}, nil }

// Config returns the configuration with its defaults filled in.
func (l *Layout) Config() Config { return l.cfg }

// Blocks returns the number of block positions of an address, in units of
// the smaller block size, usable or not.
func (l *Layout) Blocks() int { return 0 }

// BlockSize returns the number of ports of a first or a further block.
func (l *Layout) BlockSize(further bool) int { return 0 }

// SetOf returns the ports of a block as a Set: what a record of it says.
func (l *Layout) SetOf(b Block) Set { return Set{} }

// Locate returns the position of the block that holds a port, in units of
// the smaller block size, and false when no block does.
func (l *Layout) Locate(port uint16) (number int, ok bool) { return 0, false }

// Reserved is an immutable set of reserved ports, cut for one layout. It is
// safe for concurrent use.
type Reserved struct{ layout *Layout }

// NewReserved returns the set of the given reservations; what the layout
// itself excludes (ports outside its range, port 0, spaces not served) is
// always part of it. Config.Reserved is not, unless given again.
func (l *Layout) NewReserved(rules []Reservation) (*Reserved, error) { return nil, nil }

// Contains says whether the port is reserved.
func (r *Reserved) Contains(s Space, port uint16) bool { return false }
