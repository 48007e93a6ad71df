//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/blocknat/blocknat/alloc"
	"github.com/blocknat/blocknat/natcore"
)

// TestPeersBehaviour lets coturn's client discover the behaviours of the NAT by RFC 5780, and compares what it
// finds with the configuration. Each client has a pool of its own, so that one network serves for all behaviours.
//
// Rows: 5780-01, 5780-02, 5780-05.
func TestPeersBehaviour(t *testing.T) {
	needTools(t, "turnserver", "turnutils_natdiscovery")
	const (
		ei  = natcore.EndpointIndependent
		ad  = natcore.AddressDependent
		apd = natcore.AddressAndPortDependent
	)
	// long is how the program names a behaviour.
	long := map[natcore.Behaviour]string{ei: "Endpoint Independent", ad: "Address Dependent", apd: "Address and Port Dependent"}
	tests := []struct{ mapping, filtering natcore.Behaviour }{
		{ei, ei}, {ei, ad}, {ei, apd}, {ad, ad}, {ad, apd}, {apd, apd},
	}
	n := startPeers(t, len(tests), func(cfg *natcore.Config) {
		pool := cfg.Pools[0]
		cfg.Pools, cfg.Rules = nil, nil
		for i, external := 0, demoPool.Addr(); i < len(tests); i, external = i+1, external.Next() {
			pool.Name = fmt.Sprint("pool of client ", i+1)
			pool.Addresses = []alloc.Range{alloc.RangeOfPrefix(netip.PrefixFrom(external, 32))}
			pool.Mapping, pool.Filtering = tests[i].mapping, tests[i].filtering
			client, _ := clientPrefix(i)
			cfg.Pools = append(cfg.Pools, pool)
			cfg.Rules = append(cfg.Rules, natcore.Rule{Internal: client.Masked(), Pool: pool.Name})
		}
	})
	n.startSTUN(t)
	// Most of the time goes by in waiting for answers that must not come: all clients wait together.
	var all sync.WaitGroup
	for i, tt := range tests {
		flags := map[string]string{
			"-m": "NAT with " + long[tt.mapping] + " Mapping!",
			"-f": "NAT with " + long[tt.filtering] + " Filtering!",
		}
		if tt.filtering == ei {
			flags["-H"] = "successful hairpinning"
		}
		for flag, want := range flags {
			all.Go(func() {
				out := &lineBuffer{}
				err := n.clients[i].exec(t, out, "turnutils_natdiscovery", flag, serverAddr.Addr().String())
				if err != nil || !strings.Contains(out.String(), want) {
					t.Errorf("%s mapping and %s filtering are configured; turnutils_natdiscovery %s does not say %q (%v):\n%s",
						tt.mapping, tt.filtering, flag, want, err, out)
				}
			})
		}
	}
	all.Wait()
}

// startSTUN starts coturn as a STUN server with two addresses and two ports.
func (n *peerNetwork) startSTUN(t *testing.T) {
	t.Helper()
	n.server.serve(t, netip.AddrPortFrom(serverAddr.Addr(), 3478), "turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls",
		"--stun-only", "--no-auth", "--log-file=stdout", "--simple-log", "--pidfile=pid", "--userdb=users",
		"--listening-ip="+serverAddr.Addr().String(), "--listening-ip="+serverAddrTwo.Addr().String(),
		"--listening-port=3478", "--alt-listening-port=3479")
}
