package portblock

import (
	"errors"
	"math/bits"
	"slices"
	"time"
)

// check returns the configuration with its defaults filled in, or all faults
// joined.
func (c Config) check() (Config, error) {
	var errs []error
	bad := func(field string, value any, rule string) {
		errs = append(errs, &ConfigError{field, value, rule})
	}
	c.Reserved = slices.Clone(c.Reserved)
	if c.Spaces&^AllSpaces != 0 {
		bad("Spaces", uint8(c.Spaces), "only TCP, UDP and ICMP exist; leave it empty for all")
	}
	if c.Spaces == 0 {
		c.Spaces = AllSpaces
	}
	if !c.Ports.IsValid() {
		c.Ports = RangeOf(1024, 65535)
	}
	if c.Ports == RangeOf(0, 0) && !c.Spaces.Has(ICMP) {
		bad("Ports", c.Ports, "port 0 alone serves no TCP or UDP")
	}
	for _, r := range c.Reserved {
		if !r.Ports.IsValid() || r.Spaces&^AllSpaces != 0 {
			bad("Reserved", r, "each entry needs a valid range and existing spaces")
		}
	}
	c.checkScheme(bad)
	if c.Order > OrderSequential {
		bad("Order", c.Order, "want OrderKeyed or OrderSequential")
	}
	if c.Resting > RestOldest {
		bad("Resting", c.Resting, "want RestRefuse or RestOldest")
	}
	if c.Choice > ChooseLinear {
		bad("Choice", c.Choice, "want ChooseRandom or ChooseLinear")
	}
	if c.Parity > Require {
		bad("Parity", c.Parity, "want Ignore, Prefer or Require")
	}
	if c.Class > Require {
		bad("Class", c.Class, "want Ignore, Prefer or Require")
	}
	c.checkTimes(bad)
	c.checkLimits(bad)
	if len(errs) > 0 {
		return Config{}, errors.Join(errs...)
	}
	return c, nil
}

func (c *Config) checkScheme(bad func(string, any, string)) {
	unused := func(field string, set bool, value any) {
		if set {
			bad(field, value, "does not belong to the scheme; leave it zero")
		}
	}
	sized := c.Scheme == Contiguous || c.Scheme == Crypto
	if sized {
		if c.BlockSize == 0 {
			c.BlockSize = DefaultBlockSize
		}
		if !legalSize(c.BlockSize) {
			bad("BlockSize", c.BlockSize, "want a power of two from 16 to 4096, or zero for 256")
		}
	} else {
		unused("BlockSize", c.BlockSize != 0, c.BlockSize)
	}
	if c.Scheme == Contiguous {
		if c.FirstBlockSize == 0 {
			c.FirstBlockSize = c.BlockSize
		} else if !legalSize(c.FirstBlockSize) {
			bad("FirstBlockSize", c.FirstBlockSize, "want a power of two from 16 to 4096, or zero for BlockSize")
		}
	} else {
		unused("FirstBlockSize", c.FirstBlockSize != 0, c.FirstBlockSize)
	}
	switch c.Scheme {
	case Contiguous, Crypto:
	case PSID:
		if c.PSIDLength > 12 || c.PSIDLength < 2 {
			bad("PSIDLength", c.PSIDLength, "want 2 to 12: 4 to 4096 sets")
		}
		if int(c.PSIDOffset)+int(c.PSIDLength) > 16 {
			bad("PSIDOffset", c.PSIDOffset, "PSIDOffset + PSIDLength must not pass 16")
		}
	case MaskValue:
		if n := bits.OnesCount16(c.Mask); n < 2 || n > 12 {
			bad("Mask", c.Mask, "want 2 to 12 bits set: 4 to 4096 sets")
		}
	case GMA:
		c.checkGMA(bad)
	default:
		bad("Scheme", c.Scheme, "want Contiguous, PSID, MaskValue, Crypto or GMA")
	}
	if c.Scheme != PSID {
		unused("PSIDOffset", c.PSIDOffset != 0, c.PSIDOffset)
		unused("PSIDLength", c.PSIDLength != 0, c.PSIDLength)
	}
	if c.Scheme != MaskValue {
		unused("Mask", c.Mask != 0, c.Mask)
	}
	if c.Scheme != GMA {
		unused("Ratio", c.Ratio != 0, c.Ratio)
		unused("Run", c.Run != 0, c.Run)
	}
	if c.Scheme != Crypto && c.CryptoKey != [16]byte{} {
		bad("CryptoKey", "(set)", "does not belong to the scheme; leave it zero")
	}
}

func (c *Config) checkGMA(bad func(string, any, string)) {
	ok := true
	if c.Ratio < 2 || c.Ratio > 4096 {
		bad("Ratio", c.Ratio, "want 2 to 4096 sets")
		ok = false
	}
	if c.Run < 1 || c.Run > 4096 {
		bad("Run", c.Run, "want 1 to 4096 ports")
		ok = false
	}
	if !ok {
		return
	}
	span := c.Ratio * c.Run
	if span > 1<<16 {
		bad("Run", c.Run, "Ratio * Run must not pass 65536")
		return
	}
	n := (1<<16/span - (int(c.Ports.first)+span-1)/span) * c.Run
	if n < 1 || n > MaxSetSize {
		bad("Run", c.Run, "the sets would hold no port, or more than 16384; change Ratio, Run or Ports")
	}
}

func (c *Config) checkTimes(bad func(string, any, string)) {
	legal := func(field string, d *time.Duration, def time.Duration) bool {
		switch {
		case *d == 0:
			*d = def
		case *d != Off && (*d < 0 || *d > MaxDuration):
			bad(field, *d, "want a duration of at most 10 years, zero for the default, or Off")
			return false
		}
		return true
	}
	hold := legal("HoldDown", &c.HoldDown, DefaultHoldDown)
	guard := legal("GuardTime", &c.GuardTime, max(DefaultGuardTime, c.HoldDown))
	if hold && guard && ticks(c.GuardTime) < ticks(c.HoldDown) {
		bad("GuardTime", c.GuardTime, "must not be shorter than HoldDown")
	}
	legal("IdleTimeout", &c.IdleTimeout, DefaultIdleTimeout)
	legal("ActiveTimeout", &c.ActiveTimeout, Off)
}

func (c *Config) checkLimits(bad func(string, any, string)) {
	if c.MaxResting < 0 {
		bad("MaxResting", c.MaxResting, "want zero (no maximum) or more")
	}
	if c.MaxBlocks == 0 {
		c.MaxBlocks = DefaultMaxBlocks
	}
	if c.MaxRetiring == 0 {
		c.MaxRetiring = min(c.MaxBlocks, max(1, MaxHeldBlocks-c.MaxBlocks))
	}
	if c.MaxBlocks < 0 || c.MaxRetiring < 0 || c.MaxBlocks > MaxHeldBlocks || c.MaxRetiring > MaxHeldBlocks || c.MaxBlocks+c.MaxRetiring > MaxHeldBlocks {
		bad("MaxBlocks", c.MaxBlocks, "MaxBlocks and MaxRetiring must not be negative nor pass 1024 together")
	}
	for s, n := range c.MaxPorts {
		if n < 0 {
			bad("MaxPorts", n, "want zero (no maximum) or more for "+Space(s).String())
		}
	}
	if c.MaxPortsTotal < 0 {
		bad("MaxPortsTotal", c.MaxPortsTotal, "want zero (no maximum) or more")
	}
}

func legalSize(n int) bool {
	return n >= MinBlockSize && n <= MaxBlockSize && n&(n-1) == 0
}
