package main

import (
	"math/rand/v2"
	"net/netip"
	"slices"
)

// A service is a remote endpoint that clients meet.
type service struct {
	addr  uint32
	port  uint16
	proto uint8
}

const (
	numServices = 5000
	// zipfS and zipfV shape popularity: the k-th service is met 1/(v+k)^s as often as the first.
	zipfS = 1.1
	zipfV = 8
)

// servicePorts are what services listen on, with weights that add up to 100.
var servicePorts = []struct {
	proto  uint8
	port   uint16
	weight int
}{
	{tcp, 443, 44}, {tcp, 80, 8}, {tcp, 993, 3}, {tcp, 5222, 3}, {tcp, 8080, 2},
	{udp, 443, 20}, {udp, 53, 8}, {udp, 123, 2}, {udp, 3478, 4}, {udp, 27015, 3}, {udp, 51820, 3},
}

// A world is the clients and the services, the same for the same seed.
type world struct {
	clients  []client
	services []service
	popular  *rand.Zipf
	rnd      *rand.Rand
	taken    map[uint32]bool // client addresses, of all times
	internal netip.Prefix
	external []netip.Addr
}

// A client has one address at a time and takes its source ports one after the other.
type client struct {
	addr     uint32
	nextPort uint16
	activity float32 // from 0.5 to 1.5
}

func newWorld(o options, seed [32]byte, external []netip.Addr) *world {
	w := &world{rnd: rand.New(rand.NewChaCha8(seed)), taken: map[uint32]bool{}, internal: o.internal, external: external}
	for range o.clients {
		w.clients = append(w.clients, client{
			addr: w.freshAddress(), nextPort: uint16(1024 + w.rnd.IntN(64000)), activity: 0.5 + w.rnd.Float32(),
		})
	}
	for len(w.services) < numServices {
		s := service{addr: w.publicAddress()}
		n := w.rnd.IntN(100)
		for _, p := range servicePorts {
			if n -= p.weight; n < 0 {
				s.proto, s.port = p.proto, p.port
				break
			}
		}
		w.services = append(w.services, s)
	}
	w.popular = rand.NewZipf(w.rnd, zipfS, zipfV, numServices-1)
	return w
}

// publicAddress draws an address of the internet.
func (w *world) publicAddress() uint32 {
	for {
		v := w.rnd.Uint32()
		if a := addr4(v); public(a) && !w.internal.Contains(a) && !slices.Contains(w.external, a) {
			return v
		}
	}
}

// freshAddress draws an address that no client had so far.
func (w *world) freshAddress() uint32 {
	base := number4(w.internal.Addr())
	for {
		a := base | w.rnd.Uint32()>>w.internal.Bits()
		if !w.taken[a] {
			w.taken[a] = true
			return a
		}
	}
}

// pick draws a client, active ones more often.
func (w *world) pick() *client {
	for {
		c := &w.clients[w.rnd.IntN(len(w.clients))]
		if w.rnd.Float32()*1.5 < c.activity {
			return c
		}
	}
}

// sourcePort returns the client's next source port.
func (c *client) sourcePort() uint16 {
	p := c.nextPort
	if c.nextPort++; c.nextPort == 0 {
		c.nextPort = 1024
	}
	return p
}

// special are the IPv4 networks that are not the internet's (RFC 6890).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("224.0.0.0/3"),
}

func public(a netip.Addr) bool {
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}
