package natcore

import "iter"

// accountList numbers the accounts of a shard. A number stays while its account does; a page of the list never moves. An account
// itself is not used again: a packet that waits for the log has one still when it may be gone.
type accountList struct {
	pages []*[accountPage]*account
	spare []uint32
	next  uint32 // numbers below were given out
}

// accountPage is the number of accounts that share a page.
const accountPage = 512

// at returns the account of a number below next, or nil.
func (l *accountList) at(i uint32) *account { return l.pages[i/accountPage][i%accountPage] }

// len returns the number of accounts.
func (l *accountList) len() int { return int(l.next) - len(l.spare) }

// add enters an account and returns its number.
func (l *accountList) add(a *account) (i uint32) {
	if n := len(l.spare); n > 0 {
		i, l.spare = l.spare[n-1], l.spare[:n-1]
	} else {
		if l.next%accountPage == 0 {
			l.pages = append(l.pages, new([accountPage]*account))
		}
		i = l.next
		l.next++
	}
	l.pages[i/accountPage][i%accountPage] = a
	return i
}

func (l *accountList) remove(i uint32) {
	l.pages[i/accountPage][i%accountPage] = nil
	l.spare = append(l.spare, i)
}

// all yields the accounts by their numbers. Those that come or go meanwhile may be missed.
func (l *accountList) all() iter.Seq[*account] {
	return func(yield func(*account) bool) {
		for i := range l.next {
			if a := l.at(i); a != nil && !yield(a) {
				return
			}
		}
	}
}
