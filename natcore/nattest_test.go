package natcore_test

import (
	"testing"

	"github.com/blocknat/blocknat/natcore/nattest"
	"github.com/blocknat/blocknat/natcore/nattest/blocknat"
)

// TestConformance runs the suite that any NAT can be put under, with packets one by one, in batches, and by an engine that is saved and
// restored whenever time passes.
func TestConformance(t *testing.T) {
	for name, subject := range map[string]nattest.Subject{
		"packets": blocknat.Subject(), "batches": blocknat.Batched(), "restored": blocknat.Restored(),
	} {
		t.Run(name, func(t *testing.T) {
			count := map[nattest.Outcome]int{}
			for _, r := range nattest.Run(t, subject) {
				count[r.Outcome]++
				if r.Level == nattest.Must && r.Outcome != nattest.Passed {
					t.Errorf("%s is a MUST, and %v: %s", r.ID, r.Outcome, r.Detail)
				}
			}
			t.Logf("%d rows: %v", len(nattest.Rows()), count)
		})
	}
}
