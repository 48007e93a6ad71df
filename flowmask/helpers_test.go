package flowmask

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// addrPort is netip.AddrPortFrom.
func addrPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// anywhere returns the rule for all flows: the zero mask, and any valid flow.
func (r Rule[V]) anywhere(f Flow) Rule[V] {
	r.Mask, r.Flow = Mask{}, f
	return r
}

// mustReply returns the reply mask under the zero plan.
func mustReply(t *testing.T, m Mask) Mask {
	r, err := m.Reply(ReplyPlan{})
	require.NoError(t, err)
	return r
}

// errorAs is errors.As.
func errorAs[E error](err error, target *E) bool { return errors.As(err, target) }
