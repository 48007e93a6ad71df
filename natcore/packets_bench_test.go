package natcore_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/blocknat/blocknat/mapping/rewrite"
	"github.com/blocknat/blocknat/natcore"
)

// BenchmarkIdentification is an established UDP packet that leaves, atomic and not.
func BenchmarkIdentification(b *testing.B) {
	for _, df := range []bool{true, false} {
		b.Run(fmt.Sprintf("df=%v", df), func(b *testing.B) {
			n := newNAT(b)
			sent := build(b, udp, a40000, s1p1, make([]byte, 100), tcpFlags{})
			if !df {
				sent = loose(sent, 7)
			}
			packet := bytes.Clone(sent)
			batch := make([]natcore.Packet, 1)
			for b.Loop() {
				copy(packet, sent[:28])
				batch[0] = natcore.Packet{Bytes: packet}
				n.Process(batch, n.now)
			}
		})
	}
}

// BenchmarkRefused is a packet that a rule refuses: answered, and beyond the limit.
func BenchmarkRefused(b *testing.B) {
	for _, limit := range []int{1_000_000, 1} {
		b.Run(fmt.Sprintf("answered=%v", limit > 1), func(b *testing.B) {
			n := newNAT(b, func(c *natcore.Config) {
				c.Rules = []natcore.Rule{{Action: natcore.Refuse}}
				c.ICMP.PerSecond, c.ICMP.PerReceiver = limit, limit
			})
			batch := []natcore.Packet{{Bytes: build(b, udp, a40000, s1p1, make([]byte, 100), tcpFlags{})}}
			var drained []natcore.Packet
			for b.Loop() {
				n.Process(batch, n.now)
				drained = n.Drain(drained[:0])
				n.wait(1000)
			}
		})
	}
}

// BenchmarkReject is the error about a packet, before and after its translation.
func BenchmarkReject(b *testing.B) {
	for _, translated := range []bool{false, true} {
		b.Run(fmt.Sprintf("translated=%v", translated), func(b *testing.B) {
			n := newNAT(b, func(c *natcore.Config) { c.ICMP.PerSecond, c.ICMP.PerReceiver = 1_000_000, 1_000_000 })
			batch := []natcore.Packet{{Bytes: build(b, udp, a40000, s1p1, make([]byte, 1400), tcpFlags{})}}
			if translated {
				n.Process(batch, n.now)
			}
			var drained []natcore.Packet
			for b.Loop() {
				n.wait(1000)
				if !n.Reject(&batch[0], rewrite.FragmentationNeeded(1400), n.now) {
					b.Fatal("no error")
				}
				drained = n.Drain(drained[:0])
			}
		})
	}
}
