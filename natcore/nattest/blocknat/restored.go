package blocknat

import (
	"time"

	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/natcore/nattest"
)

// Restored returns the engine as a subject that is saved and restored whenever time passes. No row may tell the difference.
func Restored() nattest.Subject {
	return subjectOf(func(c nattest.Config) (nattest.NAT, error) {
		cfg := config(c)
		e, err := natcore.New(cfg, c.Now)
		return &restored{subject{e}, cfg}, err
	})
}

// restored is a subject that does not keep its engine.
type restored struct {
	subject
	cfg natcore.Config
}

func (u *restored) Advance(now time.Time) []nattest.Packet {
	all := u.subject.Advance(now)
	e, err := natcore.Restore(u.cfg, u.engine.AppendSnapshot(nil), now)
	if err != nil {
		panic(err) // fails the row
	}
	u.engine = e
	return all
}
