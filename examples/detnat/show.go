package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/blocknat/blocknat/mapping/deterministic"
)

// show prints maps with all defaults filled in, as a configuration that the other
// commands read. A rule is shown as the map that it makes.
func show(o *options, w io.Writer) (int, error) {
	bk, err := o.load()
	if err != nil {
		return 0, err
	}
	if len(bk.versions) == 0 {
		return exitNobody, bk.noEpoch(o, w, "show")
	}
	versions, err := o.pick(bk)
	if err != nil {
		return 0, err
	}
	lines := json.NewEncoder(w)
	for i, v := range versions {
		cfg := v.Config()
		if o.json {
			if !o.keys {
				cfg.Key = [16]byte{}
			}
			if err := lines.Encode(cfg); err != nil {
				return 0, err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(w)
		}
		if v.epoch != nil {
			fmt.Fprintf(w, "# epoch %d, in force %s\n", v.epoch.Number, interval(v.epoch.From, v.epoch.Until))
		}
		io.WriteString(w, configText(cfg, o.keys))
	}
	return exitFound, nil
}

// configText writes a map as a block of a configuration.
func configText(cfg deterministic.Config, keys bool) string {
	var b strings.Builder
	writeBlock(&b, &block{kind: "map", name: cfg.Name, cfg: cfg}, keys)
	return b.String()
}
