package main

import (
	"fmt"
	"io"
	"math/bits"
	"net/netip"
	"strings"

	"github.com/blocknat/blocknat/examples/ipfwnat/internal/proof"
)

// maxSharers bounds how many flows of one external port are drawn.
const maxSharers = 6

// draw explains the scheme with flows of the run that share an external port.
func (r *report) draw(w io.Writer) {
	title(w, "The scheme, with flows of this run")
	if len(r.Reuse.Example) == 0 {
		fmt.Fprintln(w, "  (no flow was live at the end)")
		return
	}
	f := r.Reuse.Example[0]
	r.drawBits(w, f)
	r.drawInstance(w, f)
	r.drawSharers(w)
	r.drawAnswer(w, f)
	r.drawQuestion(w, f)
}

// shown writes the bits of a value that a mask selects; a dot is a bit that does not count.
func shown(value, mask uint32, width int) string {
	var b strings.Builder
	for i := width - 1; i >= 0; i-- {
		switch {
		case mask>>i&1 == 0:
			b.WriteByte('.')
		default:
			b.WriteByte('0' + byte(value>>i&1))
		}
		if i%8 == 0 && i > 0 {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// selected gathers the bits of a value that a mask selects, highest first.
func selected(value, mask uint32) (n uint32) {
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		if mask&bit != 0 {
			n <<= 1
			if value&bit != 0 {
				n |= 1
			}
		}
	}
	return n
}

func protoName(p uint8) string {
	if p == tcp {
		return "TCP"
	}
	return "UDP"
}

// drawBits draws which bits of a packet count.
func (r *report) drawBits(w io.Writer, f proof.Flow) {
	m := r.scheme.out.Bits()
	fmt.Fprintf(w, `
  1. Which bits count. A dot is a bit that %s's mask leaves out.

              packet           mask             what is left                          it says
`, r.o.outTable)
	line := func(name, value, mask, left, says string) {
		fmt.Fprintf(w, "    %-10s%-17s%-17s%-38s%s\n", name, value, mask, left, says)
	}
	src, dst := number(m.Src), number(m.Dst)
	group, _ := r.scheme.group(f.Client.Addr())
	line("client", f.Client.Addr().String(), addr4(src).String(), shown(number(f.Client.Addr()), src, 32),
		fmt.Sprintf("group %d of %d", group, len(r.scheme.addresses)))
	line("protocol", fmt.Sprintf("%d (%s)", f.Proto, protoName(f.Proto)), fmt.Sprint(m.Proto), shown(uint32(f.Proto), uint32(m.Proto), 8), protoName(f.Proto))
	line("server", f.Remote.Addr().String(), addr4(dst).String(), shown(number(f.Remote.Addr()), dst, 32),
		fmt.Sprintf("class %d of %d", selected(number(f.Remote.Addr()), dst), 1<<bits.OnesCount32(dst)))
	line("its port", fmt.Sprint(f.Remote.Port()), fmt.Sprint(m.DstPort), shown(uint32(f.Remote.Port()), uint32(m.DstPort), 16),
		fmt.Sprintf("class %d of %d", selected(uint32(f.Remote.Port()), uint32(m.DstPort)), 1<<bits.OnesCount16(m.DstPort)))
	fmt.Fprintf(w, "    client's port %d does not count.\n", f.Client.Port())
}

// drawInstance draws what the parts choose.
func (r *report) drawInstance(w io.Writer, f proof.Flow) {
	group, _ := r.scheme.group(f.Client.Addr())
	m := r.scheme.out.Bits()
	serverClass := selected(number(f.Remote.Addr()), number(m.Dst))
	portClass := selected(uint32(f.Remote.Port()), uint32(m.DstPort))
	fmt.Fprintf(w, `
  2. What they choose.

      client's group %-13d  protocol %-10s     server's class %d, its port's class %d
               |                       |                          |
               | Select                |                          | Remotes
               v                       v                          v
      external %-15v      %s ports               port space %d of %d of this address
               |                       |                          |
               +-----------------------+--------------------------+
                                       |
                                       v
              nat instance %s of %s: ONE external address, ALL of its ports
`, group, protoName(f.Proto), serverClass, portClass, f.External.Addr(), protoName(f.Proto), f.Class, r.scheme.remotes.Len(),
		count(f.Out), count(r.scheme.places()))
}

// drawSharers draws the flows that use one external port at once.
func (r *report) drawSharers(w io.Writer) {
	flows := r.Reuse.Example
	fmt.Fprintf(w, `
  3. One external port serves several clients at once, each towards a class of its own.

`)
	cut := flows[:min(len(flows), maxSharers)]
	for i, f := range cut {
		mark := ""
		if i == (len(cut)-1)/2 {
			mark = fmt.Sprintf("--> %s %v", protoName(f.Proto), f.External)
		}
		fmt.Fprintf(w, "      %-21v to %-21v class %-3d nat %-7s--+%s\n", f.Client, f.Remote, f.Class, count(f.Out), mark)
	}
	if len(flows) > len(cut) {
		fmt.Fprintf(w, "      and %d more\n", len(flows)-len(cut))
	}
}

// drawAnswer draws how an answer finds its way.
func (r *report) drawAnswer(w io.Writer, f proof.Flow) {
	m := r.scheme.in.Bits()
	group, _ := r.scheme.group(f.Client.Addr())
	masked := func(a, mask netip.Addr) string {
		if !mask.IsValid() {
			return "-"
		}
		return addr4(number(a) & number(mask)).String()
	}
	fmt.Fprintf(w, `
  4. How an answer finds its way. It shows no client, but all the rest.

      answer            %v to %v, %s
      mask of %-10ssrc-ip %s, proto %d, src-port %d, dst-ip %s
      leaves            %-33s class %d, as for the request
                        %-33s group %d, as for the request
      so %-15snat %s, the instance that %s chose
      port %-5d        is in block %d-%d of class %d, which %v holds
      mapping           %v, the client and port that asked
`, f.Remote, f.External, protoName(f.Proto), r.o.inTable, plain(m.Src), m.Proto, m.SrcPort, plain(m.Dst),
		fmt.Sprintf("src-ip %s, src-port %d", masked(f.Remote.Addr(), m.Src), f.Remote.Port()&m.SrcPort), f.Class,
		"dst-ip "+masked(f.External.Addr(), m.Dst), group, r.o.inTable+" says", count(f.In), r.o.outTable,
		f.External.Port(), f.First, f.Last, f.Class, f.Client.Addr(), f.Client)
}

// plain writes the mask of an address, "-" where there is none.
func plain(a netip.Addr) string {
	if !a.IsValid() {
		return "-"
	}
	return a.String()
}

// drawQuestion draws why a question to the log names the remote endpoint.
func (r *report) drawQuestion(w io.Writer, f proof.Flow) {
	clients := map[netip.Addr]bool{}
	for _, f := range r.Reuse.Example {
		clients[f.Client.Addr()] = true
	}
	fmt.Fprintf(w, `
  5. Who was it? The records tell, with address, port, time, and the remote endpoint.

      %v at second %d: %d records, one for each class it serves, %d clients
      towards %v: class %d, block %d-%d, one record: %v
`, f.External, r.Last/1000, len(r.Reuse.Example), len(clients), f.Remote, f.Class, f.First, f.Last, f.Client.Addr())
}
