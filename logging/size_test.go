package logging

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// TestSizes guards what the package documentation says.
func TestSizes(t *testing.T) {
	require.Equal(t, uintptr(272), unsafe.Sizeof(Record{}))
	r := exampleBlock()
	t.Logf("interval %d, key %d bytes", unsafe.Sizeof(entry{}), unsafe.Sizeof(key{}))
	t.Logf("JSON %d, CSV %d, CEF %d bytes a record", len(JSON{}.AppendRecord(nil, &r)), len(CSV{}.AppendRecord(nil, &r)), len(CEF{}.AppendRecord(nil, &r)))
}
