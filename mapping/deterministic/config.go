package deterministic

import "github.com/blocknat/blocknat/portblock"

// Algorithm says how the ports of one external address are cut into the sets of
// its subscribers. The values 0 to 4 are the A of RFC 7422 section 2; higher
// values are the RFC's "vendor-specific" (A=5).
type Algorithm uint8

const (
	// Sequential gives subscriber s of an address the s-th run of P usable ports.
	Sequential Algorithm = iota
	// Staggered gives subscriber s every (C+D)-th usable port, beginning with the
	// s-th. The RFC prints a formula whose sets collide (its address 1 at n+1 is
	// address 2 at n); this is the disjoint reading: rank n*(C+D) + s.
	Staggered
	// RoundRobin gives a subscriber the same port range on every address of a
	// group of GroupSize addresses. It is not paired (RFC 6888 REQ-2).
	RoundRobin
	// Interlaced gives a subscriber every (C+D)-th usable port, on the next
	// address of its group each time. It is not paired.
	Interlaced
	// Crypto is Sequential whose ports pass through the keyed permutation of
	// RFC 6431 section 2.2 (function 1), so that the ports of a subscriber cannot
	// be guessed from one of them.
	Crypto
	// Random is Sequential with subscribers placed on addresses and slots by a
	// keyed permutation, so that neighbours inside are not neighbours outside.
	Random
	// MAP gives subscriber s the RFC 7597 port set with PSID FirstSlot+s, offset
	// PSIDOffset and length PSIDLen.
	MAP
	// GMA is the generalized modulus algorithm of RFC 7597 appendix B with a
	// sharing ratio C+D and runs of Contiguous ports that need not be powers of 2.
	GMA
	// Mask gives subscriber s the RFC 6431 section 2.1 set under PortRangeMask
	// whose value holds the bits of FirstSlot+s.
	Mask
)

// Remainder says what becomes of the usable ports that the division leaves over.
type Remainder uint8

const (
	// RemainderAuto is RemainderDynamic where a dynamic range is configured (D or
	// DynamicPorts above 0), else RemainderSpread where P is derived and the
	// algorithm is Sequential, Staggered, Crypto or Random, else RemainderUnused.
	RemainderAuto Remainder = iota
	// RemainderDynamic adds the ports to the dynamic range (RFC 7422 section 2).
	RemainderDynamic
	// RemainderSpread gives one port more to the first slots of each address; what
	// is still left is dynamic where a dynamic range is configured, else unused.
	RemainderSpread
	// RemainderUnused leaves the ports to nobody. Stats counts them.
	RemainderUnused
)

// Config describes a deterministic map. New copies it, fills in defaults and
// reports all faults together; the filled copy is Map.Config.
type Config struct {
	// Name names the map in errors, sets and archives. Default "".
	Name string
	// Realm and ExternalRealm tell apart address spaces that use the same
	// addresses. They are part of the key in a Set and a History. Default 0.
	Realm         uint32
	ExternalRealm uint32

	// Internal lists the subscribers (the I of RFC 7422), in the order in which
	// they are numbered. One family; IPv6 serves NAT64 and DS-Lite. Spans must not
	// overlap each other. At most 2^48 subscribers. No default.
	Internal []Span
	// InternalExclude lists addresses that are no subscribers although a span of
	// Internal holds them. They leave no gap in the numbering. It may overlap
	// itself. With SubscriberBits below the address length, a subscriber that is
	// excluded in part is excluded as a whole.
	InternalExclude []Span
	// SubscriberBits is the length of the prefix that makes one subscriber.
	// Default 0: 32 for IPv4, 64 for IPv6. Legal: 1 to 32, or 1 to 128. Spans of
	// Internal must begin and end on that boundary.
	SubscriberBits int
	// IncludeBoundaryAddresses counts the first and last address of IPv4 prefixes
	// of /30 and shorter as subscribers. Default false, as in the example of
	// RFC 7422 section 2.3, where a /28 has 14 hosts. It concerns only entries of
	// Internal that are prefixes, and only SubscriberBits 32.
	IncludeBoundaryAddresses bool

	// External lists the external addresses (the O), in the order in which they
	// are filled. One family, no overlaps, at most 2^32 addresses. No default.
	External []Span
	// ExternalExclude lists addresses of External that are not used. They leave
	// no gap. It may overlap itself.
	ExternalExclude []Span

	// SharingRatio is C, subscribers per external address. Default 0: as many as
	// PortsPerSubscriber allows if that is given, else ceil(subscribers/addresses).
	// For MAP and Mask: all slots but DynamicFactor and FirstSlot.
	SharingRatio int
	// PortsPerSubscriber is P. Default 0: derived as
	// floor((65536-|R|-C*DynamicPorts)/(C+D)) (RFC 7422 section 2, step 1). Must be
	// 0 for MAP, GMA and Mask. With RoundRobin it is the number on all addresses
	// of the group together, and a multiple of GroupSize.
	PortsPerSubscriber int
	// DynamicFactor is D: the dynamic range of an address is as large as D
	// subscribers' sets. Default 0.
	DynamicFactor int
	// DynamicPorts adds that many ports per subscriber of an address to its
	// dynamic range, another way to state D. Default 0. Not for MAP, GMA, Mask,
	// RoundRobin and Interlaced.
	DynamicPorts int
	// MaxPorts is M, the limit of deterministic and dynamic ports of a subscriber
	// together, per protocol. Default 0: no limit of its own; without a dynamic
	// range the limit is P. Legal: at least P.
	MaxPorts int
	// Reserved is R, ports that nobody gets. Ranges may overlap. Default nil:
	// 0-1023 (for MAP with PSIDOffset above 0: the 2^(16-a) lowest, which are
	// always reserved there). An empty list that is not nil reserves port 0 only,
	// which is always reserved.
	Reserved []portblock.Range
	// Remainder says who gets the ports that the division leaves over.
	Remainder Remainder

	// Algorithm is A. Default Sequential.
	Algorithm Algorithm
	// Key keys Crypto and Random. The zero key is legal, and public. It must be
	// kept as long as the log (RFC 7422 section 2, A=4); the archive holds it.
	Key [16]byte
	// KeyPerAddress makes Crypto use a key of its own on every external address
	// (RFC 6431 section 2.2.1): AES-128(Key, address), the address in its 16-byte
	// form (IPv4 as ::ffff:a.b.c.d). It costs 768 bytes an address and is
	// limited to 4096 addresses. Default false: Key serves all.
	KeyPerAddress bool
	// GroupSize is the number of external addresses over which RoundRobin and
	// Interlaced spread a subscriber. Default 0: all. It must divide their number.
	GroupSize int
	// PSIDOffset and PSIDLen are the a and k of RFC 7597 section 5.1, for MAP.
	// Legal: a from 0 to 15, k from 0 to 16-a. No default: 0 means 0.
	PSIDOffset int
	PSIDLen    int
	// Contiguous is the M of RFC 7597 appendix B, for GMA: the length of each run.
	// Legal: 1 to 65536. The lowest port N of that formula is the end of the
	// reserved range that begins at port 0.
	Contiguous int
	// PortRangeMask is the PRM of RFC 6431 section 2.1, for Mask. Not 0.
	PortRangeMask uint16
	// FirstSlot is the first PSID or mask value that a subscriber gets, for MAP
	// and Mask. RFC 7597 appendix B.1: with a = 0, FirstSlot = ceil(N/2^m) keeps
	// the N lowest ports out. Default 0.
	FirstSlot int
}
