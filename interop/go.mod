module github.com/blocknat/blocknat/interop

go 1.25.0

require (
	github.com/blocknat/blocknat v0.0.0
	github.com/leodido/go-syslog/v4 v4.5.0
	github.com/netsampler/goflow2/v2 v2.2.6
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/leodido/ragel-machinery v0.0.0-20190525184631-5f46317e436b // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)

replace github.com/blocknat/blocknat => ../
