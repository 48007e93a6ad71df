//go:build linux

package main

import (
	"context"
	"testing"
	"time"

	"github.com/blocknat/blocknat/logging"
	"github.com/blocknat/blocknat/natcore"
	"github.com/blocknat/blocknat/portblock"
)

// TestForwarderExpires waits until an idle session ends and its block goes
// back, on a device that carries no further packet.
func TestForwarderExpires(t *testing.T) {
	top := testTopology(t, 1)
	o := defaultDemoOptions().options
	var records logging.Memory
	cfg := engineConfig(&o, &records)
	cfg.Timeouts = natcore.Timeouts{UDP: time.Second, AllowShort: true}
	cfg.Pools[0].Blocks.IdleTimeout = portblock.Off
	engine, err := natcore.New(cfg, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	g, err := openGateway(top.router.namespace, o, engine)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- g.run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := g.close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := startServer(ctx, top.server)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	sock, err := top.clients[0].udpSocket(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	if _, err := top.clients[0].ask(sock, s.at(portUDP), 40, 40); err != nil {
		t.Fatal(err)
	}
	if st := engine.Stats(); st.Sessions != 1 || st.BlocksAllocated != 1 {
		t.Fatalf("%d sessions and %d blocks after one exchange", st.Sessions, st.BlocksAllocated)
	}
	for engine.Stats().BlocksReleased == 0 && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	st := engine.Stats()
	if st.Sessions != 0 || st.BlocksReleased != 1 || st.Pools[0].BlocksCooling != 1 {
		t.Errorf("the idle session did not end, or its block did not go: %+v", st)
	}
	rs := records.Records()
	if len(rs) != 2 || rs[1].Kind != logging.BlockReleased || rs[1].First != rs[0].First || rs[1].Reason != logging.ReasonIdle {
		t.Errorf("the records are %+v", rs)
	}
}
