package backfill_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

// parsing is a spec over rows of which some hold no number.
func parsing() backfill.Spec {
	return backfill.Spec{Plan: "plan", Step: "parse", Table: "texts", Where: "n is null",
		Set: []backfill.Assignment{{Column: "n", Expr: "label::integer"}}}
}

const texts = `create table texts (tenant text, id integer, label text, n integer check (n < 1000), primary key (tenant, id));
	insert into texts (tenant, id, label) values ('a', 1, 'poison-1'), ('a', 2, '7'), ('b', 1, '5000'), ('b', 2, 'poison-2')`

// aside sets a row aside as a lane does.
func (b bundle) aside(t *testing.T, spec backfill.Spec, key ...string) {
	t.Helper()
	b.exec(t, `insert into contraflow.backfill_reject (plan, step, hash, key, code, message) values ($1, $2, $3, $4, '22P02', 'first')`,
		spec.Plan, spec.Step, spec.Hash(), key)
}

func TestRejectsAreListedByStepAndPlan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	spec, other, foreign := parsing(), parsing(), parsing()
	other.Step, foreign.Plan = "later", "another"
	b.aside(t, spec, "a", "1")
	b.aside(t, other, "b", "2")
	b.aside(t, foreign, "c", "3")

	all, err := b.Rejects(t.Context(), "plan", "")
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, "later", all[0].Step)
	require.False(t, all[0].At.IsZero())

	of, err := b.Rejects(t.Context(), "plan", "parse")
	require.NoError(t, err)
	require.Equal(t, []backfill.Reject{{Step: "parse", Key: []string{"a", "1"}, Code: "22P02", Message: "first", Tries: 1, At: all[1].At}}, of)

	none, err := b.Rejects(t.Context(), "unknown", "")
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestARejectIsTriedAgainUntilItIsFilled(t *testing.T) {
	t.Parallel()
	b := setup(t, texts)
	spec := parsing()
	b.aside(t, spec, "a", "1") // refused again, by its text
	b.aside(t, spec, "a", "2") // can be filled
	b.aside(t, spec, "b", "1") // refused again, by a constraint
	b.aside(t, spec, "b", "9") // its row is gone

	done, err := b.RetryRejects(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, backfill.Retried{Tried: 4, Filled: 1, Left: 2}, done)
	require.Equal(t, 7, scalar[int](t, b, "select n from texts where tenant = 'a' and id = 2"))
	left, err := b.Rejects(t.Context(), "plan", "parse")
	require.NoError(t, err)
	require.Len(t, left, 2)
	require.Equal(t, []string{"22P02", "23514"}, []string{left[0].Code, left[1].Code})
	for _, r := range left {
		require.Equal(t, 2, r.Tries)
		require.NotContains(t, r.Message, "poison")
		require.NotContains(t, r.Message, "5000")
	}

	b.exec(t, "update texts set label = '8' where label = 'poison-1'")
	b.exec(t, "update texts set n = 1 where tenant = 'b' and id = 1")
	done, err = b.RetryRejects(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, backfill.Retried{Tried: 2, Filled: 1}, done, "one was mended by hand and matches no more")
	left, err = b.Rejects(t.Context(), "plan", "")
	require.NoError(t, err)
	require.Empty(t, left)
	require.Equal(t, 1, scalar[int](t, b, "select n from texts where tenant = 'b' and id = 1"))
	require.Nil(t, scalar[*int](t, b, "select n from texts where tenant = 'b' and id = 2"), "it was never set aside")

	done, err = b.RetryRejects(t.Context(), spec)
	require.NoError(t, err)
	require.Zero(t, done)
}

func TestADeferredConstraintRefusesAtTheCommit(t *testing.T) {
	t.Parallel()
	b := setup(t, `create table parents (id integer primary key); insert into parents values (1);
		create table texts (id integer primary key, label text, n integer references parents deferrable initially deferred);
		insert into texts (id, label) values (1, '1'), (2, '2')`)
	spec := parsing()
	b.aside(t, spec, "1")
	b.aside(t, spec, "2")
	done, err := b.RetryRejects(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, backfill.Retried{Tried: 2, Filled: 1, Left: 1}, done)
	left, err := b.Rejects(t.Context(), "plan", "parse")
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, "23503", left[0].Code)
}

func TestAStatementThatCannotRunIsNoRowsFault(t *testing.T) {
	t.Parallel()
	b := setup(t, texts)
	spec := parsing()
	b.aside(t, spec, "a", "2")
	b.exec(t, "alter table texts drop column label")
	_, err := b.RetryRejects(t.Context(), spec)
	var statement *backfill.StatementError
	require.ErrorAs(t, err, &statement)
	require.Equal(t, "42703", statement.Code)
	b.exec(t, "alter table texts drop column n")
	_, err = b.RetryRejects(t.Context(), spec)
	require.ErrorIs(t, err, backfill.ErrNoColumn)
	left, err := b.Rejects(t.Context(), "plan", "parse")
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, 1, left[0].Tries)
}

func TestATransformTriesItsRejectsAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, texts)
	parse := func(_ context.Context, rows [][]any) ([][]any, error) {
		answer := make([][]any, len(rows))
		for i, row := range rows {
			n, err := strconv.Atoi(row[0].(string))
			if err != nil {
				return nil, &backfill.RowError{Row: i, Err: errors.New("no number: " + row[0].(string))}
			}
			answer[i] = []any{n}
		}
		return answer, nil
	}
	b.Engine = backfill.New(b.pool, backfill.WithTransforms(map[string]backfill.Transform{
		"parse": {Read: []string{"label"}, Write: []string{"n"}, Rows: parse}}))
	spec := parsing()
	spec.Set, spec.Transform = nil, "parse"
	b.aside(t, spec, "a", "1") // refused again, by the transform
	b.aside(t, spec, "a", "2") // can be filled
	b.aside(t, spec, "b", "1") // computed, and refused by a constraint
	b.aside(t, spec, "b", "9") // its row is gone

	done, err := b.RetryRejects(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, backfill.Retried{Tried: 4, Filled: 1, Left: 2}, done)
	require.Equal(t, 7, scalar[int](t, b, "select n from texts where tenant = 'a' and id = 2"))
	left, err := b.Rejects(t.Context(), "plan", "parse")
	require.NoError(t, err)
	require.Len(t, left, 2)
	require.Equal(t, []string{"transform", "23514"}, []string{left[0].Code, left[1].Code})
	require.Contains(t, left[0].Message, "no number")
	require.NotContains(t, left[0].Message, "1")

	b.exec(t, "update texts set label = '8' where id = 1")
	done, err = b.RetryRejects(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, backfill.Retried{Tried: 2, Filled: 2}, done)
}

// Without a condition nothing but the reject itself tells that its row was changed already.
func TestOfSeveralThatTryARejectAgainOneChangesTheRow(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(1))
	spec := counting("numbers")
	b.aside(t, spec, "3")
	tx, err := b.Connect(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "update numbers set label = 'theirs'")
	require.NoError(t, err)

	const several = 3
	ended := make(chan backfill.Retried, several)
	for range several {
		go func() {
			done, err := b.RetryRejects(t.Context(), spec)
			if err != nil {
				t.Errorf("not tried: %v", err)
			}
			ended <- done
		}()
	}
	require.Eventually(t, func() bool { return b.waiting(t) == several }, soon, time.Millisecond)
	require.NoError(t, tx.Rollback(t.Context()))
	var all backfill.Retried
	for range several {
		done := receive(t, ended)
		all.Tried, all.Filled, all.Left = all.Tried+done.Tried, all.Filled+done.Filled, all.Left+done.Left
	}
	require.Equal(t, backfill.Retried{Tried: 1, Filled: 1}, all)
	require.Equal(t, 1, scalar[int](t, b, "select n from numbers"))
}

func TestARejectThatIsForgottenMeanwhileIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, texts)
	spec := parsing()
	b.aside(t, spec, "a", "1")
	b.aside(t, spec, "a", "2")
	// The step begins afresh while the first row is refused.
	parse := func(_ context.Context, rows [][]any) ([][]any, error) {
		if rows[0][0] == "7" {
			return [][]any{{7}}, nil
		}
		return nil, &backfill.RowError{Err: errors.New("no number")}
	}
	begun := func(ctx context.Context, rows [][]any) ([][]any, error) {
		_, err := b.pool.Exec(ctx, "delete from contraflow.backfill_reject where key = '{a,2}'")
		if err != nil {
			return nil, err
		}
		return parse(ctx, rows)
	}
	b.Engine = backfill.New(b.pool, backfill.WithTransforms(map[string]backfill.Transform{
		"parse": {Read: []string{"label"}, Write: []string{"n"}, Rows: begun}}))
	spec.Set, spec.Transform = nil, "parse"
	b.exec(t, "update contraflow.backfill_reject set hash = $1", spec.Hash())
	done, err := b.RetryRejects(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, backfill.Retried{Tried: 1, Left: 1}, done)
	require.Nil(t, scalar[*int](t, b, "select n from texts where tenant = 'a' and id = 2"))
}

func TestWithoutRejectsNothingIsLookedAt(t *testing.T) {
	t.Parallel()
	b := setup(t) // where the table is no more
	done, err := b.RetryRejects(t.Context(), parsing())
	require.NoError(t, err)
	require.Zero(t, done)
}
