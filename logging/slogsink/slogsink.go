// Package slogsink writes the records of package logging to a log/slog handler,
// for those who have one log for all. Records are evidence and slog is not: a
// handler's promises are its own, and its errors are the only refusals.
package slogsink

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/blocknat/blocknat/logging"
)

// ErrDisabled means that the handler does not take records of the level. It is a
// logging.ErrRecord.
var ErrDisabled = fmt.Errorf("slogsink: %w: the handler has not enabled its level", logging.ErrRecord)

// Log is a logging.Log that hands each record to a slog.Handler: the kind as
// message, the fields of JSON lines as attributes, the record's own time. Level
// is Warn for what refuses subscribers something or soon will, else Info. A
// level that the handler has not enabled is refused with ErrDisabled, because a
// record that is not written must not count as accepted. It is safe for
// concurrent use, as handlers are.
type Log struct{ h slog.Handler }

// New returns a Log to h.
func New(h slog.Handler) *Log { return &Log{h} }

// Append hands r to the handler and returns its error.
func (l *Log) Append(r *logging.Record) error {
	ctx := context.Background()
	level := levelOf(r.Kind)
	if !l.h.Enabled(ctx, level) {
		return ErrDisabled
	}
	rec := slog.NewRecord(r.Time.Time(), level, r.Kind.String(), 0)
	var attrs [maxAttrs]slog.Attr
	rec.AddAttrs(appendAttrs(attrs[:0], r)...)
	return l.h.Handle(ctx, rec)
}

func levelOf(k logging.Kind) slog.Level {
	switch k {
	case logging.QuotaExceeded, logging.AddressesExhausted, logging.PortsExhausted, logging.ThresholdHigh:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// Value returns r as a group, for a record as an attribute of a log line.
func Value(r *logging.Record) slog.Value {
	attrs := append(make([]slog.Attr, 0, maxAttrs+2), slog.String("kind", r.Kind.String()), slog.Time("time", r.Time.Time()))
	return slog.GroupValue(appendAttrs(attrs, r)...)
}

// maxAttrs is the number of fields of JSON lines without kind and time.
const maxAttrs = 25

func appendAttrs(a []slog.Attr, r *logging.Record) []slog.Attr {
	text := func(key, s string) {
		if s != "" {
			a = append(a, slog.String(key, s))
		}
	}
	number := func(key string, v uint64) {
		if v != 0 {
			a = append(a, slog.Uint64(key, v))
		}
	}
	if r.Allocated != 0 {
		a = append(a, slog.Time("allocated", r.Allocated.Time()))
	}
	number("instance", uint64(r.Instance))
	text("host", r.Host)
	number("epoch", r.Epoch)
	number("pool_id", uint64(r.PoolID))
	text("pool", r.Pool)
	text("realm", r.Realm)
	if r.SubscriberBits != 0 {
		text("subscriber", netip.PrefixFrom(r.Subscriber.WithZone(""), int(r.SubscriberBits)).String())
	} else {
		text("subscriber", address(r.Subscriber))
	}
	text("subscriber_id", r.SubscriberID)
	text("internal", endpoint(r.Internal))
	text("external_realm", r.ExternalRealm)
	text("external", address(r.External))
	if r.Kind <= logging.MappingDeleted || r.Kind >= logging.StaticAdded || r.First|r.Last != 0 {
		a = append(a, slog.Uint64("first", uint64(r.First)), slog.Uint64("last", uint64(r.Last)))
	}
	number("step", uint64(r.Step))
	number("class", uint64(r.Class))
	if r.Spaces != 0 {
		text("spaces", r.Spaces.String())
	}
	number("protocol", uint64(r.Protocol))
	text("remote", endpoint(r.Remote))
	if r.Reason != logging.ReasonNone {
		text("reason", r.Reason.String())
	}
	if r.Resource != logging.ResourceNone {
		text("resource", r.Resource.String())
	}
	number("used", uint64(r.Used))
	number("max", uint64(r.Max))
	number("suppressed", uint64(r.Suppressed))
	text("detail", r.Detail)
	return a
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.WithZone("").String()
}

func endpoint(ap netip.AddrPort) string {
	if !ap.IsValid() {
		return ""
	}
	return netip.AddrPortFrom(ap.Addr().WithZone(""), ap.Port()).String()
}
