package ddl

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestForceWritesWhatWasDecidedInOneTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	e := b.engine("p")
	require.NoError(t, e.Up(t.Context(), 1, ""))
	require.NoError(t, e.Up(t.Context(), 2, ""))
	b.exec(t, "update schema_migrations set version = 1, dirty = true")
	b.exec(t, "insert into contraflow.ddl_intent (schema_name, version, direction, plan, statement_sha) values ('public', 2, 'down', 'p', 'x'), ('public', 4, 'up', 'p', 'x')")

	force := func(f Forced, refuse error) error {
		return e.Force(t.Context(), func(_ context.Context, _ pgx.Tx, r Record) (Forced, error) {
			require.Equal(t, Record{Schema: "public", Exists: true, Rows: []Row{{Version: 1, Dirty: true}}}, r)
			return f, refuse
		})
	}
	refusal := errors.New("no")
	require.ErrorIs(t, force(Forced{}, refusal), refusal)

	broken := Forced{To: at(1), Version: 2, File: "2.sql", SQL: "alter table a drop column b;\nselect nothing;"}
	var failed *StatementError
	require.ErrorAs(t, force(broken, nil), &failed)
	require.Equal(t, 2, failed.Line)
	require.ErrorIs(t, force(Forced{File: "2.sql", SQL: "alter table a drop column b; commit;"}, nil), ErrScript)
	b.requireState(t, State{Version: 1, Exists: true, Dirty: true})
	require.True(t, one[bool](t, b, "select exists (select from pg_attribute where attrelid = 'a'::regclass and attname = 'b')"))

	require.NoError(t, force(Forced{To: at(1), Version: 2, File: "2.sql", SQL: "alter table a drop column b", Plan: "p", By: "carol", Detail: "done"}, nil))
	b.requireState(t, at(1))
	require.False(t, one[bool](t, b, "select exists (select from pg_attribute where attrelid = 'a'::regclass and attname = 'b')"))
	require.Equal(t, []int64{1}, one[[]int64](t, b, "select array_agg(version) from contraflow.ddl_version"))
	require.Equal(t, []int64{4}, one[[]int64](t, b, "select array_agg(version) from contraflow.ddl_intent"))
	require.Equal(t, "p carol done", one[string](t, b, "select concat_ws(' ', plan, actor, detail) from contraflow.audit where event = 'repaired'"))
	require.NoError(t, e.Up(t.Context(), 2, ""))
}

func TestForceLeavesNoVersion(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	holders, err := b.engine("p").Holders(t.Context())
	require.NoError(t, err)
	require.Empty(t, holders, "a change lets the migration lock go before it says that it is done")
	require.NoError(t, b.engine("p").Force(t.Context(), func(context.Context, pgx.Tx, Record) (Forced, error) {
		return Forced{Version: 1}, nil
	}))
	b.requireState(t, State{})
}

func TestForceDoesNotWaitForWhoeverChangesTheSchema(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	theirs := b.byURL(t)
	require.NoError(t, theirs.Lock())
	err := b.engine("p").Force(t.Context(), func(context.Context, pgx.Tx, Record) (Forced, error) {
		return Forced{}, errors.New("it has looked")
	})
	var busy *BusyError
	require.ErrorAs(t, err, &busy)
	require.Len(t, busy.Holders, 1)
	require.ErrorContains(t, err, "it is held by pid")
	holders, err := b.engine("p").Holders(t.Context())
	require.NoError(t, err)
	require.Len(t, holders, 1)
}
