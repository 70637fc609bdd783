package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/signals"
)

// Migrate brings the schema up to in.To, one version and one transaction at a time.
func (a *Activities) Migrate(ctx context.Context, in MigrateInput) (Migrated, error) {
	done, err := a.migrate(ctx, in, func(ctx context.Context, c change) ([]uint, error) {
		state, err := c.engine.State(ctx)
		if err != nil {
			return nil, err
		}
		if state.Dirty { // also where no version is left to apply
			return nil, fmt.Errorf("%w at %s: run contraflow repair PLAN, then go on", ddl.ErrDirty, state)
		}
		versions, err := c.files.Between(state, in.To)
		if err != nil {
			return nil, err
		}
		if err := a.pass(ctx, c, in, in.Irreversible && len(versions) > 0); err != nil {
			return nil, err
		}
		for i, v := range versions {
			if err := c.engine.Up(ctx, v, c.files.SHA256(v, ddl.Up)); err != nil {
				return versions[:i], err
			}
		}
		return versions, nil
	})
	return done, failed(ctx, err)
}

// pass prepares what nothing undoes: the triggers go, and where something is dropped next, it is marked that the old shape is about to
// go. From there on the kill switch is not pressed lightly. While the first trigger waits for its table nothing is marked.
func (a *Activities) pass(ctx context.Context, c change, in MigrateInput, dropping bool) error {
	if !dropping {
		return a.unsync(ctx, c, in, false)
	}
	err := a.mayPass(ctx, c, in)
	if err == nil {
		err = a.unsync(ctx, c, in, true)
	}
	if err == nil { // where no trigger stood
		err = c.db.ledger.PastReturn(ctx, in.Origin.Plan, in.Origin.holder(), in.Kills)
	}
	if errors.Is(err, ledger.ErrKilled) {
		return permanent("Killed", "%v: the old shape stays as long as the application may need it; resume puts the flags back and goes on", err)
	}
	return err
}

// MigrateDown takes back what this plan has done to the versions in (in.Floor, in.To], newest first: statements that it has
// begun outside a transaction, then versions that it applied. It waits for an attempt to bring the schema up that still runs.
func (a *Activities) MigrateDown(ctx context.Context, in MigrateInput) (Migrated, error) {
	done, err := a.migrate(ctx, in, func(ctx context.Context, c change) ([]uint, error) {
		if err := c.db.ledger.Undoing(ctx, in.Origin.Plan, in.Origin.holder()); err != nil {
			return nil, err
		}
		if err := c.engine.Rest(ctx); err != nil {
			return nil, err
		}
		applied, begun, err := ours(ctx, c.engine)
		if err != nil {
			return nil, err
		}
		for _, v := range slices.Backward(in.own(begun)) {
			if err := c.engine.Withdraw(ctx, v, c.files.SHA256(v, ddl.Up)); err != nil {
				return nil, err
			}
		}
		var undone []uint
		for _, v := range slices.Backward(in.own(applied)) {
			err := c.engine.Down(ctx, v, c.files.SHA256(v, ddl.Down))
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
	return done, failed(ctx, err)
}

// own are those versions of the list that belong to the step.
func (in MigrateInput) own(versions []uint) []uint {
	return slices.DeleteFunc(slices.Clone(versions), func(v uint) bool { return v <= in.Floor || v > in.To })
}

// SchemaVersion changes nothing and says where the schema stands, and which versions in (in.Floor, in.To] this plan has applied,
// or begun outside a transaction and not seen end: those may have done their work. It waits for an attempt that still runs.
func (a *Activities) SchemaVersion(ctx context.Context, in MigrateInput) (Migrated, error) {
	defer beat(ctx, nothing)()
	now, err := a.schemaVersion(ctx, in)
	return now, fail(ctx, err)
}

func (a *Activities) schemaVersion(ctx context.Context, in MigrateInput) (Migrated, error) {
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return Migrated{}, err
	}
	files, err := a.Plans.files(in.Schema.Folder)
	if err != nil {
		return Migrated{}, err
	}
	engine := ddl.New(db.pool, files, ddl.Options{Plan: in.Origin.Plan})
	if err := engine.Rest(ctx); err != nil {
		return Migrated{}, err
	}
	applied, begun, err := ours(ctx, engine)
	if err != nil {
		return Migrated{}, err
	}
	state, err := engine.State(ctx)
	return Migrated{Versions: slices.Concat(in.own(applied), in.own(begun)), Version: state.Version}, err
}

// change of the schema, as it is made.
type change struct {
	db     *Database
	engine *ddl.Engine
	files  *ddl.Files
	told   *waits
}

// migrate runs work with heartbeats that tell what it waits for, and audits what it did.
func (a *Activities) migrate(ctx context.Context, in MigrateInput, work func(context.Context, change) ([]uint, error)) (Migrated, error) {
	told := &waits{origin: in.Origin, chat: a.Chat}
	told.status.set(signals.Blocked{Step: in.Origin.Step})
	defer beat(ctx, told.status.details)()

	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return Migrated{}, err
	}
	files, err := a.Plans.unchanged(in.Schema)
	if err != nil {
		return Migrated{}, err
	}
	told.db = db
	defer told.follow(ctx)()
	engine := ddl.New(db.pool, files, ddl.Options{Plan: in.Origin.Plan, Claim: in.Origin.FirstRun,
		LockTimeout: in.LockTimeout.Std(), KillIdleAfter: in.KillIdleAfter.Std(),
		OnEnd: told.ends, OnWait: told.hear})
	versions, err := work(ctx, change{db, engine, files, told})
	if errors.Is(err, ddl.ErrSuperseded) {
		return Migrated{}, permanent("Superseded", "%v", err)
	}
	if err != nil {
		return Migrated{}, told.cancelled(ctx, err)
	}
	state, err := engine.State(ctx)
	if err != nil {
		return Migrated{}, err
	}
	done := Migrated{Versions: versions, Version: state.Version}
	return done, audit(ctx, db, in.Origin, "schema", fmt.Sprintf("at version %d", state.Version))
}
