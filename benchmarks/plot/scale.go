package plot

import (
	"math"
	"strconv"
)

// A Scale maps values to a length.
type Scale uint8

const (
	// Linear begins at zero.
	Linear Scale = iota
	// Log10 has its marks at powers of ten.
	Log10
	// Log2 has its marks at powers of two.
	Log2
)

// axis is a scale with its ends.
type axis struct {
	scale     Scale
	low, high float64
	marks     []float64
}

// axisOf fits an axis around values; a logarithmic one leaves out those that are not positive.
func axisOf(s Scale, values []float64) axis {
	a := axis{scale: s, low: math.Inf(1), high: math.Inf(-1)}
	for _, v := range values {
		if s == Linear || v > 0 {
			a.low, a.high = min(a.low, v), max(a.high, v)
		}
	}
	if math.IsInf(a.low, 1) {
		a.low, a.high = 1, 1
	}
	if s == Linear {
		a.low = min(a.low, 0)
		step := niceStep((a.high - a.low) / 5)
		a.high = step * math.Ceil(a.high/step)
		for v := a.low; v <= a.high+step/2; v += step {
			a.marks = append(a.marks, v)
		}
		return a
	}
	base := 10.0
	if s == Log2 {
		base = 2
	}
	log := func(v float64) float64 { return math.Log(v) / math.Log(base) }
	first, last := math.Floor(log(a.low)+1e-9), math.Ceil(log(a.high)-1e-9)
	if last <= first {
		last = first + 1
	}
	a.low, a.high = math.Pow(base, first), math.Pow(base, last)
	step := math.Ceil((last - first) / 8)
	for e := first; e <= last; e += step {
		a.marks = append(a.marks, math.Pow(base, e))
	}
	return a
}

// niceStep rounds a step up to 1, 2 or 5 times a power of ten.
func niceStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if v <= m*unit*(1+1e-9) {
			return m * unit
		}
	}
	return 10 * unit
}

// at returns where a value lies between 0 and 1.
func (a axis) at(v float64) float64 {
	if a.scale == Linear {
		return (v - a.low) / (a.high - a.low)
	}
	return math.Log(v/a.low) / math.Log(a.high/a.low)
}

// Number writes a value with about three digits and without an exponent.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// Bytes writes a volume in decimal units.
func Bytes(v float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for ; v >= 999.5 && i < len(units)-1; i++ {
		v /= 1000
	}
	return Number(v) + " " + units[i]
}
