module github.com/blocknat/blocknat/benchmarks

go 1.25.0

require github.com/blocknat/blocknat v0.0.0

replace github.com/blocknat/blocknat => ../
