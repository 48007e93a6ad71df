package ipfix

import (
	"errors"
	"fmt"
	"time"

	"github.com/blocknat/blocknat/logging"
)

// A Version is the number that messages begin with.
type Version uint16

const (
	// IPFIX is RFC 7011.
	IPFIX Version = 10
	// NetFlow9 is RFC 3954. Collectors that know port blocks in NetFlow only
	// read the same elements from it.
	NetFlow9 Version = 9
)

// Config says how an Exporter writes. The zero Config is ready: IPFIX, messages
// up to 1400 octets, each record sent at once.
type Config struct {
	// Version is IPFIX or NetFlow9. 0 means IPFIX.
	Version Version

	// Domain is the Observation Domain ID (Source ID in NetFlow), by which
	// collectors tell the NATs of one sender apart (RFC 8158 section 5.1).
	Domain uint32

	// MTU is the most octets of a message, from 512 to 65535. 0 means 1400,
	// which leaves room for headers and tunnels in 1500.
	MTU int

	// Batch gathers records until a message is full or Flush is called. A
	// record counts as accepted when it is in the message, so a crash loses
	// up to one message. Without it, each record is a message of its own and
	// accepted when Write has returned.
	Batch bool

	// Mandatory leaves out all elements that RFC 8158 does not demand.
	// Otherwise blocks carry step, number of ports, pool and instance too.
	Mandatory bool

	// Realms adds internalAddressRealm and externalAddressRealm, which have
	// variable length. NetFlow9 has no such thing: it is a fault there.
	Realms bool

	// Remotes exports the remote endpoint of sessions where the record has
	// one. RFC 8158 section 4.1 and RFC 6888 REQ-12 say not to by default.
	Remotes bool

	// Interim exports interim records, as the allocation over again: the same
	// event with the time of the allocation. RFC 8158 has no event for them.
	Interim bool

	// TemplateInterval is after how much time, by the records' times, all
	// templates are sent again (RFC 7011 section 8.4). 0 means 10 minutes,
	// less than 0 never, as fits TCP.
	TemplateInterval time.Duration

	// TemplateMessages is after how many messages all templates are sent
	// again. 0 means 1000, less than 0 never.
	TemplateMessages int

	// FirstTemplate is the id of the template that is used first, from 256 to
	// 65000; the others follow in the order of first use. 0 means 256.
	FirstTemplate uint16

	// Sequence is the sequence number to begin with.
	Sequence uint32

	// Now, if not nil, gives the export time of messages and the time by which
	// templates are due, for records that wait before they are sent. nil means
	// the latest time of a message's records.
	Now func() logging.Millis

	// Boot is when the system started: NetFlow9 messages carry the time since
	// then. The zero time makes that 0.
	Boot time.Time

	// Pools are announced with the templates as options data, so that
	// collectors can show names in place of natPoolId.
	Pools []Pool
}

// A Pool is the name of a pool's number.
type Pool struct {
	ID   uint32
	Name string
}

// A ConfigError says which field has a value that breaks which rule.
type ConfigError struct {
	Field string
	Value any
	Rule  string
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("ipfix: Config.%s is %v: %s", e.Field, e.Value, e.Rule)
}

const (
	minMTU     = 512
	maxMTU     = 65535
	minID      = 256
	maxFirstID = 65000
)

// filled returns c with defaults in place of zeros, and all its faults.
func (c Config) filled() (Config, error) {
	var errs []error
	fault := func(field string, value any, rule string) {
		errs = append(errs, &ConfigError{field, value, rule})
	}
	if c.Version == 0 {
		c.Version = IPFIX
	}
	if c.MTU == 0 {
		c.MTU = 1400
	}
	if c.TemplateInterval == 0 {
		c.TemplateInterval = 10 * time.Minute
	}
	if c.TemplateMessages == 0 {
		c.TemplateMessages = 1000
	}
	if c.FirstTemplate == 0 {
		c.FirstTemplate = minID
	}
	if c.Version != IPFIX && c.Version != NetFlow9 {
		fault("Version", c.Version, "must be IPFIX (10) or NetFlow9 (9)")
	}
	if c.MTU < minMTU || c.MTU > maxMTU {
		fault("MTU", c.MTU, "must be from 512 to 65535 octets, or 0 for 1400")
	}
	if c.FirstTemplate < minID || c.FirstTemplate > maxFirstID {
		fault("FirstTemplate", c.FirstTemplate, "must be from 256 to 65000, or 0 for 256")
	}
	if c.Realms && c.Version == NetFlow9 {
		fault("Realms", c.Realms, "must be false with NetFlow9, which has no elements of variable length")
	}
	c.Pools = append([]Pool(nil), c.Pools...)
	for i, p := range c.Pools {
		if len(p.Name) > maxPoolName {
			fault(fmt.Sprintf("Pools[%d].Name", i), p.Name, "must have at most 64 octets")
		}
	}
	return c, errors.Join(errs...)
}

// maxPoolName is also the fixed length of names in NetFlow9.
const maxPoolName = 64
