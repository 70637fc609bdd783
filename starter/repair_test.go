package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/repair"
)

// dirtyShop is a plan beside its files, a worker's configuration, and a database that is dirty at version 2.
func dirtyShop(t *testing.T, second string) (folder string, db pgtest.Database) {
	t.Helper()
	folder, db = t.TempDir(), pgtest.New(t)
	for name, text := range map[string]string{
		"plan.yaml":               "name: shop\ndatabase: shop\nmigrations: migrations\nsteps:\n  - name: expand\n    migrate: {to: 2}\n",
		"worker.yaml":             "plans: .\ndatabases:\n  shop: {dsn: \"file:dsn\"}\n  other: {dsn: \"file:dsn\"}\n",
		"dsn":                     db.DSN,
		"migrations/1_a.up.sql":   "create table a (n int);",
		"migrations/1_a.down.sql": "drop table a;",
		"migrations/2_b.up.sql":   second,
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	db.Exec(t, "create table a (n int); create table schema_migrations (version bigint not null primary key, dirty boolean not null); insert into schema_migrations values (2, true)")
	return folder, db
}

func repairOf(t *testing.T, folder string, args ...string) answer {
	t.Helper()
	return callAt(t, "127.0.0.1:1", append([]string{"repair", folder + "/plan.yaml", "--config", folder + "/worker.yaml"}, args...)...)
}

func TestRepairTellsWhatStandsAndWhatFollows(t *testing.T) {
	t.Parallel()
	folder, db := dirtyShop(t, "alter table a\n  add column m text default 'secret';\ncreate table b (n int);\n")
	command := "contraflow repair " + folder + "/plan.yaml --config " + folder + "/worker.yaml"

	a := repairOf(t, folder)
	require.Equal(t, exitError, a.code, a.stderr)
	require.Equal(t, `Database shop, schema public: version 2, dirty

WHERE         STATEMENT                        STANDING     WHY
2_b.up.sql:1  alter table a add column m text  not applied  there is no column a.m
2_b.up.sql:3  create table b                   not applied  there is no table b

Nothing of 2_b.up.sql stands.

  `+command+" --as unapplied\n", a.stdout)

	a = repairOf(t, folder, "--as", "applied")
	require.Equal(t, exitError, a.code)
	require.Equal(t, "2_b.up.sql is not applied: the catalog lacks what 2 statements make (line 1: there is no column a.m; line 3: there is no table b). Nothing was changed.\n"+
		"Statement by statement: "+command+"\n", a.stderr)

	db.Exec(t, "create table b (n int)")
	var found inspected
	repairOf(t, folder, "--json").decode(t, &found)
	require.Equal(t, command+" --finish", found.Command)
	require.Equal(t, "2_b.up.sql", found.Failed)
	require.Len(t, found.Files[0].Statements, 2)

	a = repairOf(t, folder, "--finish", "--by", "carol")
	require.Equal(t, exitOK, a.code, a.stderr)
	require.Equal(t, "Repaired: 2_b.up.sql: ran one statement that had not been applied; schema_migrations was at version 2, dirty and is at version 2 now.\n"+
		"golang-migrate and contraflow go on from here.\n", a.stdout)
	a = repairOf(t, folder)
	require.Equal(t, exitOK, a.code)
	require.Equal(t, "Database shop, schema public: version 2, clean\n\nThe database stands at version 2, clean. Nothing to repair.\n", a.stdout)
	a = repairOf(t, folder, "--as", "unapplied", "--database", "other", "--json")
	require.Equal(t, exitError, a.code)
	var failed failure
	a.decode(t, &failed)
	require.Equal(t, "The database stands at version 2, clean. Nothing to repair.", failed.Error)
}

func TestRepairRefusesWrongCalls(t *testing.T) {
	t.Parallel()
	folder, _ := dirtyShop(t, "create table b ();")
	for name, test := range map[string]struct {
		args []string
		code int
		said string
	}{
		"another word":      {[]string{"--as", "done"}, exitUsage, `--as is "done": say applied or unapplied`},
		"both ways":         {[]string{"--as", "applied", "--finish"}, exitUsage, "[as finish]"},
		"another direction": {[]string{"--direction", "left"}, exitUsage, `--direction is "left": say up or down`},
		"an unknown name":   {[]string{"--database", "nowhere"}, exitError, "it knows: other, shop"},
		"no such file":      {[]string{"--direction", "down"}, exitError, "no file that could have failed"},
		"no configuration":  {[]string{"--config", folder + "/none.yaml"}, exitUsage, "itself: name the worker's configuration with --config"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := repairOf(t, folder, test.args...)
			require.Equal(t, test.code, a.code, a.stdout+a.stderr)
			require.Contains(t, a.stdout+a.stderr, test.said)
		})
	}
	a := callAt(t, "127.0.0.1:1", "repair", folder+"/nothing.yaml")
	require.Equal(t, exitUsage, a.code)
}

func TestCommandsArePastedAsTheyStand(t *testing.T) {
	t.Parallel()
	for want, word := range map[string]string{"plans/a-b.yaml": "plans/a-b.yaml", "''": "", "'a b'": "a b", `'it'\''s'`: "it's", "'$(x)'": "$(x)"} {
		require.Equal(t, want, shellWord(word))
	}
}

func TestWhatElseIsLeftIsListed(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 7, 30, 0, 0, time.UTC)
	require.Equal(t, `Database shop, schema public: version 1, dirty; version 2, clean

schema_migrations has 2 rows

Worth a look:
  version 9 has no file

The migration lock is held by:
  pid 7 (migrate), active

Invalid indexes, of concurrent builds that failed:
  public.i on public.a: DROP INDEX CONCURRENTLY public.i;
  public.j on public.a is being built right now

Statements outside a transaction whose end nobody has seen:
  version 3 up of plan p, begun 2026-11-22T07:30:00Z: the next attempt asks a person

Versions that contraflow applied, above the one that stands (somebody else took them down):
  version 4 of plan p, applied 2026-11-22T07:30:00Z`, inspectedText(inspected{Database: "shop", Report: &repair.Report{
		Schema: "public", Rows: []ddl.Row{{Version: 1, Dirty: true}, {Version: 2}}, Verdict: "schema_migrations has 2 rows",
		Notes: []string{"version 9 has no file"}, Holders: []string{"pid 7 (migrate), active"},
		Invalid: []repair.InvalidIndex{{Index: "public.i", Table: "public.a", Drop: "DROP INDEX CONCURRENTLY public.i;"}, {Index: "public.j", Table: "public.a", Building: true}},
		Begun:   []repair.Intent{{Version: 3, Direction: "up", Plan: "p", Since: at, Next: "the next attempt asks a person"}},
		Above:   []repair.Version{{Version: 4, Plan: "p", Applied: at}},
	}}))
}

func TestAWaitIsToldOnce(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	tell := (&app{stderr: &stderr}).tellWait()
	wait := ddl.Waiting{Lock: "AccessExclusiveLock on a", Blockers: []ddl.Blocker{{PID: 7, Age: time.Second}}, Attempt: 1}
	tell(wait)
	wait.Blockers, wait.RetryIn, wait.Attempt = []ddl.Blocker{{PID: 7, Age: time.Minute}}, time.Second, 2
	tell(wait)
	tell(ddl.Waiting{})
	require.Equal(t, "Waiting for AccessExclusiveLock on a, blocked by pid 7 for 1s\n", stderr.String())
	wait.Blockers = []ddl.Blocker{{PID: 8}}
	tell(wait)
	require.Equal(t, 2, strings.Count(stderr.String(), "Waiting for"))
}
