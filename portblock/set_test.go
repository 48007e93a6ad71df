package portblock

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// setPorts lists the ports of a set by asking for every port there is.
func setPorts(s Set) []int {
	var out []int
	for p := range 65536 {
		if s.Contains(uint16(p)) {
			out = append(out, p)
		}
	}
	return out
}

// checkSet compares all that a set says with the ports it should have.
func checkSet(t *testing.T, s Set, want []int) {
	t.Helper()
	if got := setPorts(s); !slices.Equal(got, want) || s.Len() != len(want) {
		t.Fatalf("%v has %d ports (Len %d), want %d", s, len(got), s.Len(), len(want))
	}
	seen := map[uint16]bool{}
	for i := range s.Len() {
		p, ok := s.At(i)
		j, in := s.Index(p)
		if !ok || !in || j != i || seen[p] {
			t.Fatalf("%v: At(%d) = %d, Index = %d %v", s, i, p, j, in)
		}
		seen[p] = true
	}
	for _, i := range []int{-1, s.Len()} {
		if _, ok := s.At(i); ok {
			t.Fatalf("%v: At(%d) exists", s, i)
		}
	}
	var ports []int
	last := -2
	for r := range s.Ranges() {
		if int(r.First()) <= last+1 {
			t.Fatalf("%v: range %v is not maximal", s, r)
		}
		for p := int(r.First()); p <= int(r.Last()); p++ {
			ports = append(ports, p)
		}
		last = int(r.Last())
	}
	if !slices.Equal(ports, want) {
		t.Fatalf("%v: Ranges differ", s)
	}
	if len(want) > 0 && (int(s.First()) != want[0] || int(s.Last()) != want[len(want)-1]) {
		t.Fatalf("%v: %d-%d, want %d-%d", s, s.First(), s.Last(), want[0], want[len(want)-1])
	}
	if s.Run() > 0 { // first, last, run and step say it all
		ports = ports[:0]
		step := s.Step()
		if step == 0 {
			step = 1 << 16
		}
		for a := int(s.First()); a <= int(s.Last()); a += step {
			for p := a; p < a+s.Run(); p++ {
				ports = append(ports, p)
			}
		}
		if !slices.Equal(ports, want) {
			t.Fatalf("%v: run %d, step %d do not describe it", s, s.Run(), s.Step())
		}
	}
}

// Every row of the table of worked examples of RFC 7597 section 5.1 and
// appendices A and B: ranges as the RFC prints them, or computed from its
// formula.
func TestRFC7597_04_09_12_Vectors(t *testing.T) {
	for _, v := range []struct {
		a, k, m       uint8
		psid          uint16
		ranges, ports int
		text          string
	}{
		{6, 8, 2, 0x34, 63, 252, "1232-1235 2256-2259 ... 63696-63699 64720-64723"},
		{6, 8, 2, 0x00, 63, 252, "1024-1027 2048-2051 ... 63488-63491 64512-64515"},
		{0, 6, 10, 0x00, 1, 1024, "0-1023"},
		{6, 4, 6, 1, 63, 4032, "1088-1151 2112-2175 ... 64576-64639"},
		{6, 6, 4, 1, 63, 1008, "1040-1055 2064-2079 ... 64528-64543"},
		{6, 10, 0, 1, 63, 63, "1025 2049 ... 64513"},
		{4, 8, 4, 1, 15, 240, "4112-4127 8208-8223 ... 61456-61471"},
		{4, 6, 6, 1, 15, 960, "4160-4223 ... 61504-61567"},
		{8, 8, 0, 1, 255, 255, "257 513 ... 65281"},
		{1, 4, 11, 1, 1, 2048, "34816-36863"},
		{0, 8, 8, 1, 1, 256, "256-511"},
	} {
		if v.a+v.k+v.m != 16 {
			t.Fatal("bad row")
		}
		s, err := PSIDSet(v.a, v.k, v.psid)
		if err != nil {
			t.Fatal(err)
		}
		checkRanges(t, s, v.ranges, v.ports, v.text)
		// 7597-01, 7597-06: the PSID stands between A and j.
		var want []int
		for p := range 65536 {
			if p>>v.m&(1<<v.k-1) == int(v.psid) && (v.a == 0 || p>>(16-v.a) != 0) {
				want = append(want, p)
			}
		}
		checkSet(t, s, want)
	}
}

func TestRFC7597_07_GMA(t *testing.T) {
	all := map[int]bool{}
	for psid := range 60 {
		s, err := GMASet(60, 4, 1024, uint16(psid))
		if err != nil {
			t.Fatal(err)
		}
		var want []int
		for i := 5; i <= 272; i++ {
			for j := range 4 {
				p := 60*4*i + 4*psid + j
				want = append(want, p)
				if all[p] {
					t.Fatalf("port %d is in two sets", p)
				}
				all[p] = true
			}
		}
		if len(want) != 1072 {
			t.Fatal("bad vector")
		}
		checkSet(t, s, want)
		checkRanges(t, s, 268, 1072, "")
	}
}

// checkRanges compares the ranges with "first second ... last" lists.
func checkRanges(t *testing.T, s Set, ranges, ports int, text string) {
	t.Helper()
	var got []string
	for r := range s.Ranges() {
		got = append(got, r.String())
	}
	if len(got) != ranges || s.Len() != ports {
		t.Fatalf("%v: %d ranges, %d ports, want %d, %d", s, len(got), s.Len(), ranges, ports)
	}
	if text == "" {
		return
	}
	head, tail, _ := strings.Cut(text, " ... ")
	h, l := strings.Fields(head), strings.Fields(tail)
	if !slices.Equal(got[:len(h)], h) || !slices.Equal(got[len(got)-len(l):], l) {
		t.Fatalf("%v: %v, want %s", s, got, text)
	}
}

func TestRFC6431_02_03_MaskVectors(t *testing.T) {
	a, err := MaskSet(1024, 5120)
	if err != nil {
		t.Fatal(err)
	}
	checkRanges(t, a, 16, 16384, "1024-2047 3072-4095 9216-10239 11264-12287 17408-18431 19456-20479 25600-26623 27648-28671 33792-34815 35840-36863 41984-43007 44032-45055 50176-51199 52224-53247 58368-59391 60416-61439")
	b, err := MaskSet(80, 496)
	if err != nil {
		t.Fatal(err)
	}
	checkRanges(t, b, 128, 2048, "80-95 592-607 1104-1119 ... 64592-64607 65104-65119")
}

// 6431-01, 6431-04: membership by the formula; the sets of one mask are
// disjoint and hold all ports.
func TestRFC6431_01_04_MaskSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mask := rapid.Uint16().Draw(t, "mask")
		value := rapid.Uint16().Draw(t, "value") & mask
		s, err := MaskSet(value, mask)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for p := range 65536 {
			in := uint16(p)&mask == value
			if s.Contains(uint16(p)) != in {
				t.Fatalf("MaskSet(%#x, %#x): port %d", value, mask, p)
			}
			if in {
				n++
			}
		}
		if n != s.Len() {
			t.Fatalf("%d ports, Len %d", n, s.Len())
		}
	})
}

func TestSetShapesAgainstFormula(t *testing.T) {
	cipher := NewCipher([16]byte{3})
	for _, r := range []Range{RangeOf(0, 0), RangeOf(0, 65535), RangeOf(65535, 65535), RangeOf(1024, 1279)} {
		var want []int
		for p := int(r.First()); p <= int(r.Last()); p++ {
			want = append(want, p)
		}
		checkSet(t, ContiguousSet(r), want)
	}
	for _, mask := range []uint16{0, 1, 0x8000, 0xffff, 0x0ff0, 0xf000, 0x8421, 0x1400} {
		v := mask & 0x9c31
		s, err := MaskSet(v, mask)
		if err != nil {
			t.Fatal(err)
		}
		var want []int
		for p := range 65536 {
			if uint16(p)&mask == v {
				want = append(want, p)
			}
		}
		checkSet(t, s, want)
	}
	for _, v := range []struct{ start, n int }{{1024, 1}, {1024, 64512}, {65535, 1}, {30000, 2048}} {
		s, err := CryptoSet(cipher, uint16(v.start), v.n)
		if err != nil {
			t.Fatal(err)
		}
		var want []int
		for x := v.start; x < v.start+v.n; x++ {
			y, _ := cipher.Encrypt(uint16(x))
			want = append(want, int(y))
		}
		slices.Sort(want)
		checkSet(t, s, want)
	}
	checkSet(t, Set{}, nil)
}

func TestSetFaults(t *testing.T) {
	c := NewCipher([16]byte{})
	for i, f := range []func() (Set, error){
		func() (Set, error) { return PSIDSet(9, 8, 0) },
		func() (Set, error) { return PSIDSet(255, 255, 0) },
		func() (Set, error) { return PSIDSet(6, 8, 256) },
		func() (Set, error) { return MaskSet(1, 2) },
		func() (Set, error) { return GMASet(0, 1, 0, 0) },
		func() (Set, error) { return GMASet(1, 0, 0, 0) },
		func() (Set, error) { return GMASet(300, 300, 0, 0) },
		func() (Set, error) { return GMASet(60, 4, 0, 60) },
		func() (Set, error) { return GMASet(256, 256, 1, 0) },
		func() (Set, error) { return GMASet(math.MaxInt, math.MaxInt, 1, 0) },
		func() (Set, error) { return CryptoSet(nil, 1024, 1) },
		func() (Set, error) { return CryptoSet(c, 1023, 1) },
		func() (Set, error) { return CryptoSet(c, 1024, 0) },
		func() (Set, error) { return CryptoSet(c, 65535, 2) },
	} {
		if s, err := f(); !errors.Is(err, ErrInvalid) || s.IsValid() {
			t.Errorf("case %d: %v, %v", i, s, err)
		}
	}
}

func TestSetText(t *testing.T) {
	c := NewCipher([16]byte{1, 2, 3})
	psid, _ := PSIDSet(6, 8, 52)
	mask, _ := MaskSet(0x400, 0x1400)
	gma, _ := GMASet(60, 4, 1024, 1)
	crypto, _ := CryptoSet(c, 1024, 256)
	for want, s := range map[string]Set{
		"invalid": {}, "1024-1279": ContiguousSet(RangeOf(1024, 1279)), "psid=52/6/8": psid,
		"mask=0x400/0x1400": mask, "gma=1+4/240x1072": gma, "crypto=1024+256": crypto,
	} {
		if s.String() != want {
			t.Errorf("%q, want %q", s.String(), want)
		}
	}
}

// 7597-05, 6431-04, 6431-06: the blocks of a layout are disjoint, and each
// says the same set as the formula. VPP puts the PSID into the wrong bits
// (its port set for a=6, k=6, PSID 10 shares no port with the RFC's).
func TestLayoutBlocksAreTheSets(t *testing.T) {
	for _, l := range append(testLayouts(), holdingLayouts()...) {
		seen := map[uint16]bool{}
		for n := range l.Blocks() {
			set := l.SetOf(Block{gen: 1, number: uint16(n)})
			for i := range set.Len() {
				p, _ := set.At(i)
				if seen[p] {
					t.Fatalf("%+v: port %d is in two blocks", l.cfg, p)
				}
				seen[p] = true
				if got, ok := l.Locate(p); ok && got != n || !ok && l.inRange(p) {
					t.Fatalf("%+v: Locate(%d) = %d %v, want %d", l.cfg, p, got, ok, n)
				}
			}
			for off := range l.unit {
				p := l.portAt(n, off)
				if u, o, ok := l.locate(p); !ok || u != n || o != off {
					t.Fatalf("%+v: locate(portAt(%d, %d)) = %d, %d, %v", l.cfg, n, off, u, o, ok)
				}
				if l.inRange(p) != (set.Contains(p) && l.inRange(p)) {
					t.Fatalf("%+v: port %d of block %d is not in %v", l.cfg, p, n, set)
				}
			}
		}
		cipher := l.cipher
		for p := range 65536 {
			u := goldBlockOf(l, cipher, p)
			got, _, ok := l.locate(uint16(p))
			if ok != (u >= 0) || ok && got != u {
				t.Fatalf("%+v: locate(%d) = %d %v, want %d", l.cfg, p, got, ok, u)
			}
		}
	}
	vpp := mustLayout(t, Config{Scheme: PSID, PSIDOffset: 6, PSIDLength: 6})
	if set := vpp.SetOf(Block{gen: 1, number: 10}); set.Len() != 1008 || set.First() != 1024+10<<4 {
		t.Fatalf("%v", set)
	}
	if vpp.SetOf(Block{}).IsValid() || vpp.SetOf(Block{gen: 1, number: 64}).IsValid() {
		t.Fatal("SetOf an invalid block")
	}
}
