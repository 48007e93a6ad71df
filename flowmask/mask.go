package flowmask

import "net/netip"

// Mask selects bits of a flow: any bits of any fields. It is a small
// comparable value. The zero Mask has no fields: under it all valid flows have one key.
//
// A mask with an address field belongs to one family, IPv4 or IPv6; one
// without serves both. Two masks are equal when they have the same fields, the
// same bits and the same family.
type Mask struct {
	a, b, c, d uint64
	w          uint64
	fields     Fields
	six        bool
}

// Bits are the bits of a mask, field by field, for programs that do not parse a text.
type Bits struct {
	Realm uint16
	// Src and Dst are the address masks. The invalid Addr selects no bit. Both
	// must be of one family, which becomes the family of the mask; if
	// the mask has address fields and both are invalid, it is IPv4.
	Src, Dst         netip.Addr
	Proto            uint8
	SrcPort, DstPort uint16
}

// NewMask returns the mask with the given fields and bits. It refuses bits in
// a field that is not in the set and addresses of two families.
func NewMask(fields Fields, bits Bits) (Mask, error) { return Mask{}, nil }

// ParseMask parses a mask as ipfw's setmask takes it: the masks of the fields
// in the order of Fields, separated by commas, addresses in dotted or IPv6 form,
// numbers decimal ("255.192.0.127,1,0.0.15.0,3" for src-ip, proto, dst-ip,
// dst-port). All errors are of type *SyntaxError and name field and position.
func ParseMask(s string, fields Fields) (Mask, error) { return Mask{}, nil }

// MustParseMask is ParseMask that panics on an error; for variables and tests.
func MustParseMask(s, fields string) Mask { return Mask{} }

// Fields returns the set of fields.
func (m Mask) Fields() Fields { return m.fields }

// Bits returns the bits of the mask.
func (m Mask) Bits() Bits { return Bits{} }

// Ones returns the number of bits that are selected.
func (m Mask) Ones() int { return 0 }

// Is6 reports whether the mask has an address field and is for IPv6.
func (m Mask) Is6() bool { return m.six }

// AppendTo appends the mask in ipfw's syntax and returns the extended buffer.
func (m Mask) AppendTo(b []byte) []byte { return b }

// String returns the text of AppendTo.
func (m Mask) String() string { return string(m.AppendTo(nil)) }

// Key is what a mask leaves of a flow: a comparable value. Keys of different masks
// must not be compared. The zero Key is not valid.
type Key struct {
	a, b, c, d uint64
	w          uint64
}

// Apply returns the masked key of f. The key is not valid, and the flow
// matches nothing, if f is the zero Flow, if mask and flow are of different
// address families, or if the mask selects a bit of a port that is unknown.
func (m Mask) Apply(f Flow) Key { return Key{} }

// Check returns nil if f has a key under m, and else a *KeyError that says why not.
func (m Mask) Check(f Flow) error { return nil }

// IsValid reports whether k is not the zero Key.
func (k Key) IsValid() bool { return k.w != 0 }

// Flow returns the flow that has the bits of the key where the mask selects them, and 0
// everywhere else. Of a mask without address fields it is an IPv4 flow.
func (k Key) Flow() Flow { return Flow{} }

// ParseFlow parses the values of the given fields as ipfw writes the key of a
// table entry: "100.64.0.5,tcp,192.0.2.1,443". Protocols are numbers or the names
// tcp, udp, icmp, ipv6-icmp, gre, esp, sctp, udplite; ports are numbers. Fields not
// given are 0. All errors are of type *SyntaxError.
func ParseFlow(s string, fields Fields) (Flow, error) { return Flow{}, nil }
