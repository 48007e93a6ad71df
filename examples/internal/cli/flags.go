package cli

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
)

// ErrHelp says that the help was asked for and printed.
var ErrHelp = errors.New("help")

// Parse parses args. When they ask for help it prints head, the flags and tail to out and returns ErrHelp; any other fault
// is one line that says where the flags are listed, without the list.
func Parse(set *flag.FlagSet, args []string, out io.Writer, head, tail string) error {
	set.SetOutput(io.Discard)
	set.Usage = func() {}
	err := set.Parse(args)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, head)
		set.SetOutput(out)
		set.PrintDefaults()
		fmt.Fprint(out, tail)
		return ErrHelp
	}
	return fmt.Errorf("%w; -h lists the flags", err)
}

// Complain prints all faults of an error, one a line, after the name of the program.
func Complain(w io.Writer, program string, err error) {
	for _, one := range faults(err) {
		fmt.Fprintf(w, "%s: %v\n", program, one)
	}
}

// faults takes an error of errors.Join apart.
func faults(err error) []error {
	many, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, one := range many.Unwrap() {
		all = append(all, faults(one)...)
	}
	return all
}

// ByFlag tells faults of an engine's configuration by the flag that each field comes from. names leads from a part of the
// field's name to the flag; other faults stay as they are. Nil stays nil.
func ByFlag(err error, names map[string]string) error {
	if err == nil {
		return nil
	}
	all := faults(err)
	for i, one := range all {
		var field *natcore.FieldError
		if !errors.As(one, &field) {
			continue
		}
		for part, name := range names {
			if strings.Contains(field.Field, part) {
				all[i] = fmt.Errorf("%s %v: %s", name, field.Value, field.Rule)
			}
		}
	}
	return errors.Join(all...)
}

// CheckBlock returns the fault of a block size that a flag names, or nil.
func CheckBlock(name string, size int) error {
	if size < portblock.MinBlockSize || size > portblock.MaxBlockSize || size&(size-1) != 0 {
		return fmt.Errorf("%s %d is no power of two from %d to %d; 256 is usual", name, size, portblock.MinBlockSize, portblock.MaxBlockSize)
	}
	return nil
}

// Key makes 256 bits of the text that a seed is on a command line. A text of a few letters is a weak secret: good for an
// example, not for a NAT in service.
func Key(program, seed string) [32]byte {
	return sha256.Sum256([]byte("blocknat " + program + " " + seed))
}
