// Package plot draws line charts and bar charts as SVG, for the documentation:
// no scripts, no fonts to fetch, a background of their own, and colours that
// follow the reader's light or dark scheme.
//
// It draws what it is given and computes no statistics. The same input gives the same bytes, so that a
// chart in the repository changes only when its figures do.
package plot
