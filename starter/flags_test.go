package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

// stale is a worker's configuration with two databases and a flag service.
type stale struct {
	folder      string
	shop, stock *ledger.Ledger
	shopDB      pgtest.Database
	flagd       *flagserver.Server
}

const (
	staleToken = "S3CRET-API-TOKEN"
	staleKey   = "S3CRET-SDK-KEY"
)

func setupStale(t *testing.T) *stale {
	t.Helper()
	s := &stale{folder: t.TempDir()}
	s.flagd = flagserver.New(flagserver.Options{Project: "shop", Environment: "production", APIToken: staleToken, SDKKey: staleKey})
	require.NoError(t, s.flagd.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = s.flagd.Close() })
	open := func(name string) (*ledger.Ledger, pgtest.Database) {
		db := pgtest.New(t)
		s.write(t, name, db.DSN)
		pool, err := pg.Open(t.Context(), db.DSN, pg.Settings{})
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		require.NoError(t, pg.EnsureSchema(t.Context(), pool))
		return ledger.New(pool), db
	}
	s.shop, s.shopDB = open("shop")
	s.stock, _ = open("stock")
	s.write(t, "token", staleToken)
	s.write(t, "key", staleKey)
	s.configure(t, "flags: {launchdarkly: {token: \"file:token\", sdkKey: \"file:key\", apiURL: \""+s.flagd.URL()+"\", streamURL: \""+s.flagd.URL()+"\"}}\n")
	return s
}

func (s *stale) write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(s.folder, name), []byte(text), 0o600))
}

func (s *stale) configure(t *testing.T, flags string) {
	t.Helper()
	s.write(t, "worker.yaml", "plans: .\ndatabases: {shop: {dsn: \"file:shop\"}, stock: {dsn: \"file:stock\"}}\n"+flags)
}

// ran brings a run of a plan to its end, some hours ago.
func (s *stale) ran(t *testing.T, l *ledger.Ledger, plan, owner, outcome string, keys ...string) {
	t.Helper()
	s.ranAs(t, l, plan, ledger.Holder{Migration: plan, FirstRun: "run of " + plan, Owner: owner}, outcome, keys...)
}

func (s *stale) ranAs(t *testing.T, l *ledger.Ledger, plan string, me ledger.Holder, outcome string, keys ...string) {
	t.Helper()
	require.NoError(t, l.Claim(t.Context(), plan, "h", me, ledger.Holder{}))
	for _, key := range keys {
		require.NoError(t, l.UseFlag(t.Context(), plan, me, ledger.Scope{Project: "shop", Environment: "production"}, key))
	}
	if outcome != "" {
		require.NoError(t, l.Close(t.Context(), plan, me, outcome, true))
	}
}

func (s *stale) patch(t *testing.T, key, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, s.flagd.URL()+"/api/v2/flags/shop/"+key, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", staleToken)
	r.Header.Set("LD-API-Version", "20240415")
	r.Header.Set("Content-Type", "application/json; domain-model=launchdarkly.semanticpatch")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

func (s *stale) call(t *testing.T, args ...string) answer {
	t.Helper()
	return s.callAt(t, "127.0.0.1:1", args...) // where no Temporal is
}

func (s *stale) callAt(t *testing.T, temporal string, args ...string) answer {
	t.Helper()
	a := callAt(t, temporal, append([]string{"flags", "stale", "--config", s.folder + "/worker.yaml"}, args...)...)
	for _, secret := range []string{"S3CRET", pgtest.Cluster(t).Password, "postgres://"} {
		require.NotContains(t, a.stdout+a.stderr, secret)
	}
	return a
}

// listed are the flags of an answer as JSON.
func listed(t *testing.T, a answer) (out []string) {
	t.Helper()
	var list staleFlags
	a.decode(t, &list)
	for _, f := range list.Flags {
		out = append(out, f.Database+" "+f.Plan+" "+f.Flag)
	}
	return out
}

func TestFlagsThatWereNeverRetiredAreListed(t *testing.T) {
	t.Parallel()
	s := setupStale(t)
	a := s.call(t, "--exit-code")
	require.Equal(t, answer{stdout: "No flag of a finished migration is left.\n"}, a)

	for _, key := range []string{"write-new", "read-new", "stock-new", "retry-new", "fresh-new"} {
		require.NoError(t, s.flagd.CreateFlag(key))
	}
	s.ran(t, s.shop, "split-address", "customers-team", "completed", "write-new", "read-new")
	s.ran(t, s.stock, "count-stock", "", "completed", "stock-new")
	s.ran(t, s.stock, "try", "", "rolled_back", "retry-new")
	s.ran(t, s.stock, "running", "", "", "fresh-new")
	s.shopDB.Exec(t, "update contraflow.migration set ended_at = now() - interval '41 days 3 hours'")
	s.patch(t, "write-new", `{"environmentKey": "production", "instructions": [{"kind": "turnFlagOn"}]}`)

	a = s.call(t)
	require.Equal(t, exitOK, a.code, a.stderr)
	require.Contains(t, a.stderr, "not known whether these still run, and their flags not listed: running (connect to Temporal at 127.0.0.1:1")
	require.Equal(t, 1, strings.Count(a.stderr, "\n"))
	lines := strings.Split(a.stdout, "\n")
	require.Equal(t, "FLAG       PLAN           OWNER           OUTCOME    FINISHED     SERVES NOW      STATUS", lines[0])
	require.Equal(t, "read-new   split-address  customers-team  completed  41 days ago  off             new, never asked for", lines[1])
	require.Equal(t, "write-new  split-address  customers-team  completed  41 days ago  on: 100 % true  new, never asked for", lines[2])
	require.Regexp(t, `^stock-new  count-stock    -               completed  \d+ (s|min) ago +off             new, never asked for$`, lines[3])
	require.Len(t, lines, 5)
	require.Equal(t, exitError, s.call(t, "--exit-code").code)

	a = s.call(t, "--all", "--json")
	require.Equal(t, exitOK, a.code)
	require.Equal(t, []string{"shop split-address read-new", "shop split-address write-new", "stock count-stock stock-new", "stock try retry-new"}, listed(t, a))
}

func TestAFlagThatWasArchivedByHandIsNoted(t *testing.T) {
	t.Parallel()
	s := setupStale(t)
	require.NoError(t, s.flagd.CreateFlag("write-new"))
	require.NoError(t, s.flagd.CreateFlag("read-new"))
	s.ran(t, s.shop, "expand", "", "completed", "write-new", "gone")
	s.ran(t, s.shop, "contract", "", "completed", "write-new", "read-new")
	s.patch(t, "write-new", `{"instructions": [{"kind": "archiveFlag"}]}`)
	a := s.call(t)
	require.Equal(t, exitOK, a.code)
	require.Equal(t, "not in the flag service, and left out: gone\n", a.stderr)
	require.Equal(t, 2, strings.Count(a.stdout, "\n"))
	require.Contains(t, a.stdout, "read-new")

	left, err := s.shop.Unretired(t.Context())
	require.NoError(t, err)
	var keys []string
	for _, f := range left {
		keys = append(keys, f.Key)
	}
	require.ElementsMatch(t, []string{"gone", "read-new"}, keys)
}

func TestADatabaseThatDoesNotAnswerHidesNoOther(t *testing.T) {
	t.Parallel()
	s := setupStale(t)
	require.NoError(t, s.flagd.CreateFlag("stock-new"))
	s.ran(t, s.stock, "count-stock", "", "completed", "stock-new")
	s.write(t, "shop", "postgres://nobody:S3CRET@127.0.0.1:1/shop")
	a := s.call(t)
	require.Equal(t, exitError, a.code, "the list may be short")
	require.Equal(t, "database shop: it does not answer\n", a.stderr)
	require.Contains(t, a.stdout, "stock-new")

	require.NoError(t, os.Remove(filepath.Join(s.folder, "shop")))
	a = s.call(t, "--json")
	require.Equal(t, exitError, a.code)
	require.Equal(t, []string{"stock count-stock stock-new"}, listed(t, a))
	require.Contains(t, a.stdout, "databases.shop.dsn: names a file that can't be read")

	require.NoError(t, os.Remove(filepath.Join(s.folder, "stock")))
	a = s.call(t)
	require.Equal(t, exitError, a.code)
	require.Equal(t, "Not known whether a flag of a finished migration is left.\n", a.stdout)
}

func TestADatabaseThatIsSilentTakesNoTimeFromTheFlags(t *testing.T) {
	t.Parallel()
	s := setupStale(t)
	require.NoError(t, s.flagd.CreateFlag("stock-new"))
	s.ran(t, s.stock, "count-stock", "", "completed", "stock-new")
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, silent.Close()) })
	s.write(t, "shop", "postgres://nobody:S3CRET@"+silent.Addr().String()+"/shopdb?sslmode=disable")
	a := s.call(t)
	require.Equal(t, exitError, a.code)
	require.Equal(t, "database shop: it does not answer within 10s\n", a.stderr)
	require.Contains(t, a.stdout, "new, never asked for")
}

// A token that may no longer see the project hears the same as one that asks for a flag which is gone.
func TestAProjectOfWhichNothingIsFoundIsListed(t *testing.T) {
	t.Parallel()
	s := setupStale(t)
	s.ran(t, s.stock, "count-stock", "", "completed", "stock-new", "st\x1b[31mock")
	a := s.call(t, "--exit-code")
	require.Equal(t, exitError, a.code)
	require.Equal(t, "no flag of project shop, environment production is found: look whether they are still called so, and whether this configuration sees them\n", a.stderr)
	require.Equal(t, 2, strings.Count(a.stdout, " not found "))
	s.write(t, "token", "S3CRET-WRONG")
	a = s.call(t)
	require.NotContains(t, a.stdout+a.stderr, "\x1b")
	require.Contains(t, a.stderr, "not known what these serve now: st [31mock, stock-new")
}

func TestWithoutDatabasesThereIsNothingToAsk(t *testing.T) {
	t.Parallel()
	s := setupStale(t)
	for _, body := range []string{"", "flags: {launchdarkly: {token: \"file:token\", sdkKey: \"file:key\"}}\n"} {
		s.write(t, "worker.yaml", body)
		a := s.call(t)
		require.Equal(t, exitError, a.code)
		require.Empty(t, a.stdout)
		require.Contains(t, a.stderr, "worker.yaml: databases: is empty: name at least one")
	}
}

func TestWithoutAFlagServiceTheDatabasesAreToldOf(t *testing.T) {
	t.Parallel()
	s := setupStale(t)
	s.ran(t, s.shop, "split-address", "", "completed", "write-new", "read-new")
	require.NoError(t, s.flagd.Close())
	a := s.call(t)
	require.Equal(t, exitOK, a.code)
	require.Contains(t, a.stderr, "not known what these serve now: read-new, write-new; of read-new: ")
	require.Equal(t, 1, strings.Count(a.stderr, "\n"))
	require.Contains(t, a.stdout, "not known   not known")

	s.configure(t, "")
	a = s.call(t, "--exit-code")
	require.Equal(t, exitError, a.code)
	require.Equal(t, "the worker's configuration has no flag provider: add flags to it; what flags serve now is not known\n", a.stderr)
	require.Contains(t, a.stdout, "write-new")
}

func TestFlagsSaysHowItIsCalled(t *testing.T) {
	t.Parallel()
	a := callAt(t, "127.0.0.1:1", "flags")
	require.Equal(t, exitOK, a.code)
	require.Contains(t, a.stdout, "stale")
	for _, args := range [][]string{{"flags", "stail"}, {"flags", "stale", "shop"}, {"flags", "stale", "--al"}} {
		a = callAt(t, "127.0.0.1:1", args...)
		require.Equal(t, exitUsage, a.code, args)
	}
	a = callAt(t, "127.0.0.1:1", "flags", "stale", "--config", t.TempDir()+"/none.yaml")
	require.Equal(t, exitUsage, a.code)
	require.Contains(t, a.stderr, "name the worker's configuration with --config")
	s := setupStale(t)
	require.NoError(t, os.Remove(filepath.Join(s.folder, "token")))
	a = s.call(t)
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "flags.launchdarkly.token: names a file that can't be read")
	require.NotContains(t, a.stderr, "--config", "it was given, and found")
}

func TestTheTableOfStaleFlagsLinesUp(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	on, off := "on: 100 % true", "off"
	require.Equal(t, "FLAG       PLAN           OWNER           OUTCOME      FINISHED     SERVES NOW      STATUS\n"+
		"write-new  split-address  customers-team  completed    41 days ago  on: 100 % true  launched, asked for 3 min ago\n"+
		"read-new   split-address  a b             rolled back  26 h ago     off             inactive, asked for 9 days ago\n"+
		"x          p              -               failed       0 s ago      off             not known\n"+
		"y          p              -               failed       0 s ago      not known       not known",
		staleTable(staleFlags{Flags: []staleFlag{
			{
				Flag: "write-new", Plan: "split-address", Owner: "customers-team", Outcome: "completed", Finished: now.Add(-41 * 24 * time.Hour),
				Serves: &on, Status: &flags.Status{Activity: flags.Launched, LastRequested: now.Add(-3 * time.Minute)},
			},
			{
				Flag: "read-new", Plan: "split-address", Owner: "a\x1b\nb", Outcome: "rolled_back", Finished: now.Add(-26 * time.Hour),
				Serves: &off, Status: &flags.Status{Activity: flags.Inactive, LastRequested: now.Add(-9 * 24 * time.Hour)},
			},
			{Flag: "x", Plan: "p", Outcome: "failed", Finished: now.Add(time.Hour), Serves: &off, Status: &flags.Status{Activity: flags.Unknown}},
			{Flag: "y", Plan: "p", Outcome: "failed", Finished: now},
		}}, now))
}
