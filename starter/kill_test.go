package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags/flagfile"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/kill"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

const (
	killedFlag = "write-new"
	// killPlan names the flag, for when the database does not answer.
	killPlan = `name: split
database: shop
flags: {project: shop, environment: production}
steps:
  - {name: write-new, flag: {key: write-new}}
`
	killFile = `{"flags": {"write-new": {"key": "write-new", "version": 1, "on": true, "variations": [true, false],
		"fallthrough": {"variation": 0}, "offVariation": 1, "salt": "s"}}}`
)

// killable is a worker's configuration with a flag file, and a database in which migration split has moved the flag in it.
type killable struct {
	folder string
	pool   *pgxpool.Pool
	ledger *ledger.Ledger
	me     ledger.Holder
}

func newKillable(t *testing.T) killable {
	t.Helper()
	folder, db := t.TempDir(), pgtest.New(t)
	for name, text := range map[string]string{
		"plan.yaml": killPlan, "flags.json": killFile, "dsn": db.DSN, "silent": "postgres://me:S3CRET@127.0.0.1:1/db?sslmode=disable",
		"worker.yaml": "databases:\n  shop: {dsn: \"file:dsn\"}\n  other: {dsn: \"env:NOT_SET\"}\nflags: {flagfile: {path: flags.json}}\n",
		"down.yaml":   "databases:\n  shop: {dsn: \"file:silent\"}\nflags: {flagfile: {path: flags.json}}\n",
		"twice.yaml":  "databases:\n  shop: {dsn: \"file:dsn\"}\n  copy: {dsn: \"file:dsn\"}\nflags: {flagfile: {path: flags.json}}\n",
		"lost.yaml":   "databases:\n  shop: {dsn: \"file:silent\"}\nflags: {flagfile: {path: gone.json}}\n",
		"none.yaml":   "databases:\n  shop: {dsn: \"file:dsn\"}\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	pool, err := pg.Open(t.Context(), db.DSN, pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	k := killable{folder, pool, ledger.New(pool), ledger.Holder{Migration: "split", FirstRun: "run-1"}}
	require.NoError(t, k.ledger.Claim(t.Context(), "split", "h", k.me, ledger.Holder{}))
	return k
}

func (k killable) use(t *testing.T) {
	t.Helper()
	require.NoError(t, k.ledger.UseFlag(t.Context(), "split", k.me, ledger.Scope{Project: "shop", Environment: "production"}, killedFlag))
}

// press calls the command where no Temporal answers.
func (k killable) press(t *testing.T, config string, args ...string) answer {
	t.Helper()
	a := callAt(t, "127.0.0.1:1", append([]string{"kill", "split", "--config", filepath.Join(k.folder, config), "--by", "alice"}, args...)...)
	require.NotContains(t, a.stdout+a.stderr, "S3CRET")
	return a
}

func (k killable) flag(t *testing.T) string {
	t.Helper()
	provider, err := flagfile.New(filepath.Join(k.folder, "flags.json"))
	require.NoError(t, err)
	state, err := provider.Get(t.Context(), killedFlag)
	require.NoError(t, err)
	return state.Summary
}

func TestKillTurnsFlagsOffWithoutTemporal(t *testing.T) {
	t.Parallel()
	k := newKillable(t)
	a := k.press(t, "worker.yaml")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "has not moved any flag yet\nTo keep it from moving one: contraflow pause split")

	k.use(t)
	a = k.press(t, "worker.yaml", "--context", "account:S3CRET")
	require.Zero(t, a.code, a.stderr)
	require.Contains(t, a.stdout, "Off for one account after")
	require.Contains(t, k.flag(t), "on: 100 % true")

	a = k.press(t, "worker.yaml", "--reason", "orders fail")
	require.Zero(t, a.code, a.stderr)
	require.Regexp(t, `^Off for everybody after \d+ ms: write-new\. The migration pauses\. Put them back and go on: contraflow resume split\. Undo it: contraflow rollback split\n$`, a.stdout)
	require.Regexp(t, `(?s)found in database shop: plan split, flags to turn off: write-new.*recorded in database shop.*write-new is off \(was on: 100 % true`, a.stderr)
	require.Equal(t, "off", k.flag(t))

	_, err := k.pool.Exec(t.Context(), `insert into contraflow.flag_record (plan, step, flag_key, before, ours) values ('split', 'write-new', 'write-new', '{}', '[]')`)
	require.NoError(t, err)
	require.NoError(t, k.ledger.Undoing(t.Context(), "split", k.me))
	a = k.press(t, "worker.yaml")
	require.Contains(t, a.stdout, "The migration is rolling back and goes on with that")
	_, err = k.pool.Exec(t.Context(), `delete from contraflow.flag_record`)
	require.NoError(t, err)
	a = k.press(t, "worker.yaml")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "rolls back, and has put back what it had moved\n")
	require.NotContains(t, a.stderr, "contraflow pause")
}

func TestKillOfAMigrationThatIsOver(t *testing.T) {
	t.Parallel()
	k := newKillable(t)
	k.use(t)
	require.NoError(t, k.ledger.Close(t.Context(), "split", k.me, "completed", true))
	a := k.press(t, "worker.yaml")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "split is over in shop, and may run where nobody answers: say with --database which one is meant; database other: ")
	require.Equal(t, "on: 100 % true", k.flag(t))
	a = k.press(t, "worker.yaml", "--database", "shop", "--json")
	require.Zero(t, a.code, a.stderr)
	var report kill.Report
	a.decode(t, &report)
	require.Equal(t, []any{"split", false, true, kill.Off}, []any{report.Plan, report.Running, report.Recorded, report.Flags[0].Outcome})
}

// The plan may have no flags any more, and then nothing watches the switch.
func TestKillTellsThatAnEarlierRunHasMovedTheFlags(t *testing.T) {
	t.Parallel()
	k := newKillable(t)
	k.use(t)
	next := k.me
	next.FirstRun = "the next run"
	require.NoError(t, k.ledger.Claim(t.Context(), "split", "h", next, k.me))
	a := k.press(t, "worker.yaml")
	require.Zero(t, a.code, a.stderr)
	require.Contains(t, a.stdout, "The migration pauses if its plan has flags still")
	require.Contains(t, a.stdout, "contraflow pause split")
	require.Equal(t, "off", k.flag(t))
	k.me = next
	k.use(t)
	a = k.press(t, "worker.yaml")
	require.Zero(t, a.code, a.stderr)
	require.Contains(t, a.stdout, " The migration pauses. Put them back")
}

func TestKillTellsWhichFlagsAreNotThere(t *testing.T) {
	t.Parallel()
	k := newKillable(t)
	k.use(t)
	require.NoError(t, k.ledger.UseFlag(t.Context(), "split", k.me, ledger.Scope{Project: "shop", Environment: "production"}, "deleted"))
	a := k.press(t, "worker.yaml")
	require.Zero(t, a.code, a.stderr)
	require.Regexp(t, `^Off for everybody after \d+ ms: write-new\. Not there, so that the fallback in the application's code decides: deleted\. The migration pauses\.`, a.stdout)
	require.Equal(t, "off", k.flag(t))
}

func TestKillWithoutTheDatabaseWantsThePlanAndSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	k := newKillable(t)
	a := k.press(t, "down.yaml")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "database shop: it does not answer\nThe plan's file names the flags, too: --plan FILE")
	require.Equal(t, "on: 100 % true", k.flag(t))

	a = k.press(t, "down.yaml", "--plan", filepath.Join(k.folder, "plan.yaml"))
	require.Equal(t, exitUnrecorded, a.code)
	require.Contains(t, a.stderr, "the flags are those of plan split, whatever migration split runs")
	require.Contains(t, a.stderr, "the flags are off, but it is not recorded")
	require.Contains(t, a.stderr, "NO RECORD: the migration does not pause by itself")
	require.Contains(t, a.stderr, "contraflow pause split")
	require.Contains(t, a.stderr, "Whether the old columns are still there is not known")
	require.Equal(t, "off", k.flag(t))

	a = k.press(t, "down.yaml", "--plan", filepath.Join(k.folder, "plan.yaml"), "--json")
	require.Equal(t, exitUnrecorded, a.code)
	var report pressed
	a.decode(t, &report)
	require.False(t, report.Recorded)
	require.Equal(t, exitUnrecorded, report.ExitCode)
	require.Equal(t, kill.Already, report.Flags[0].Outcome)

	a = k.press(t, "lost.yaml", "--plan", filepath.Join(k.folder, "plan.yaml"))
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "not all flags are off")
	require.Contains(t, a.stderr, "NO RECORD: the migration does not pause by itself")
	require.NotContains(t, a.stderr, "the flags are off, but")
}

func TestKillIsRefusedWithWhatToDo(t *testing.T) {
	t.Parallel()
	k := newKillable(t)
	k.use(t)
	require.NoError(t, k.ledger.PastReturn(t.Context(), "split", k.me, 0))
	for _, c := range []struct {
		code   int
		config string
		args   []string
		says   string
	}{
		{exitError, "worker.yaml", nil, "behind its point of no return: the old columns may be gone, and with its flags off the application would read what is not there\nTo turn the flags off all the same: --force"},
		{exitUsage, "twice.yaml", nil, "split runs in copy and in shop: say with --database which one is meant"},
		{exitError, "worker.yaml", []string{"--database", "nope"}, `has no database "nope"; it knows: other, shop`},
		{exitError, "worker.yaml", []string{"--database", "other"}, "databases.other.dsn: names the environment variable NOT_SET"},
		{exitError, "none.yaml", nil, "has no flag provider"},
		{exitUsage, "gone.yaml", nil, "name the worker's configuration with --config"},
		{exitUsage, "worker.yaml", []string{"--context", "S3CRET"}, "--context wants KIND:KEY"},
		{exitUsage, "worker.yaml", []string{"--context", "multi:S3CRET"}, `context kind "multi"`},
		{exitUsage, "worker.yaml", []string{"--context", "account:"}, "needs a key"},
		{exitUsage, "worker.yaml", []string{"--context", ""}, "--context wants KIND:KEY"},
		{exitUsage, "worker.yaml", []string{"--context", "account:a", "--context", "account:b"}, "--context is given several times: press once for each of them"},
		{exitUsage, "worker.yaml", []string{"--plan", "gone.yaml"}, "read the plan"},
	} {
		a := k.press(t, c.config, c.args...)
		require.Equal(t, c.code, a.code, a.stderr)
		require.Contains(t, a.stderr, c.says)
	}
	require.Equal(t, "on: 100 % true", k.flag(t))
	a := callAt(t, "127.0.0.1:1", "kill", "another", "--config", filepath.Join(k.folder, "worker.yaml"), "--database", "shop")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "no such migration on this database: another is not in shop\nSee what there is: contraflow list")

	a = k.press(t, "worker.yaml", "--force")
	require.Zero(t, a.code, a.stderr)
	require.Equal(t, "off", k.flag(t))
}

func TestKillIsRefusedWhileTheMigrationMayPassItsPointOfNoReturn(t *testing.T) {
	t.Parallel()
	k := newKillable(t)
	k.use(t)
	require.NoError(t, pgx.BeginFunc(t.Context(), k.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "update contraflow.migration set past_return_at = now()"); err != nil {
			return err
		}
		a := k.press(t, "worker.yaml")
		require.Equal(t, exitError, a.code)
		require.Contains(t, a.stderr, "split may be passing its point of no return at this moment, or ending: its row in the database is held\nPress again. To turn the flags off all the same: --force")
		return nil
	}))
	require.Equal(t, "on: 100 % true", k.flag(t))
}
