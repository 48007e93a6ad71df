package main

import "strings"

// suggest names the setting that was meant, or all of them.
func suggest(kind, name string) string {
	best, least := "", 3 // at most two letters wrong
	var all []string
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	for _, s := range settingsOf(kind) {
		all = append(all, s.name)
		if d := distance(plain(name), plain(s.name)); d < least {
			best, least = s.name, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "there are: " + strings.Join(all, ", ")
}

// distance counts the letters to insert, delete or replace (Levenshtein). Texts of
// very different lengths are far apart without a look at the letters.
func distance(a, b string) int {
	if d := len(a) - len(b); d > 3 || d < -3 {
		return 4
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
