package ddl

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// buildCLI builds golang-migrate's command line, the version that go.mod names, as its users do.
func buildCLI(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "migrate")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "pgx5", "-o", program,
		"github.com/golang-migrate/migrate/v4/cmd/migrate").CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

// command of golang-migrate on the bundle's database.
func (b bundle) command(t *testing.T, program, folder string, args ...string) *exec.Cmd {
	t.Helper()
	_, rest, _ := strings.Cut(b.db.DSN, "://")
	return exec.CommandContext(t.Context(), program, append([]string{"-source", "file://" + folder, "-database", "pgx5://" + rest}, args...)...)
}

func TestTheStockCommandLineWorksBeforeBetweenAndAfter(t *testing.T) {
	t.Parallel()
	program, folder := buildCLI(t), write(t, three)
	b := setup(t, three)
	e := b.engine("p")
	cli := func(args ...string) string {
		t.Helper()
		out, err := b.command(t, program, folder, args...).CombinedOutput()
		require.NoError(t, err, string(out))
		return strings.TrimSpace(string(out))
	}

	cli("up", "1")
	b.requireState(t, at(1))
	require.Equal(t, "1", cli("version"))
	require.NoError(t, e.Up(t.Context(), 2, ""))
	require.Equal(t, "2", cli("version"))
	cli("up", "1")
	b.requireState(t, at(4))
	require.Equal(t, "4", cli("version"))
	require.Contains(t, cli("up"), "no change")
	cli("down", "1")
	b.requireState(t, at(2))
	require.NoError(t, e.Up(t.Context(), 4, ""))
	require.NoError(t, e.Down(t.Context(), 4, ""))
	require.NoError(t, e.Down(t.Context(), 2, ""))
	b.requireState(t, at(1))
	cli("down", "-all")
	b.requireState(t, State{})
	require.NoError(t, e.Up(t.Context(), 1, ""))
	require.Equal(t, "1", cli("version"))
}

func TestTheStockCommandLineWaitsForUsAndWeForIt(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"1_a.up.sql": "create table a ()",
		"2_b.up.sql": "select pg_advisory_xact_lock(1); create table b ()", // runs until the test lets it
		"3_c.up.sql": "create table c ()",
	}
	program, folder := buildCLI(t), write(t, files)
	b := setup(t, files)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	waitsFor := func(lock, client string) func() bool {
		return func() bool {
			return one[bool](t, b, `select exists (select from pg_locks l join pg_stat_activity a using (pid)
				where a.datname = current_database() and l.locktype = 'advisory' and not l.granted
				and (l.objid = 1) = ($1 = 'the file''s') and (a.application_name = 'ddl test') = ($2 = 'ours'))`, lock, client)
		}
	}

	b.exec(t, "select pg_advisory_lock(1)")
	patient := New(b.pool, b.files, Options{Plan: "p", LockTimeout: patience}) // the file's own lock is not the one to give up
	ended := make(chan error, 2)
	go func() { ended <- patient.Up(t.Context(), 2, "") }()
	require.Eventually(t, waitsFor("the file's", "ours"), patience, look)
	go func() {
		ended <- b.command(t, program, folder, "up").Run()
	}()
	require.Eventually(t, waitsFor("the migration's", "theirs"), patience, look, "it waits for our lock")
	b.requireState(t, at(1))
	b.exec(t, "select pg_advisory_unlock(1)")
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
	b.requireState(t, at(3))
	require.Equal(t, "p", one[string](t, b, "select plan from contraflow.ddl_version where version = 2"))

	b.exec(t, "delete from schema_migrations; insert into schema_migrations values (1, false); drop table b, c; select pg_advisory_lock(1)")
	go func() { ended <- b.command(t, program, folder, "up", "1").Run() }()
	require.Eventually(t, waitsFor("the file's", "theirs"), patience, look)
	saw, told := context.WithCancel(t.Context())
	waiting := New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, OnWait: func(w Waiting) {
		if w.Lock == "the migration lock" {
			told()
		}
	}})
	go func() { ended <- waiting.Up(t.Context(), 3, "") }()
	<-saw.Done()
	require.False(t, b.has(t, "c"))
	b.exec(t, "select pg_advisory_unlock(1)")
	require.NoError(t, <-ended)
	require.NoError(t, <-ended)
	b.requireState(t, at(3))
}
