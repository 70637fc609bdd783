package attest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

const statement = "select contraflow.attest($1::text, $2::jsonb)"

// state is a flag in a report.
type state struct {
	Version int     `json:"version"`
	Value   *string `json:"value"`
}

func (a *Attester) report(ctx context.Context) error {
	var seen []Seen
	if err := guarded("look at the flags", func() error {
		seen = a.options.Source.See(a.options.Flags)
		return nil
	}); err != nil {
		return err
	}
	return a.send(ctx, states(a.options.Flags, seen))
}

// send reports within sendTimeout. It isn't cut off by Stop: a report that is given up here might still be on its way there,
// and come behind the goodbye.
func (a *Attester) send(ctx context.Context, all map[string]state) error {
	return guarded("report the flags", func() error {
		raw, err := json.Marshal(all)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
		defer cancel()
		return a.options.Exec(ctx, statement, a.name, string(raw))
	})
}

// guarded makes an error of a panic: what is reported of an application must not end it.
func guarded(doing string, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if err != nil {
			err = fmt.Errorf("attest: %s: %w", doing, err)
		}
	}()
	return do()
}

// told passes a report's error on, each text once in a row, and tells whether err was one.
func (a *Attester) told(err error) bool {
	if err == nil {
		a.failing = ""
		return false
	}
	if text := err.Error(); text != a.failing {
		a.failing = text
		a.tell(err)
	}
	return true
}

func (a *Attester) tell(err error) {
	if err == nil || a.options.OnError == nil {
		return
	}
	_ = guarded("tell why", func() error { a.options.OnError(err); return nil }) // there is nobody left to tell
}

// states of all the flags, whatever was seen: one wrong part must not have the whole report refused.
func states(flags []string, seen []Seen) map[string]state {
	all := make(map[string]state, len(flags))
	for _, key := range flags {
		all[key] = state{}
	}
	for _, s := range seen {
		if _, asked := all[s.Key]; !asked {
			continue
		}
		if s.Value != nil && (len(*s.Value) > maxValue || strings.ContainsFunc(*s.Value, unicode.IsControl)) {
			s.Value = nil
		}
		all[s.Key] = state{Version: max(s.Version, 0), Value: s.Value}
	}
	return all
}
