package journal

// keepUp works in the background until the journal is closed.
func (j *Journal) keepUp() {
	defer j.workers.Done()
	<-j.stop
}
