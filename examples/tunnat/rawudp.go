//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// askReversed is ask with a question that is cut in two and whose second half
// is sent first.
func (n *node) askReversed(c *net.UDPConn, to netip.AddrPort, question, answer int) (view, error) {
	own := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return n.askBy(c, to, question, answer, func(q []byte) error {
		first, second := udpFragments(own, to, uint16(1+rand.IntN(65535)), q)
		return n.do(func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			dst := &unix.SockaddrInet4{Addr: to.Addr().As4()}
			return errors.Join(unix.Sendto(fd, second, 0, dst), unix.Sendto(fd, first, 0, dst))
		})
	})
}

// udpFragments returns the two fragments of a datagram, cut behind about half of its
// payload, with right checksums.
func udpFragments(from, to netip.AddrPort, id uint16, payload []byte) (first, second []byte) {
	src, dst := from.Addr().As4(), to.Addr().As4()
	udp := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(udp[0:], from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(payload)))
	udp = append(udp, payload...)

	pseudo := append(src[:], dst[:]...)
	pseudo = append(pseudo, 0, unix.IPPROTO_UDP)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(udp)))
	sum := inetChecksum(append(pseudo, udp...))
	if sum == 0 {
		sum = 0xFFFF // 0 would say that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(udp[6:], sum)

	const moreFragments = 0x2000
	cut := len(udp) / 2 / 8 * 8
	fragment := func(flags uint16, part []byte) []byte {
		b := make([]byte, 20, 20+len(part))
		b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(part)))
		binary.BigEndian.PutUint16(b[4:], id)
		binary.BigEndian.PutUint16(b[6:], flags)
		copy(b[12:], src[:])
		copy(b[16:], dst[:])
		binary.BigEndian.PutUint16(b[10:], inetChecksum(b))
		return append(b, part...)
	}
	return fragment(moreFragments, udp[:cut]), fragment(uint16(cut/8), udp[cut:])
}
