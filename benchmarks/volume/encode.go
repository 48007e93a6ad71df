package main

import (
	"fmt"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/ipfix"
	"github.com/blocknat/blocknat/logging/syslog"
)

// An encoding turns records into bytes by the encoder that a gateway would use.
type encoding struct {
	Name string
	// measure returns the bytes of all records, with what surrounds them: the headers of messages, templates, framing.
	measure func(records []logging.Record) (int, error)
}

func encodings() []encoding {
	return []encoding{
		{"IPFIX", flow(ipfix.IPFIX)},
		{"NetFlow v9", flow(ipfix.NetFlow9)},
		{"CSV", lines(logging.CSV{})},
		{"CEF", lines(logging.CEF{})},
		{"JSON lines", lines(logging.JSON{})},
		{"syslog", lines(syslog.Encoder{})},
	}
}

// lines measures an encoder of lines.
func lines(e logging.Encoder) func([]logging.Record) (int, error) {
	return func(records []logging.Record) (int, error) {
		var b []byte
		n := 0
		for i := range records {
			b = e.AppendRecord(b[:0], &records[i])
			n += len(b)
		}
		return n, nil
	}
}

// counter is an io.Writer that counts.
type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// flow measures messages of up to 1,400 octets that are full, with the templates once in a thousand of them. UDP and IP headers are not counted.
func flow(v ipfix.Version) func([]logging.Record) (int, error) {
	return func(records []logging.Record) (int, error) {
		var c counter
		e, err := ipfix.NewExporter(&c, ipfix.Config{Version: v, Batch: true, TemplateInterval: -1})
		if err != nil {
			return 0, err
		}
		for i := range records {
			if err := e.Append(&records[i]); err != nil {
				return 0, err
			}
		}
		err = e.Flush()
		return int(c), err
	}
}

// bytesPerRecord returns the mean size of a record in each encoding.
func bytesPerRecord(records []logging.Record) ([]float64, error) {
	var sizes []float64
	for _, e := range encodings() {
		if len(records) == 0 {
			return nil, fmt.Errorf("no records in the sample")
		}
		for i := range records {
			if err := records[i].Check(); err != nil {
				return nil, err
			}
		}
		n, err := e.measure(records)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
		sizes = append(sizes, float64(n)/float64(len(records)))
	}
	return sizes, nil
}
