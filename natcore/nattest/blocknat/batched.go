package blocknat

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/natcore/nattest"
)

const (
	// crowdRealm is the realm of the packets around the one that the suite sends, which has a pool of its own.
	crowdRealm natcore.Realm = 9
	// crowdSize is how many of them travel before it and behind it.
	crowdSize = 16
)

// batched is a subject in a crowd.
type batched struct {
	subject
	crowd [][]byte // UDP packets as their hosts send them
}

// openBatched is open with a pool for the crowd.
func openBatched(c nattest.Config) (nattest.NAT, error) {
	cfg := config(c)
	crowdPool := natcore.PoolConfig{Name: "crowd", Addresses: []alloc.Range{alloc.RangeOfPrefix(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, 200}), 32))}}
	if cfg.Rules == nil {
		cfg.Rules = []natcore.Rule{{Pool: cfg.Pools[0].Name}}
	}
	cfg.Pools = append(cfg.Pools, crowdPool)
	cfg.Rules = append(cfg.Rules, natcore.Rule{Realm: crowdRealm, Pool: crowdPool.Name})
	e, err := natcore.New(cfg, c.Now)
	if err != nil {
		return nil, err
	}
	b := &batched{subject: subject{e}}
	for i := range crowdSize {
		b.crowd = append(b.crowd, datagram(i))
	}
	return b, nil
}

// datagram is a UDP packet without payload and checksum of host i of the crowd.
func datagram(i int) []byte {
	b := []byte{0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 200, 0, byte(i), 192, 0, 2, 100, 0x20, byte(i), 0, 53, 0, 8, 0, 0}
	var s uint32
	for j := 0; j < 20; j += 2 {
		s += uint32(binary.BigEndian.Uint16(b[j:]))
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(s>>16+s&0xffff))
	return b
}

func (u *batched) Outbound(b []byte, now time.Time) []nattest.Packet {
	return u.process(b, natcore.Outbound, now)
}

func (u *batched) Inbound(b []byte, now time.Time) []nattest.Packet {
	return u.process(b, natcore.Inbound, now)
}

// process translates a packet in the middle of the crowd.
func (u *batched) process(b []byte, d natcore.Direction, now time.Time) []nattest.Packet {
	var batch []natcore.Packet
	crowd := func() {
		for _, p := range u.crowd {
			batch = append(batch, natcore.Packet{Bytes: bytes.Clone(p), Realm: crowdRealm})
		}
	}
	crowd()
	batch = append(batch, natcore.Packet{Bytes: b, Direction: d})
	crowd()
	u.engine.Process(batch, now)
	return sentBy(u.engine.Drain(batch[crowdSize : crowdSize+1]))
}
