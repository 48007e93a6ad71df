package main

import (
	"fmt"
	"io"
	"math"
	"math/bits"
	"strings"
)

// histogram writes how many of the values lie in 0, 1, 2-3, 4-7, 8-15, ... as bars.
func histogram(w io.Writer, values []int, things string) {
	var buckets []int
	for _, v := range values {
		b := bits.Len(uint(max(v, 0)))
		for len(buckets) <= b {
			buckets = append(buckets, 0)
		}
		buckets[b]++
	}
	most := 0
	for _, n := range buckets {
		most = max(most, n)
	}
	for b, n := range buckets {
		if b == 0 && n == 0 {
			continue
		}
		name := things
		if b == 1 {
			name = strings.TrimSuffix(things, "s")
		}
		l := fmt.Sprintf("  %11s %-6s %8s  %s", bucketName(b), name, count(n), bar(float64(n), float64(most), 50, 0))
		fmt.Fprintln(w, strings.TrimRight(l, " "))
	}
}

// bucketName names the numbers of b binary digits.
func bucketName(b int) string {
	if b <= 1 {
		return fmt.Sprint(b)
	}
	return fmt.Sprintf("%s-%s", count(1<<(b-1)), count(1<<b-1))
}

// bar draws part of whole in width letters, at least one if part is not 0, and
// fills up with fill unless it is 0.
func bar(part, whole float64, width int, fill rune) string {
	n := 0
	if whole > 0 && part > 0 {
		n = max(1, int(math.Round(part/whole*float64(width))))
	}
	n = min(n, width)
	s := strings.Repeat("#", n)
	if fill != 0 {
		s += strings.Repeat(string(fill), width-n)
	}
	return s
}

// count writes a number with commas between thousands.
func count[N ~int | ~int64 | ~uint64](n N) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
