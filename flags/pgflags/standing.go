package pgflags

// Standing tells what the copy holds of a flag, whoever asks: its version, 0 for an unknown or archived flag or while there is
// no copy; and what everybody is served, nil where that depends on the context. It is no evaluation, and not reported as one.
func (r *Reader) Standing(key string) (version int, everybody *bool) {
	copied := r.copied.Load()
	if copied == nil {
		return 0, nil
	}
	f, ok := (*copied)[key]
	if !ok {
		return 0, nil
	}
	return f.Version, f.everybody()
}

// everybody is the one value that no context is exempt from.
func (f *flag) everybody() *bool {
	if !f.On {
		return new(false)
	}
	usual := f.Weight >= fullWeight
	if !usual && f.Weight > 0 {
		return nil
	}
	for _, named := range f.Targets {
		for _, value := range named {
			if value != usual {
				return nil
			}
		}
	}
	return &usual
}
