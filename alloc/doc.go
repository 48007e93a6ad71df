// Package alloc decides which external addresses of a pool are open for
// another subscriber.
package alloc
