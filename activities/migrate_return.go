package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/health"
	"github.com/contraflow/contraflow/internal/ledger"
)

// mayPass refuses where somebody lives in the old shape by a press of the kill switch, and where rows that were written under an
// earlier press lack the new one, unless a person has seen that and said to go on.
func (a *Activities) mayPass(ctx context.Context, c change, in MigrateInput) error {
	all, err := pressed(ctx, c.db, in.Origin.Plan)
	if err != nil {
		return err
	}
	unseen := slices.ContainsFunc(all, func(k ledger.Kill) bool { return k.FirstRun == in.Origin.FirstRun && k.ID > in.Kills })
	if !unseen && !in.Force { // of those that people have not been told of they can't have decided
		living, err := a.inOldShape(ctx, in, all)
		if err != nil {
			return err
		}
		lacking, err := unproven(ctx, c, in)
		if err != nil {
			return err
		}
		if found := slices.Concat(living, lacking); len(found) > 0 {
			return permanent("InUse", "%s", strings.Join(found, ". "))
		}
	}
	return nil
}

// inOldShape says whom the kill switch keeps in the old shape: everybody, where a flag was not put back, or contexts that were
// turned off alone. It goes by what the flags serve now, whichever run was told of the press.
func (a *Activities) inOldShape(ctx context.Context, in MigrateInput, all presses) ([]string, error) {
	if len(all) == 0 || in.Flags == nil {
		return nil, nil
	}
	provider, err := a.provider(*in.Flags)
	if err != nil {
		return nil, err
	}
	var keys, found []string
	for _, k := range all {
		if !slices.Contains(keys, k.Key) {
			keys = append(keys, k.Key)
		}
	}
	for _, key := range keys {
		text, err := all.outOf(ctx, provider, key)
		if err != nil {
			return nil, err
		}
		if text != "" {
			found = append(found, text)
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	return []string{fmt.Sprintf("the old shape would go from under those who live in it since the kill switch was pressed: %s. Let them in again in the flag "+
		"service, with their rows filled, then retry", strings.Join(found, "; "))}, nil
}

// outOf says who is out of a flag by the switch, in words and without a key; "" for nobody.
func (ps presses) outOf(ctx context.Context, provider flags.Provider, key string) (string, error) {
	now, err := provider.Get(ctx, key)
	if errors.Is(err, flags.ErrNotFound) || err == nil && now.Archived { // then applications live by the fallback in their code
		return "", nil
	}
	if err != nil {
		return "", err
	}
	everybody := slices.ContainsFunc(ps, func(k ledger.Kill) bool { return k.Key == key && k.Everybody() })
	if everybody && !lit(now) {
		return fmt.Sprintf("flag %s is %s for everybody", key, now.Summary), nil
	}
	out := map[flags.Context]bool{}
	for _, k := range ps {
		who := flags.Context{Kind: k.ContextKind, Key: k.ContextKey}
		if k.Key != key || k.Everybody() || out[who] {
			continue
		}
		want, err := provider.Preview(ctx, key, flags.Change{Exclude: &who})
		switch {
		case errors.Is(err, flags.ErrInvalid): // it never was
		case err != nil:
			return "", err
		case want.Equal(now):
			out[who] = true
		}
	}
	switch len(out) {
	case 0:
		return "", nil
	case 1:
		return fmt.Sprintf("one context is out of flag %s", key), nil
	}
	return fmt.Sprintf("%d contexts are out of flag %s", len(out), key), nil
}

// unproven asks earlier verifications once more, and says which don't hold: while flags were off the application wrote the old
// shape alone, and nothing has filled the new one since. One that can't be asked is for people as well: they know what has become
// of that which it names. None is asked once the step has begun: what it compares with may be gone, and whoever began had asked.
func unproven(ctx context.Context, c change, in MigrateInput) (found []string, err error) {
	if len(in.Proofs) == 0 {
		return nil, nil
	}
	applied, begun, err := ours(ctx, c.engine)
	if err != nil || len(in.own(applied)) > 0 || len(in.own(begun)) > 0 {
		return nil, err
	}
	for _, p := range in.Proofs {
		m, err := health.Measure(ctx, c.db.pool, health.SQLProbe{Query: p.Verify.Query, Max: p.Verify.Max, Min: p.Verify.Min, Timeout: proofTimeout})
		switch {
		case errors.Is(err, health.ErrQuery):
			found = append(found, fmt.Sprintf("step %s can't be asked whether what it has proved still holds: %s. Rows may have been written while the kill switch "+
				"had turned flags off, and lack the new shape: look for yourself", p.Step, text(err)))
		case err != nil:
			return nil, err
		case !m.Pass:
			found = append(found, fmt.Sprintf("what step %s has proved does not hold any more: its query returned %s. Rows were written while the kill switch had "+
				"turned flags off, and lack the new shape: fill them, then retry", p.Step, m.Text))
		}
	}
	return found, nil
}
