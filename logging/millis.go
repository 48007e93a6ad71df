package logging

import "time"

// Millis is a wall clock time in milliseconds since the Unix epoch, the unit of
// observationTimeMilliseconds (RFC 8158). The zero Millis means "not set".
type Millis int64

// MillisOf returns t in milliseconds, rounded down, and 0 for the zero time.
func MillisOf(t time.Time) Millis {
	if t.IsZero() {
		return 0
	}
	return Millis(t.UnixMilli())
}

// Time returns m as a time in UTC, and the zero time for 0.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// minMillis and maxMillis bound what RFC 3339 can write with a four digit year
// (0001-01-01 to 9999-12-31).
const (
	minMillis Millis = -62135596800000
	maxMillis Millis = 253402300799999
)

func (m Millis) valid() bool { return m >= minMillis && m <= maxMillis }

// AppendTo appends m in RFC 3339 form in UTC with milliseconds, such as
// 2026-11-21T02:30:10.123Z. A time outside the years 1 to 9999 is written as
// the nearest one inside.
func (m Millis) AppendTo(dst []byte) []byte {
	m = min(max(m, minMillis), maxMillis)
	const day = 86400000
	days := int64(m) / day
	rest := int64(m) % day
	if rest < 0 {
		rest += day
		days--
	}
	y, mo, d := civil(days)
	dst = append4(dst, y)
	dst = append(dst, '-')
	dst = append2(dst, mo)
	dst = append(dst, '-')
	dst = append2(dst, d)
	dst = append(dst, 'T')
	dst = append2(dst, int(rest/3600000))
	dst = append(dst, ':')
	dst = append2(dst, int(rest/60000%60))
	dst = append(dst, ':')
	dst = append2(dst, int(rest/1000%60))
	ms := int(rest % 1000)
	dst = append(dst, '.', byte('0'+ms/100))
	dst = append2(dst, ms%100)
	return append(dst, 'Z')
}

// String returns m as AppendTo writes it, and "never" for 0.
func (m Millis) String() string {
	if m == 0 {
		return "never"
	}
	return string(m.AppendTo(nil))
}

func append2(dst []byte, v int) []byte { return append(dst, byte('0'+v/10), byte('0'+v%10)) }

func append4(dst []byte, v int) []byte { return append2(append2(dst, v/100), v%100) }

// civil turns days since 1970-01-01 into a date of the proleptic Gregorian
// calendar. The year is taken to begin in March, so that the leap day is the
// last one and months have a linear formula; 719468 days lie between
// 0000-03-01 and 1970-01-01 and 146097 in 400 years.
func civil(days int64) (year, month, day int) {
	z := days + 719468
	era := z / 146097
	if z < 0 {
		era = (z - 146096) / 146097
	}
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = int(doy - (153*mp+2)/5 + 1)
	month = int(mp + 3)
	if month > 12 {
		month -= 12
	}
	year = int(yoe + era*400)
	if month <= 2 {
		year++
	}
	return year, month, day
}
