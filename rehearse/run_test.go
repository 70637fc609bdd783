package rehearse

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/postgres"
	"github.com/contraflow/contraflow/plan"
)

// files of a migrations folder.
func files(t *testing.T, bodies map[string]string) *ddl.Files {
	t.Helper()
	folder := fstest.MapFS{}
	for name, body := range bodies {
		folder[name] = &fstest.MapFile{Data: []byte(body)}
	}
	read, err := ddl.ReadFiles(folder)
	require.NoError(t, err)
	return read
}

func planOf(t *testing.T, document string) *plan.Plan {
	t.Helper()
	p, err := plan.Decode("plan.yaml", []byte("name: p\ndatabase: shop\nmigrations: m\nsteps:\n"+document))
	require.NoError(t, err)
	return p
}

// shop stands at version 1, and has rows that nobody else may see.
const shop = `create table customers (id bigint primary key, address text not null, code varchar(10));
	insert into customers select n, 'hidden ' || n from generate_series(1, 12345) n; analyze customers;
	create table events (id bigint, at date) partition by range (at);
	create table events_1 partition of events for values from ('2024-01-01') to ('2025-01-01');
	insert into events select n, '2024-05-05' from generate_series(1, 2000) n; analyze events;
	create function twice(n bigint) returns bigint language sql as $$ select n * 2; -- two
	$$;
	create schema contraflow; create table contraflow.audit (what text);
	create function contraflow."sync p fill"() returns trigger language plpgsql as 'begin return new; end';
	create trigger zz_contraflow_sync before insert on customers for each row when (new.code is null) execute function contraflow."sync p fill"();
	comment on trigger zz_contraflow_sync on customers is 'keeps street in step';
	create table schema_migrations (version bigint not null primary key, dirty boolean not null);
	insert into schema_migrations values (1, false);`

var shopFiles = map[string]string{
	"1_base.up.sql": "select 1", "1_base.down.sql": "select 1",
	"2_street.up.sql":   "alter table customers add street text;\n\nalter table customers add number uuid default gen_random_uuid();",
	"2_street.down.sql": "alter table customers drop number, drop street;",
	"3_wider.up.sql":    "-- contraflow: no-transaction\ncreate index concurrently customers_street on customers (street)",
	"3_wider.down.sql":  "-- contraflow: no-transaction\ndrop index concurrently customers_street",
	"4_old.up.sql":      "alter table customers drop address; create index on events (at);",
}

const shopPlan = `
  - name: expand
    migrate: {to: 3}
  - name: proof
    verify: {query: select count(street) from customers, max: 0}
  - name: cutover
    approve: {by: [alice]}
  - name: contract
    migrate: {to: 4, irreversible: true}`

func TestARehearsalTellsWhatThePlanWouldDoToTheTarget(t *testing.T) {
	t.Parallel()
	for name, scratch := range map[string]func(*testing.T) string{
		"on a throwaway server": func(*testing.T) string { return "" },
		"on a server of theirs": scratchFor,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := pgtest.New(t)
			target.Exec(t, shop)
			var said []string
			report, err := Run(t.Context(), Options{Plan: planOf(t, shopPlan), Hash: "h", Files: files(t, shopFiles), Target: target.DSN,
				Scratch: scratch(t), Report: func(line string) { said = append(said, line) }})
			require.NoError(t, err)
			var told []string
			for _, s := range report.Statements {
				require.Empty(t, s.Problem)
				told = append(told, strings.Join([]string{s.Step, s.Where(), string(s.Verdict)}, " "))
			}
			require.Equal(t, []string{
				"expand 2_street.up.sql:1 instant",
				"expand 2_street.up.sql:3 blocks everything for a rewrite",
				"expand 3_wider.up.sql:2 works beside traffic",
				"contract 4_old.up.sql:1 instant",
				"contract 4_old.up.sql:1 blocks everything for a scan",
			}, told)
			require.Equal(t, int64(12345), report.Statements[1].Rewrites[0].Rows)
			require.Positive(t, report.Statements[1].Rewrites[0].Bytes)
			require.Contains(t, report.Statements[4].Locks, Lock{Relation: "events", Mode: "SHARE", Size: Size{Name: "events", Rows: 2000, Bytes: report.Statements[4].Builds[0].Bytes}},
				"a partitioned table is as large as its partitions")
			require.Equal(t, &Down{Versions: []uint{3, 2}, Identical: true}, report.Down)
			require.Equal(t, uint(1), report.From)
			require.Equal(t, report.Server, report.Scratch)
			require.NotEmpty(t, said)

			text, err := json.Marshal(report)
			require.NoError(t, err)
			for _, s := range []string{string(text), strings.Join(said, "\n")} {
				require.NotContains(t, s, "hidden")
				require.NotContains(t, s, pgtest.Cluster(t).Password)
			}
		})
	}
}

func TestNothingIsLeftOfARehearsal(t *testing.T) { // not parallel: it watches the folder of temporary files
	server, err := postgres.Start(t.Context(), postgres.Options{Settings: map[string]string{"fsync": "off"}})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	theirs := server.DSN(postgres.Superuser, "postgres")
	target := pgtest.New(t)
	target.Exec(t, shop)
	temporary := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(temporary), 0o755)) // the server runs as another user if we are root
	t.Setenv("TMPDIR", temporary)
	for _, scratch := range []string{"", theirs} {
		for _, last := range []string{"Copying", "Applying 3_wider", "Taking", "Trying", "none"} {
			ctx, cancel := context.WithCancel(t.Context())
			reached := false
			_, err := Run(ctx, Options{Plan: planOf(t, shopPlan), Files: files(t, shopFiles), Target: target.DSN, Scratch: scratch, Report: func(line string) {
				if strings.HasPrefix(line, last) {
					reached = true
					cancel()
				}
			}})
			if last == "none" {
				require.NoError(t, err)
			} else {
				require.True(t, reached, last)
				require.ErrorIs(t, err, context.Canceled)
			}
			cancel()
			left, err := os.ReadDir(temporary)
			require.NoError(t, err)
			require.Empty(t, left, last)
			require.Empty(t, databases(t, theirs), last)
		}
	}
}

// databases that rehearsals have on a server.
func databases(t *testing.T, dsn string) []string {
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer closeConn(t.Context(), conn)
	names, err := texts(t.Context(), conn, "select datname from pg_database where datname like '"+scratchPrefix+"%'")
	require.NoError(t, err)
	return names
}

func TestTheTargetIsOnlyRead(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(t, shop)
	target, err := openTarget(t.Context(), db.DSN, files(t, shopFiles))
	require.NoError(t, err)
	defer target.close(t.Context())
	for _, sql := range []string{"insert into customers values (0, '')", "create table x ()"} {
		_, err := target.conn.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "25006", sql)
	}
}

func TestWhatKeepsItFromRehearsingIsOneClearError(t *testing.T) {
	t.Parallel()
	target := pgtest.New(t)
	target.Exec(t, shop)
	o := Options{Plan: planOf(t, shopPlan), Files: files(t, shopFiles), Target: target.DSN, Scratch: scratchFor(t)}
	require.NoError(t, somebodysServer(t).CreateRole(t.Context(), "creator_of_none"))
	for want, change := range map[string]func(*Options){
		"connection string of the target database is malformed":  func(o *Options) { o.Target = "postgres://u:hidden@:x" },
		"connection string of the scratch server is malformed":   func(o *Options) { o.Scratch = "postgres://u:hidden@:x" },
		"connect to the target database: refused by the server":  func(o *Options) { o.Target = strings.Replace(o.Target, target.Name, "nowhere", 1) },
		"connect to the scratch server: refused by the server":   func(o *Options) { o.Scratch += "&user=hidden" },
		"stands at version 1, which has no file in this folder":  func(o *Options) { o.Files = files(t, map[string]string{"3_x.up.sql": "", "4_x.up.sql": ""}) },
		"create a database on the scratch server: ERROR: permis": func(o *Options) { o.Scratch = somebodysServer(t).DSN("creator_of_none", "postgres") },
		"the scratch server is the target's own":                 func(o *Options) { o.Scratch = target.SuperDSN },
	} {
		o := o
		change(&o)
		_, err := Run(t.Context(), o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hidden")
	}
	target.Exec(t, "update schema_migrations set dirty = true")
	_, err := Run(t.Context(), o)
	require.ErrorIs(t, err, ddl.ErrDirty)
	read, err := openTarget(t.Context(), o.Target, o.Files)
	require.NoError(t, err)
	defer read.close(t.Context())
	read.rights.extensions = append(read.rights.extensions, grant{What: "unheard_of"})
	_, err = newScratch(t.Context(), o.Scratch, read)
	require.ErrorContains(t, err, "lacks extensions that the target has: unheard_of")
	read.major--
	_, err = newScratch(t.Context(), o.Scratch, read)
	require.ErrorContains(t, err, "locks and rewrites differ")
}

func TestARoleThatMayNotReadEveryTableIsTold(t *testing.T) {
	t.Parallel()
	target := pgtest.New(t)
	target.Exec(t, shop+"grant select on schema_migrations to public")
	require.NoError(t, pgtest.Cluster(t).CreateRole(t.Context(), "nobody_much"))
	_, err := Run(t.Context(), Options{Plan: planOf(t, shopPlan), Files: files(t, shopFiles), Scratch: scratchFor(t),
		Target: pgtest.Cluster(t).DSN("nobody_much", target.Name)})
	require.ErrorContains(t, err, "permission denied for table ")
	require.ErrorContains(t, err, "pg_read_all_data")
	require.NotContains(t, err.Error(), "LOCK TABLE")
}
