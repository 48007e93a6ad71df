package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// Milliseconds of an hour and of a day: times of the simulation are
// milliseconds since the midnight before it begins.
const (
	hour = int64(time.Hour / time.Millisecond)
	day  = 24 * hour
)

// A Model is the synthetic traffic of a population of subscribers. Every
// figure in it is stated in the report.
type Model struct {
	// Subscribers is how many there are, Days how long records are kept.
	Subscribers, Days int
	// Connections is the mean number of connections a subscriber and day.
	Connections float64
	// Sigma is the standard deviation of the logarithm of a subscriber's share of them: a
	// few subscribers make many. 0 makes all alike.
	Sigma float64
	// Hours are the shares of the hours of a day, with mean 1.
	Hours [24]float64
	// Clusters are connections that begin together: a page, an app that wakes up.
	Clusters []Cluster
	// Gap is the mean time between the connections of a cluster.
	Gap time.Duration
	// UDP is the share of connections over UDP; the others are TCP.
	UDP float64
	// UDPActive and TCPActive are mean times from the first packet to the last, exponential; TCPLong is that
	// of the share TCPLongShare of TCP connections.
	UDPActive, TCPActive, TCPLong time.Duration
	TCPLongShare                  float64
	// UDPIdle and TCPClosing are how long the NAT keeps a port after the last packet.
	UDPIdle, TCPClosing time.Duration
	// HoldDown is the rest of a freed port, below 0 for none; Guard that of a freed block; Idle is how long a block
	// without a port in use stays with its subscriber.
	HoldDown, Guard, Idle time.Duration
	// Ports is the most ports of each space that a subscriber gets, a whole number of blocks, and at least one block.
	Ports int
}

// A Cluster is a kind of cluster: a share of all clusters, with a size that is uniform between two bounds.
type Cluster struct {
	Share    float64
	Min, Max int
}

// defaults is the model of the report: 20,000 subscribers over 60 days
// (RFC 7768 section 1) with 33,000 connections a day (RFC 7422 section 1).
func defaults() Model {
	return Model{
		Subscribers: 20_000, Days: 60, Connections: 33_000, Sigma: 1,
		Hours: [24]float64{
			0.75, 0.45, 0.30, 0.25, 0.20, 0.25, 0.45, 0.75, 0.90, 0.95, 1.00, 1.05,
			1.10, 1.10, 1.10, 1.15, 1.25, 1.40, 1.55, 1.70, 1.85, 1.85, 1.55, 1.10,
		},
		Clusters: []Cluster{{0.70, 1, 1}, {0.22, 3, 12}, {0.08, 120, 200}},
		Gap:      50 * time.Millisecond,
		UDP:      0.6, UDPActive: 5 * time.Second,
		TCPActive: 15 * time.Second, TCPLong: 10 * time.Minute, TCPLongShare: 0.05,
		UDPIdle: 300 * time.Second, TCPClosing: 240 * time.Second,
		HoldDown: 120 * time.Second, Guard: 120 * time.Second, Idle: 300 * time.Second,
		Ports: 2048,
	}
}

// clusterSize is the mean size of a cluster.
func (m *Model) clusterSize() float64 {
	mean := 0.0
	for _, c := range m.Clusters {
		mean += c.Share * float64(c.Min+c.Max) / 2
	}
	return mean
}

// maxBlocks is how many blocks of a size a subscriber gets.
func (m *Model) maxBlocks(size int) int { return max(1, m.Ports/size) }

// activity draws the mean number of clusters a millisecond of one subscriber.
func (m *Model) activity(rnd *rand.Rand) float64 {
	share := math.Exp(m.Sigma*rnd.NormFloat64() - m.Sigma*m.Sigma/2)
	return share * m.Connections / m.clusterSize() / float64(day)
}

// nextCluster draws the time of the first cluster after at, or end when there is none before it. Within an hour the
// process is Poisson, and it has no memory, so it begins anew with each hour's rate.
func (m *Model) nextCluster(rnd *rand.Rand, activity float64, at, end int64) int64 {
	for at < end {
		rate := activity * m.Hours[at/hour%24]
		next := float64(at) + rnd.ExpFloat64()/rate
		if border := (at/hour + 1) * hour; next >= float64(border) {
			at = border
			continue
		}
		return min(max(int64(next), at+1), end)
	}
	return end
}

// size draws the number of connections of a cluster.
func (m *Model) size(rnd *rand.Rand) int {
	u := rnd.Float64()
	for _, c := range m.Clusters {
		if u < c.Share {
			return c.Min + rnd.IntN(c.Max-c.Min+1)
		}
		u -= c.Share
	}
	return 1
}

// hold draws whether a connection is UDP and for how many milliseconds it keeps its port.
func (m *Model) hold(rnd *rand.Rand) (udp bool, ms int64) {
	mean, rest := m.TCPActive, m.TCPClosing
	if udp = rnd.Float64() < m.UDP; udp {
		mean, rest = m.UDPActive, m.UDPIdle
	} else if rnd.Float64() < m.TCPLongShare {
		mean = m.TCPLong
	}
	return udp, int64(rnd.ExpFloat64()*float64(mean.Milliseconds())) + rest.Milliseconds()
}
