package peer

import (
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
)

var blocknatKind = Kind{
	Name: "blocknat", Note: "natcore: port blocks with a record each, sessions, filtering, TCP states, timers, counters",
	Flows: 1 << 24, Clock: true, TCP: true, Repeatable: true,
	New:       func(now time.Time) (NAT, error) { return newBlocknat(now, 1, "198.18.0.0/16") },
	NewShared: func(now time.Time) (NAT, error) { return newBlocknat(now, 64, "198.18.0.0/16") },
	NewSmall:  func(now time.Time) (NAT, error) { return newBlocknat(now, 1, "198.18.0.1") },
}

type blocknat struct {
	engine *natcore.Engine
	batch  []natcore.Packet
}

func newBlocknat(now time.Time, shards int, addresses string) (NAT, error) {
	// Each record is formatted, so that what logging costs the engine is counted; writing it is not.
	log := logging.LogFunc(func(r *logging.Record) error {
		var line [512]byte
		logging.CSV{}.AppendRecord(line[:0], r)
		return nil
	})
	e, err := natcore.New(natcore.Config{
		Seed: [32]byte{1, 2, 3}, Log: log, Shards: shards,
		Pools: []natcore.PoolConfig{{
			Name: "bench", Addresses: alloc.MustParseRanges(addresses),
			// A single host may fill its address, as RFC 9693 with a single address pair wants.
			Blocks: portblock.Config{MaxBlocks: 252},
		}},
		Limits: natcore.Limits{Sessions: 1 << 25, SessionsPerSubscriber: 1 << 20},
	}, now)
	if err != nil {
		return nil, err
	}
	return &blocknat{engine: e}, nil
}

func (n *blocknat) Translate(d Direction, batch [][]byte, now time.Time) (forwarded int) {
	if len(batch) == 1 {
		verdict := natcore.Drop
		if d == Out {
			verdict, _ = n.engine.Outbound(batch[0], now)
		} else {
			verdict, _ = n.engine.Inbound(batch[0], now)
		}
		if verdict == natcore.Forward {
			return 1
		}
		return 0
	}
	for len(n.batch) < len(batch) {
		n.batch = append(n.batch, natcore.Packet{})
	}
	packets := n.batch[:len(batch)]
	for i, b := range batch {
		packets[i].Bytes, packets[i].Direction = b, natcore.Direction(d)
	}
	n.engine.Process(packets, now)
	for i := range packets {
		if packets[i].Verdict == natcore.Forward {
			forwarded++
		}
	}
	return forwarded
}

func (n *blocknat) Expire(now time.Time) {
	for !n.engine.Expire(now, 1<<20) {
	}
}

func (n *blocknat) Sessions() int { return int(n.engine.Stats().Sessions) }

func (n *blocknat) Close() {}

func (n *blocknat) Share() NAT { return &blocknat{engine: n.engine} }
