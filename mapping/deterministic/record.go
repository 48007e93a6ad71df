package deterministic

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// configRecord is the structured form of a Config. Absent members have the zero
// value of the Config; "reserved" is written even if empty, because an absent
// list means the default.
type configRecord struct {
	Name               string            `json:"name,omitempty"`
	Realm              uint32            `json:"realm,omitempty"`
	ExternalRealm      uint32            `json:"external_realm,omitempty"`
	Internal           []Span            `json:"internal"`
	InternalExclude    []Span            `json:"internal_exclude,omitempty"`
	SubscriberBits     int               `json:"subscriber_bits"`
	IncludeBoundary    bool              `json:"include_boundary_addresses,omitempty"`
	External           []Span            `json:"external"`
	ExternalExclude    []Span            `json:"external_exclude,omitempty"`
	SharingRatio       int               `json:"sharing_ratio"`
	PortsPerSubscriber int               `json:"ports_per_subscriber,omitempty"`
	DynamicFactor      int               `json:"dynamic_factor,omitempty"`
	DynamicPorts       int               `json:"dynamic_ports,omitempty"`
	MaxPorts           int               `json:"max_ports,omitempty"`
	Reserved           []portblock.Range `json:"reserved"`
	Remainder          Remainder         `json:"remainder"`
	Algorithm          Algorithm         `json:"algorithm"`
	Key                hexKey            `json:"key,omitzero"`
	KeyPerAddress      bool              `json:"key_per_address,omitempty"`
	GroupSize          int               `json:"group_size,omitempty"`
	PSIDOffset         int               `json:"psid_offset,omitempty"`
	PSIDLen            int               `json:"psid_len,omitempty"`
	Contiguous         int               `json:"contiguous,omitempty"`
	PortRangeMask      uint16            `json:"port_range_mask,omitempty"`
	FirstSlot          int               `json:"first_slot,omitempty"`
}

// hexKey writes a key as 32 hexadecimal digits.
type hexKey [16]byte

func (k hexKey) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, k[:]), nil }

func (k *hexKey) UnmarshalText(text []byte) error {
	if len(text) != 2*len(k) {
		return fmt.Errorf("%w: a key has %d hexadecimal digits", ErrSyntax, 2*len(k))
	}
	_, err := hex.Decode(k[:], text)
	return err
}

// record converts; the field lists have the same order, which the compiler
// does not check but the test of the archive does.
func (cfg *Config) record() configRecord {
	return configRecord{
		cfg.Name, cfg.Realm, cfg.ExternalRealm,
		cfg.Internal, cfg.InternalExclude, cfg.SubscriberBits, cfg.IncludeBoundaryAddresses,
		cfg.External, cfg.ExternalExclude,
		cfg.SharingRatio, cfg.PortsPerSubscriber, cfg.DynamicFactor, cfg.DynamicPorts, cfg.MaxPorts,
		cfg.Reserved, cfg.Remainder, cfg.Algorithm, hexKey(cfg.Key), cfg.KeyPerAddress,
		cfg.GroupSize, cfg.PSIDOffset, cfg.PSIDLen, cfg.Contiguous, cfg.PortRangeMask, cfg.FirstSlot,
	}
}

func (r *configRecord) config() Config {
	return Config{
		r.Name, r.Realm, r.ExternalRealm,
		r.Internal, r.InternalExclude, r.SubscriberBits, r.IncludeBoundary,
		r.External, r.ExternalExclude,
		r.SharingRatio, r.PortsPerSubscriber, r.DynamicFactor, r.DynamicPorts, r.MaxPorts,
		r.Reserved, r.Remainder, r.Algorithm, [16]byte(r.Key), r.KeyPerAddress,
		r.GroupSize, r.PSIDOffset, r.PSIDLen, r.Contiguous, r.PortRangeMask, r.FirstSlot,
	}
}

// MarshalJSON writes all parameters. The key is among them.
func (cfg Config) MarshalJSON() ([]byte, error) { return json.Marshal(cfg.record()) }

// UnmarshalJSON reads what MarshalJSON wrote. Unknown members are refused, so
// that no parameter of a later version is lost silently; so are members that are
// there twice or differ from a known one in case, so that a text has one meaning.
// Errors wrap ErrSyntax. It does not check the configuration: New does.
func (cfg *Config) UnmarshalJSON(text []byte) error {
	var r configRecord
	if err := strict(text, &r); err != nil {
		return err
	}
	*cfg = r.config()
	return nil
}

// epochRecord is one line of an archive. Members that a line must have are
// pointers, so that an absent one is not mistaken for a zero.
type epochRecord struct {
	Epoch *uint64       `json:"epoch"`
	From  *time.Time    `json:"from"`
	Until time.Time     `json:"until,omitzero"`
	Map   *configRecord `json:"map"`
}

// complete reports the members that a line must have and has not. A zero number
// and the zero time are refused like absent ones: both are what a program writes
// that never set them, and the zero time would be in force since the year 1.
func (r *epochRecord) complete() error {
	var number uint64
	var name string
	var faults []string
	if r.Map == nil {
		faults = append(faults, `has no map: member "map" is missing`)
	} else {
		name = r.Map.Name
	}
	if r.Epoch == nil || *r.Epoch == 0 {
		faults = append(faults, `has no number: member "epoch" is missing or 0`)
	} else {
		number = *r.Epoch
	}
	if r.From == nil || r.From.IsZero() {
		faults = append(faults, `has no beginning; correct its line: member "from" is missing or the zero time`)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: epoch %d of map %q %s", ErrSyntax, number, name, strings.Join(faults, ", and "))
}

// AppendRecord appends the epoch as one line of JSON with all parameters, and a
// newline. The key is in it: the archive is as secret as the key. It fails on an
// epoch without number or beginning, which ParseRecord refuses, on invalid spans
// and on years that RFC 3339 cannot write, and then returns dst.
func AppendRecord(dst []byte, e Epoch) ([]byte, error) {
	from, cfg := plain(e.From), e.Config.record()
	r := epochRecord{&e.Number, &from, plain(e.Until), &cfg}
	err := r.complete()
	var b []byte
	if err == nil {
		b, err = json.Marshal(&r)
	}
	if err != nil {
		return dst, fmt.Errorf("deterministic: epoch %d of %q: %w", e.Number, e.Config.Name, err)
	}
	return append(append(dst, b...), '\n'), nil
}

// ParseRecord reads one line of AppendRecord, with or without its newline. The
// members "epoch", "from" and "map" must be there; without "until" the epoch is
// still in force. Unknown members are refused, so are members that are there twice
// or differ from a known one in case. Errors wrap ErrSyntax and name the member.
// It does not check the configuration: History.Add does.
func ParseRecord(line []byte) (Epoch, error) {
	var r epochRecord
	if err := strict(line, &r); err != nil {
		return Epoch{}, err
	}
	if err := r.complete(); err != nil {
		return Epoch{}, err
	}
	return Epoch{Number: *r.Epoch, From: plain(*r.From), Until: plain(r.Until), Config: r.Map.config()}, nil
}

// AppendText appends all epochs as JSON lines: the file to archive.
func (h *History) AppendText(dst []byte) ([]byte, error) {
	out := dst
	for i := range h.epochs {
		var err error
		if out, err = AppendRecord(out, h.epochs[i].Epoch); err != nil {
			return dst, err
		}
	}
	return out, nil
}

// ParseHistory reads what AppendText wrote; empty lines are skipped. Faults of
// all lines are reported together, each with its line number.
func ParseHistory(text []byte) (*History, error) {
	h := &History{}
	var faults []error
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		e, err := ParseRecord(line)
		if err == nil {
			err = h.Add(e)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", number, err))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return h, nil
}
