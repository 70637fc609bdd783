package flagserver

import (
	"errors"
	"regexp"
	"time"
)

var flagKey = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// newFlagBody is what a flag is made from: https://launchdarkly.com/docs/api/feature-flags/post-feature-flag
type newFlagBody struct {
	Key          string             `json:"key"`
	Name         string             `json:"name"`
	Description  string             `json:"description"`
	Variations   []Variation        `json:"variations"`
	Defaults     *Defaults          `json:"defaults"`
	Temporary    *bool              `json:"temporary"`
	Tags         []string           `json:"tags"`
	MaintainerID string             `json:"maintainerId"`
	Team         string             `json:"maintainerTeamKey"` // instead of a member
	Purpose      string             `json:"purpose"`
	Migration    *MigrationSettings `json:"migrationSettings"`
}

// stages by their number: https://launchdarkly.com/docs/home/flags/migration
var stages = map[int][]string{
	2: {"off", "complete"},
	4: {"off", "shadow", "live", "complete"},
	6: {"off", "dualwrite", "shadow", "live", "rampdown", "complete"},
}

// complete checks the body and fills in the variations.
func (b *newFlagBody) complete() error {
	if !flagKey.MatchString(b.Key) || b.Name == "" {
		return errors.New("a flag needs a key of letters, digits, '.', '_', '-' and a name")
	}
	if b.Purpose == purposeMigration {
		if b.Migration == nil || stages[b.Migration.StageCount] == nil || len(b.Variations) > 0 {
			return errors.New("a migration flag has 2, 4 or 6 stages and no variations of its own")
		}
		if (b.Migration.StageCount == 6) != (b.Migration.ContextKind != "") {
			return errors.New("contextKind goes with six stages")
		}
		for _, stage := range stages[b.Migration.StageCount] {
			b.Variations = append(b.Variations, Variation{Value: stage, Name: stage})
		}
	}
	if len(b.Variations) == 0 {
		b.Variations = booleans()
	}
	if len(b.Variations) < 2 {
		return errors.New("a flag needs two variations or more")
	}
	if b.MaintainerID != "" && b.Team != "" {
		return errors.New("a flag is maintained by a member or by a team")
	}
	there := func(i int) bool { return i >= 0 && i < len(b.Variations) }
	if b.Defaults != nil && !(there(b.Defaults.OnVariation) && there(b.Defaults.OffVariation)) {
		return errors.New("defaults name variations by their index")
	}
	return nil
}

func (b *newFlagBody) flag(environment string, now time.Time) Flag {
	flag := newFlag(b.Key, b.Name, environment, b.Variations, now)
	if b.Temporary != nil {
		flag.Temporary = *b.Temporary
	}
	if b.Defaults != nil {
		flag.Defaults = *b.Defaults
		for _, e := range flag.Environments {
			e.Fallthrough, e.OffVariation = Serve{Variation: &b.Defaults.OnVariation}, &b.Defaults.OffVariation
		}
	}
	flag.Description = b.Description
	flag.Tags = append(flag.Tags, b.Tags...)
	flag.Team = b.Team
	flag.MaintainerID, flag.Purpose, flag.Migration = b.MaintainerID, b.Purpose, b.Migration
	if flag.Purpose == purposeMigration { // off it serves the stage off, and so it does when it is turned on
		flag.Defaults = Defaults{}
		for _, e := range flag.Environments {
			off := 0
			e.OffVariation, e.Fallthrough = &off, Serve{Rollout: &Rollout{
				ContextKind: kind(b.Migration.ContextKind), Variations: []Weight{{Variation: off, Weight: fullWeight}},
			}}
		}
	}
	return flag
}
