package workflows

import (
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
)

// migrate brings the schema up to the step's version.
func (m *migration) migrate(ctx workflow.Context, step plan.Step) error {
	if !step.Irreversible() {
		m.push()
	}
	var done activities.Migrated
	err := m.unlessKilled(ctx, func() error {
		in := m.migrateInput(m.Step)
		in.Flags, in.Force = m.Plan.Flags, m.Forced
		m.Forced = false // whoever is turned off from here on was not decided on
		if step.Irreversible() {
			in.Synced = m.synced() // a trigger that writes columns which are dropped fails every write
			if m.Kills > 0 {
				in.Proofs = m.proofs()
			}
		}
		err := workflow.ExecuteActivity(long(ctx, 0), acts.Migrate, in).Get(ctx, &done)
		if err == nil {
			m.unsynced(in.Synced...)
		}
		return err
	})
	if step.Irreversible() {
		m.PointOfNoReturn = m.PointOfNoReturn || err == nil || m.mayHaveMigrated(m.Step)
	}
	if err != nil {
		return err
	}
	status := m.current()
	status.Detail = fmt.Sprintf("schema at version %d", done.Version)
	if len(done.Versions) > 0 {
		status.Detail += fmt.Sprintf(", applied %s", numbers(done.Versions))
	}
	return nil
}

// mayHaveMigrated asks the database whether an irreversible step that ended in an error has changed anything all the same.
// Without an answer the safe assumption is that it has.
func (m *migration) mayHaveMigrated(index int) bool {
	ctx := m.disconnected()
	var now activities.Migrated
	err := workflow.ExecuteActivity(quick(ctx, compensationAttempts), acts.SchemaVersion, m.migrateInput(index)).Get(ctx, &now)
	return err != nil || len(now.Versions) > 0 || now.Version >= m.Plan.Steps[index].Migrate.To
}

// unmigrate takes down what this plan's step applied, newest version first.
func (m *migration) unmigrate(ctx workflow.Context, index int) (string, error) {
	var undone activities.Migrated
	if err := workflow.ExecuteActivity(long(ctx, compensationAttempts), acts.MigrateDown, m.migrateInput(index)).Get(ctx, &undone); err != nil {
		return "", err
	}
	if len(undone.Versions) == 0 {
		return fmt.Sprintf("schema at version %d, nothing of ours to take down", undone.Version), nil
	}
	return fmt.Sprintf("schema back at version %d, took down %s", undone.Version, numbers(undone.Versions)), nil
}

// migrateInput covers the versions between the migrate step before and this one.
func (m *migration) migrateInput(index int) activities.MigrateInput {
	step := m.Plan.Steps[index]
	idle, _ := step.Migrate.KillIdleAfter() // the plan is valid since it began
	in := activities.MigrateInput{Origin: m.at(step), Schema: m.Schema, To: step.Migrate.To,
		LockTimeout: step.Migrate.LockTimeout, KillIdleAfter: plan.Duration(idle), Irreversible: step.Irreversible(), Kills: m.Kills}
	for _, earlier := range m.Plan.Steps[:index] {
		if earlier.Migrate != nil {
			in.Floor = earlier.Migrate.To
		}
	}
	return in
}

func numbers(versions []uint) string {
	words := make([]string, len(versions))
	for i, v := range versions {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, ", ")
}

// waitedFor is what the cancelled activity of a migrate step says it was waiting for; "" if it says nothing. Other steps wait in
// the workflow as well, and the SDK puts a text of its own into the end of such a wait.
func waitedFor(step plan.Step, err error) string {
	var cancelled *temporal.CanceledError
	var text string
	if step.Migrate == nil || !errors.As(err, &cancelled) || !cancelled.HasDetails() || cancelled.Details(&text) != nil {
		return ""
	}
	return "; it waited for " + text
}
