package flagserver

import (
	"errors"
	"fmt"
	"slices"
)

const (
	purposeMigration = "migration"
	segmentMatch     = "segmentMatch"
	// sixStages are the flags that split data by the kind of their contexts.
	sixStages = 6
)

var (
	errTargeted = errors.New("a migration flag cannot target individual contexts: create a cohort that contains only that context")
	errNoCohort = errors.New("provide a rollout instead of a single variationId: cohorts of a migration flag always serve one")
	errOffStage = errors.New("the off variation of a migration flag is always off")
	errSegment  = errors.New("a migration flag with six stages cannot use segmentMatch")
)

// fits refuses what cannot be done to a migration flag: https://launchdarkly.com/docs/home/flags/target-migration, and of a patch
// https://launchdarkly.com/docs/api/feature-flags/patch-feature-flag, "Migration flags".
func (f Flag) fits(in instruction) error {
	if f.Purpose != purposeMigration {
		return nil
	}
	switch in.Kind {
	case "addTargets", "removeTargets":
		return errTargeted
	case "replaceTargets":
		if len(in.Targets) > 0 {
			return errTargeted
		}
	case "updateOffVariation":
		if i, ok := f.variation(in.VariationID); ok && f.Variations[i].Value != "off" {
			return errOffStage
		}
	case "updateFallthroughVariationOrRollout":
		return f.cohort(in.served, nil)
	case "addRule":
		return f.cohort(in.served, in.Clauses)
	case "replaceRules":
		for _, r := range in.Rules {
			if err := f.cohort(r.served, r.Clauses); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f Flag) cohort(serve served, clauses []Clause) error {
	if serve.VariationID != "" {
		return errNoCohort
	}
	if f.Migration == nil || f.Migration.StageCount != sixStages {
		return nil
	}
	if slices.ContainsFunc(clauses, func(c Clause) bool { return c.Op == segmentMatch }) {
		return errSegment
	}
	kinds := []string{kind(serve.RolloutContextKind)}
	for _, c := range clauses {
		kinds = append(kinds, kind(c.ContextKind))
	}
	for _, k := range kinds {
		if k != f.Migration.ContextKind {
			return fmt.Errorf("the migration flag only targets contexts of kind %q, not %q", f.Migration.ContextKind, k)
		}
	}
	return nil
}
