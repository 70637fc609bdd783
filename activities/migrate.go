package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/signals"
)

// Migrate brings the schema up to in.To, one version and one transaction at a time.
func (a *Activities) Migrate(ctx context.Context, in MigrateInput) (Migrated, error) {
	done, err := a.migrate(ctx, in, func(ctx context.Context, engine *ddl.Engine, files *ddl.Files) ([]uint, error) {
		state, err := engine.State(ctx)
		if err != nil {
			return nil, err
		}
		if state.Dirty { // also where no version is left to apply
			return nil, fmt.Errorf("%w at version %d: repair it first, then go on", ddl.ErrDirty, state.Version)
		}
		versions, err := files.Between(state, in.To)
		if err != nil {
			return nil, err
		}
		for i, v := range versions {
			if err := engine.Up(ctx, v, files.SHA256(v, ddl.Up)); err != nil {
				return versions[:i], err
			}
		}
		return versions, nil
	})
	return done, fail(ctx, err)
}

// MigrateDown takes down the versions in (in.Floor, in.To] that this plan applied, newest first.
func (a *Activities) MigrateDown(ctx context.Context, in MigrateInput) (Migrated, error) {
	done, err := a.migrate(ctx, in, func(ctx context.Context, engine *ddl.Engine, files *ddl.Files) ([]uint, error) {
		applied, err := engine.Applied(ctx)
		if err != nil {
			return nil, err
		}
		var undone []uint
		for _, v := range slices.Backward(applied) {
			if v <= in.Floor || v > in.To {
				continue
			}
			err := engine.Down(ctx, v, files.SHA256(v, ddl.Down))
			if errors.Is(err, ddl.ErrNotOurs) {
				continue
			}
			if err != nil {
				return undone, err
			}
			undone = append(undone, v)
		}
		return undone, nil
	})
	return done, fail(ctx, err)
}

// SchemaVersion changes nothing and says where the schema stands, and which versions in (in.Floor, in.To] this plan has applied.
func (a *Activities) SchemaVersion(ctx context.Context, in MigrateInput) (Migrated, error) {
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return Migrated{}, fail(ctx, err)
	}
	files, err := a.Plans.files(in.Schema.Folder)
	if err != nil {
		return Migrated{}, fail(ctx, err)
	}
	engine := ddl.New(db.pool, files, ddl.Options{Plan: in.Origin.Plan})
	state, err := engine.State(ctx)
	if err != nil {
		return Migrated{}, fail(ctx, err)
	}
	now := Migrated{Version: state.Version}
	applied, err := engine.Applied(ctx)
	for _, v := range applied {
		if v > in.Floor && v <= in.To {
			now.Versions = append(now.Versions, v)
		}
	}
	return now, fail(ctx, err)
}

// migrate runs work with heartbeats that tell what it waits for, and audits what it did.
func (a *Activities) migrate(ctx context.Context, in MigrateInput, work func(context.Context, *ddl.Engine, *ddl.Files) ([]uint, error)) (Migrated, error) {
	var waiting latest[signals.Blocked]
	waiting.set(signals.Blocked{Step: in.Origin.Step})
	defer beat(ctx, waiting.details)()

	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return Migrated{}, err
	}
	files, err := a.Plans.unchanged(in.Schema)
	if err != nil {
		return Migrated{}, err
	}
	engine := ddl.New(db.pool, files, ddl.Options{Plan: in.Origin.Plan, OnWait: func(w ddl.Waiting) {
		waiting.set(signals.Blocked{Step: in.Origin.Step, Text: w.String()})
	}})
	versions, err := work(ctx, engine, files)
	if err != nil {
		return Migrated{}, err
	}
	state, err := engine.State(ctx)
	if err != nil {
		return Migrated{}, err
	}
	done := Migrated{Versions: versions, Version: state.Version}
	return done, audit(ctx, db, in.Origin, "schema", fmt.Sprintf("at version %d", state.Version))
}
