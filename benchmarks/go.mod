module github.com/blocknat/blocknat/benchmarks

go 1.25.0

require (
	github.com/blocknat/blocknat v0.0.0
	github.com/google/gopacket v1.1.19
	github.com/pion/logging v0.2.4
	github.com/pion/transport/v3 v3.1.1
	github.com/stretchr/testify v1.12.1
	golang.org/x/sys v0.30.0
	gvisor.dev/gvisor v0.0.0-20250503011706-39ed1f5ac29c
)

require (
	github.com/RoaringBitmap/roaring/v2 v2.30.0 // indirect
	github.com/bits-and-blooms/bitset v1.24.4 // indirect
	github.com/google/btree v1.1.2 // indirect
	github.com/mschoch/smat v0.2.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/time v0.7.0 // indirect
)

replace github.com/blocknat/blocknat => ../
