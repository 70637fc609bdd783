package rehearse

// effects of a statement on what stood before its file.
type effects struct {
	rewrites, scans, builds []uint32
	writes                  bool // rows
	works                   bool // otherwise: finds more than a row by an index, or can't be seen at its work
	truncates               bool
	looksUp                 bool // rows, as queries do
	touched                 touched
	// strongest lock that its transaction holds by now on anything that stood before: it lasts while the statement works.
	strongest int
}

// verdict is what the application feels.
func (e effects) verdict() Verdict {
	works := len(e.rewrites)+len(e.scans)+len(e.builds) > 0 || e.works
	switch {
	case len(e.rewrites) > 0 && e.strongest >= stopsAll:
		return BlocksAll
	case works && e.strongest >= stopsAll:
		return BlocksScan
	case works && e.strongest >= stopsWrites:
		return BlocksWrites
	case e.writes:
		return Changes
	case works:
		return Background
	}
	return Instant
}
