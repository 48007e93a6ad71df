package portblock

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRangeAgainstLoop(t *testing.T) {
	edge := rapid.SampledFrom([]int{0, 1, 2, 1023, 1024, 32767, 65534, 65535})
	any := rapid.OneOf(edge, rapid.IntRange(0, 65535))
	rapid.Check(t, func(t *rapid.T) {
		a, b := any.Draw(t, "a"), any.Draw(t, "b")
		c, d := any.Draw(t, "c"), any.Draw(t, "d")
		r, o := RangeOf(uint16(a), uint16(b)), RangeOf(uint16(c), uint16(d))
		if r.IsValid() != (a <= b) || r.Len() != max(0, b-a+1) {
			t.Fatalf("RangeOf(%d, %d) = %v, Len %d", a, b, r, r.Len())
		}
		if r.IsValid() && (int(r.First()) != a || int(r.Last()) != b) {
			t.Fatalf("%v: %d-%d", r, r.First(), r.Last())
		}
		in := r.Intersect(o)
		for _, p := range []int{0, 1, a - 1, a, a + 1, b - 1, b, b + 1, c, d, 65535} {
			if p < 0 || p > 65535 {
				continue
			}
			inR, inO := p >= a && p <= b, p >= c && p <= d
			if r.Contains(uint16(p)) != inR || in.Contains(uint16(p)) != (inR && inO) {
				t.Fatalf("%v, %v: port %d", r, o, p)
			}
		}
		if r.Overlaps(o) != (a <= b && c <= d && a <= d && c <= b) {
			t.Fatalf("%v overlaps %v", r, o)
		}
		if (r.Compare(o) == 0) != (r == o) || (r.Compare(o) < 0) != (o.Compare(r) > 0) {
			t.Fatalf("Compare(%v, %v)", r, o)
		}
		text, err := r.MarshalText()
		var back Range
		if err != nil || back.UnmarshalText(text) != nil || back != r {
			t.Fatalf("%v: text %q gives %v", r, text, back)
		}
	})
}

func TestRangeZeroIsSafe(t *testing.T) {
	var z Range
	if z.IsValid() || z.Contains(0) || z.Len() != 0 || z.First() != 0 || z.Last() != 0 || z.String() != "invalid" || z.Overlaps(z) {
		t.Fatal("the zero Range holds something")
	}
	if RangeOf(0, 0) == z || !RangeOf(0, 0).Contains(0) {
		t.Fatal("port 0 alone is a range")
	}
}

func TestParseRangeFaults(t *testing.T) {
	for _, s := range []string{"", "-", "1-", "-1", "2-1", "65536", "1-65536", "1-2-3", " 1", "+1", "0x1", "000001", "1,2", "１"} {
		if r, err := ParseRange(s); err == nil {
			t.Errorf("ParseRange(%q) = %v", s, r)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("MustParseRange did not panic")
		}
	}()
	MustParseRange("x")
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"0", "65535", "0-65535", "1024-1279", "9-1", "00080", "99999-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRange(s)
		if err != nil {
			return
		}
		if !r.IsValid() {
			t.Fatalf("ParseRange(%q) is invalid", s)
		}
		if back, err := ParseRange(r.String()); err != nil || back != r {
			t.Fatalf("%q -> %v -> %v, %v", s, r, back, err)
		}
	})
}
