//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"

	"github.com/vishvananda/netlink"
)

const cleanupHelp = `tunnat cleanup removes what killed processes left behind: the network namespaces
of a demo, named tunnat-PID-START-..., whose process is gone, and in this
network namespace the routing rules of a run (proto 78) whose TUN device is
gone. It touches nothing of a process that still runs. demo and run do the same
when they start.
`

// cleanupCommand is tunnat cleanup.
func cleanupCommand(args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("cleanup", flag.ContinueOnError)
	if err := parseFlags(fs, args, stdout, cleanupHelp); err != nil {
		return err
	}
	if err := requireCapabilities("run it with sudo", capNetAdmin, capSysAdmin); err != nil {
		return err
	}
	host, err := hostNamespace()
	if err != nil {
		return err
	}
	defer host.remove()
	spaces, err1 := removeDeadNamespaces()
	rules, err2 := removeOrphanRules(host)
	for _, what := range slices.Concat(spaces, rules) {
		fmt.Fprintln(stdout, "removed", what)
	}
	if len(spaces)+len(rules) == 0 && err1 == nil && err2 == nil {
		fmt.Fprintln(stdout, "nothing to remove")
	}
	return errors.Join(err1, err2)
}

// removeDeadNamespaces removes the namespaces whose owner no longer runs and
// returns what it removed.
func removeDeadNamespaces() (removed []string, err error) {
	names, err := namedNamespaces()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range names {
		if o, ok := parseOwner(name); !ok || o.alive() {
			continue
		}
		if err := removeNamed(name); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, "network namespace "+name)
	}
	return removed, errors.Join(errs...)
}

// removeOrphanRules removes the rules of this program in a namespace whose
// TUN device does not exist, and returns what it removed. A run makes the
// device first, then the rule with the device as input, then the rules of the
// same priority and of the next one, and removes them in the opposite order: rules
// without that one, or with one whose device is gone, serve nobody.
func removeOrphanRules(n *namespace) (removed []string, err error) {
	rules, err := n.nl.RuleList(netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing routing rules: %w", err)
	}
	rules = slices.DeleteFunc(rules, func(r netlink.Rule) bool { return r.Protocol != ruleProtocol })
	live := map[int]bool{} // priorities of runs whose device is there
	for _, r := range rules {
		if r.IifName == "" {
			continue
		}
		if _, err := n.nl.LinkByName(r.IifName); err == nil {
			live[r.Priority], live[r.Priority+1] = true, true
		}
	}
	var errs []error
	for i := range rules {
		r := &rules[i]
		if live[r.Priority] {
			continue
		}
		r.Family = netlink.FAMILY_V4
		if err := n.nl.RuleDel(r); err != nil {
			errs = append(errs, fmt.Errorf("removing %v: %w", r, err))
			continue
		}
		removed = append(removed, fmt.Sprintf("routing rule %d", r.Priority))
	}
	return removed, errors.Join(errs...)
}
