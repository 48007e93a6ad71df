package flowmask

// Key is what a mask leaves of a flow: a comparable value of 40 bytes. Two flows have the
// same key under a mask exactly when they agree in every bit that the mask selects. Keys of
// different masks must not be compared. The zero Key is not valid.
type Key struct {
	a, b, c, d uint64
	w          uint64
}

// Apply returns the masked key of f. The key is not valid, and the flow matches nothing, if
//
//   - f is the zero Flow,
//   - the mask has an address field and is of the other address family, or
//   - the mask selects a bit of a port that is unknown.
//
// A port that the protocol does not have reads as 0, as in ipfw.
func (m Mask) Apply(f Flow) Key {
	if (f.w^m.want())&m.checks() != 0 {
		return Key{}
	}
	return Key{a: f.a & m.a, b: f.b & m.b, c: f.c & m.c, d: f.d & m.d, w: f.w&m.w | flagValid}
}

// Check returns nil if f has a key under m, and else a *KeyError that says why not.
func (m Mask) Check(f Flow) error {
	differ := (f.w ^ m.want()) & m.checks()
	if differ == 0 {
		return nil
	}
	e := &KeyError{Mask: m, Flow: f}
	switch {
	case differ&flagValid != 0:
	case differ&flagSix != 0:
		e.Field = SrcIP
		if m.fields&SrcIP == 0 {
			e.Field = DstIP
		}
	case differ&flagSrcUnknown != 0:
		e.Field = SrcPort
	default:
		e.Field = DstPort
	}
	return e
}

// IsValid reports whether k is not the zero Key.
func (k Key) IsValid() bool { return k.w != 0 }

// Flow returns the flow that has the bits of the key where the mask selects them, and 0
// everywhere else: the mask applied to it gives k again. Of a mask without address fields
// it is an IPv4 flow.
func (k Key) Flow() Flow { return Flow(k) }
