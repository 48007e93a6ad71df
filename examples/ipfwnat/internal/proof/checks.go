package proof

// Check is one thing that is proven: how often it was looked at, how often it was wrong.
type Check struct {
	Name              string
	Cases, Violations int
	Examples          []string
}

const maxExamples = 3

const (
	checkAddress = iota
	checkOut
	checkIn
	checkFlows
	checkPorts
	checkReplies
	checkStrangers
	checkLater
	checkLog
	checkLogEnd
	checkBytes
	checkSums
	numChecks
)

var checkNames = [numChecks]string{
	checkAddress:   "a client's address meets every service from one external address",
	checkOut:       "that address is the one of the nat instance which natout names",
	checkIn:        "natin names the same instance for the answer",
	checkFlows:     "no two live flows share external endpoint, protocol, remote endpoint",
	checkPorts:     "an external port has one owner in each class of remotes",
	checkReplies:   "answers come back to the client and port that asked",
	checkStrangers: "packets of strangers reach the port's owner in their class, or nobody",
	checkLater:     "packets of live flows get through, to the server they were sent to",
	checkLog:       "a flow's first packet leads to its client by the records written so far",
	checkLogEnd:    "its last one does by all records and the remote endpoint",
	checkBytes:     "nothing changes but the endpoint and checksums",
	checkSums:      "checksums are right (computed in full)",
}

// expect counts a case, and an example of what is wrong unless there are enough.
func (p *Proof) expect(which int, ok bool, example func() string) {
	c := &p.checks[which]
	c.Cases++
	if ok {
		return
	}
	c.Violations++
	if len(c.Examples) < maxExamples {
		c.Examples = append(c.Examples, example())
	}
}

// Checks ends the proof: it looks up the last packet of every flow in all the records, and
// returns the checks.
func (p *Proof) Checks() []Check {
	p.records.finish()
	for i := range p.flows {
		p.loggedAs(checkLogEnd, &p.flows[i], p.flows[i].last)
	}
	p.expect(checkLogEnd, p.records.bad == 0, func() string { return p.records.why })
	return p.checks[:]
}
