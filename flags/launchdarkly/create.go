package launchdarkly

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldmodel"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/internal/targeting"
)

// newFlag is the body of https://launchdarkly.com/docs/api/feature-flags/post-feature-flag
type newFlag struct {
	Key         string             `json:"key"`
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	Tags        []string           `json:"tags,omitempty"`
	Temporary   bool               `json:"temporary"`
	Variations  []variation        `json:"variations,omitempty"`
	Defaults    *defaults          `json:"defaults,omitempty"`
	Purpose     string             `json:"purpose,omitempty"`
	Migration   *migrationSettings `json:"migrationSettings,omitempty"`
}

type variation struct {
	Value bool   `json:"value"`
	Name  string `json:"name"`
}

// defaults are indexes of variations.
type defaults struct {
	On  int `json:"onVariation"`
	Off int `json:"offVariation"`
}

type migrationSettings struct {
	ContextKind string `json:"contextKind"` // required with six stages
	StageCount  int    `json:"stageCount"`
}

// purposeMigration is what the API calls a migration flag's purpose. LaunchDarkly gives it its variations.
const purposeMigration = "migration"

// Create makes a temporary flag that is off in every environment of the project.
func (p *Provider) Create(ctx context.Context, key string, f flags.NewFlag) error {
	body := newFlag{
		Key: key, Name: cmp.Or(f.Name, key), Description: f.Description, Tags: f.Tags, Temporary: true,
	}
	if f.Migration {
		body.Purpose = purposeMigration
		body.Migration = &migrationSettings{cmp.Or(f.ContextKind, flags.DefaultContextKind), len(flags.Stages())}
	} else {
		body.Variations = []variation{{true, "true"}, {false, "false"}}
		body.Defaults = &defaults{On: 0, Off: 1}
	}
	_, err := retry(ctx, func() (struct{}, error) { return struct{}{}, p.create(ctx, key, body, f) })
	if err != nil {
		return err
	}
	return p.await(ctx, key, p.config.ReadBack, func(served *ldmodel.FeatureFlag) verdict { return when(served != nil) })
}

// create looks first: an answer may have been lost.
func (p *Provider) create(ctx context.Context, key string, body newFlag, f flags.NewFlag) error {
	found, err := p.flag(ctx, key)
	if err == nil {
		return found.alike(key, f)
	}
	if !errors.Is(err, flags.ErrNotFound) {
		return err
	}
	if err := flags.Late(ctx); err != nil {
		return fmt.Errorf("too late to create flag %q: %w", key, err)
	}
	err = p.do(ctx, request{method: http.MethodPost, key: key, path: p.flagsPath(), body: body}, &found)
	if errors.Is(err, flags.ErrInvalid) { // which is also the answer to a key that exists: somebody else made it in this moment
		if found, again := p.flag(ctx, key); again == nil {
			return found.alike(key, f)
		}
	}
	return err
}

// alike refuses to take a flag for one that it is not.
func (f flag) alike(key string, wanted flags.NewFlag) error {
	if f.Archived {
		return fmt.Errorf("flag %q exists and serves nothing: restore it in LaunchDarkly, or choose another key: %w", key, flags.ErrArchived)
	}
	variations, err := targeting.New(key, f.values())
	if wanted.Migration {
		if _, ok := variations.(targeting.Stages); !ok || f.Purpose != purposeMigration {
			return fmt.Errorf("flag %q exists and is no migration flag with six stages: choose another key: %w", key, flags.ErrInvalid)
		}
		if kind := f.Migration.ContextKind; wanted.ContextKind != "" && kind != "" && kind != wanted.ContextKind {
			return fmt.Errorf("flag %q exists and is a migration flag of contexts of kind %q, not %q: choose another key, or give the plan that "+
				"contextKind: %w", key, kind, wanted.ContextKind, flags.ErrInvalid)
		}
		return nil
	}
	if _, ok := variations.(targeting.Boolean); !ok {
		return fmt.Errorf("flag %q exists and is no boolean flag: choose another key: %w", key, errors.Join(err, flags.ErrInvalid))
	}
	return nil
}
