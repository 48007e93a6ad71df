package netsink_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/logging/filesink"
	"github.com/blocknat/blocknat/logging/ipfix"
	"github.com/blocknat/blocknat/logging/loggingtest"
	"github.com/blocknat/blocknat/logging/netsink"
	"github.com/blocknat/blocknat/logging/spool"
	"github.com/blocknat/blocknat/logging/syslog"
)

// standIn is a collector that returns what one connection brought.
func standIn(wrap func(net.Conn) net.Conn) (address string, got chan string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	got = make(chan string, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		_ = ln.Close()
		nc = wrap(nc)
		b, _ := io.ReadAll(nc)
		_ = nc.Close()
		got <- string(b)
	}()
	return ln.Addr().String(), got
}

// fatal ends an example.
type fatal struct{}

func (fatal) Errorf(format string, args ...any) { log.Printf(format, args...) }
func (fatal) FailNow()                          { log.Fatal("failed") }

// A file that is rotated each day, and syslog over TLS that misses no record: what
// the collector has not read waits on the disk, also across a restart.
func Example() {
	dir, _ := os.MkdirTemp("", "example")
	defer os.RemoveAll(dir)
	server, trust := certificate(fatal{})
	collector, got := standIn(func(nc net.Conn) net.Conn { return tls.Server(nc, server) })

	file, err := filesink.Open(filepath.Join(dir, "blocks.json"), filesink.Config{MaxAge: 24 * time.Hour, Sync: true})
	if err != nil {
		log.Fatal(err)
	}
	waiting, err := spool.Open(filepath.Join(dir, "spool"), spool.Config{MaxBytes: 1 << 30})
	if err != nil {
		log.Fatal(err)
	}
	sink, err := netsink.NewSyslog("tls", collector, syslog.Encoder{Host: "cgn1.example.net"}, netsink.Config{Store: waiting, TLS: trust})
	if err != nil {
		log.Fatal(err) // every fault of the configuration at once
	}
	records := logging.Multi(file, sink) // natcore.Config.Log

	r := loggingtest.Records()[0] // the engine does this, before it uses a block
	if err := records.Append(&r); err != nil {
		fmt.Println("no block may be used:", err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := sink.Close(ctx); err != nil {
		fmt.Println(err) // says how many records stay in the spool
	}
	fmt.Println(waiting.Close(), file.Close())
	message := <-got
	fmt.Println(message[:strings.Index(message, " [")])
	// Output:
	// <nil> <nil>
	// 376 <134>1 2026-11-21T02:30:10.123Z cgn1.example.net NAT - PTADD
}

// IPFIX and NetFlow 9 are sinks of the same kind; each collector gets one of its
// own, and a queue in memory does where nothing must outlive the process.
func ExampleNewIPFIX() {
	collector, got := standIn(func(nc net.Conn) net.Conn { return nc })
	flows, err := netsink.NewIPFIX("tcp", collector, ipfix.Config{Domain: 1}, netsink.Config{Policy: logging.DropNew})
	if err != nil {
		log.Fatal(err)
	}
	r := loggingtest.Records()[0]
	_ = flows.Append(&r)
	if err := flows.Close(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d octets, version %d\n", len(<-got), ipfix.IPFIX)
	fmt.Println("sent", flows.Stats().Sent, "dropped", flows.Stats().Dropped)
	// Output:
	// 101 octets, version 10
	// sent 1 dropped 0
}
