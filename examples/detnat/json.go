package main

import (
	"encoding/json"
	"io"
	"time"

	"github.com/blocknat/blocknat/portblock"
)

// writeJSON writes one value, indented, for people and programs.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// place says which map an answer is from, and when that map was in force.
type place struct {
	Map           string     `json:"map"`
	Realm         uint32     `json:"realm"`
	ExternalRealm uint32     `json:"external_realm"`
	Epoch         uint64     `json:"epoch,omitempty"`
	From          *time.Time `json:"from,omitempty"`
	Until         *time.Time `json:"until,omitempty"`
}

func (v version) place() *place {
	if v.Map == nil {
		return nil
	}
	cfg := v.Config()
	p := &place{Map: cfg.Name, Realm: cfg.Realm, ExternalRealm: cfg.ExternalRealm}
	if v.epoch != nil {
		p.Epoch, p.From = v.epoch.Number, &v.epoch.From
		if !v.epoch.Until.IsZero() {
			p.Until = &v.epoch.Until
		}
	}
	return p
}

// on is a set of ports of one external address.
type on struct {
	Address string            `json:"address"`
	Ports   int               `json:"ports"`
	Ranges  []portblock.Range `json:"ranges"`
}

// stamp is the time asked for in an answer, nil for a configuration.
func (bk *book) stamp() *time.Time {
	if bk.history == nil {
		return nil
	}
	t := bk.at.UTC().Round(0)
	return &t
}
