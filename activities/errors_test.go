package activities

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/health"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/internal/slackcard"
	"github.com/contraflow/contraflow/plan"
)

func TestEachErrorIsTriedAgainOrNot(t *testing.T) {
	t.Parallel()
	const again = ""
	server := func(code string) error { return &pgconn.PgError{Code: code, Message: "said"} }
	for _, c := range []struct {
		err  error
		kind string
	}{
		{plan.Problems{{File: "plan.yaml"}}, "BadPlan"},
		{&ledger.HeldError{Plan: "p"}, "AlreadyRunning"},
		{&ddl.StrayError{File: "x.sql"}, "SQLFiles"},
		{ddl.ErrMissing, "SQLFiles"},
		{ddl.ErrChanged, "SQLFiles"},
		{ddl.ErrScript, "SQLFiles"},
		{&ddl.StrangerError{Version: 2, Found: 3}, "Stranger"},
		{ddl.ErrDirty, "SchemaVersion"},
		{ddl.ErrOrder, "SchemaVersion"},
		{ddl.ErrInspect, "SchemaVersion"},
		{ddl.ErrNotOurs, "SchemaVersion"},
		{&ddl.StatementError{SQLState: "42P01"}, "Statement"},
		{&ddl.StatementError{SQLState: "23505"}, "Statement"},
		{&ddl.StatementError{SQLState: "P0001"}, "Statement"},
		{&ddl.StatementError{SQLState: "40001"}, again},
		{&ddl.StatementError{SQLState: "53200"}, again},
		{&ddl.StatementError{SQLState: "57P01"}, again},
		{flags.ErrNotFound, "Flag"},
		{flags.ErrUnauthorized, "Flag"},
		{flags.ErrApprovalRequired, "Flag"},
		{flags.ErrNotBoolean, "Flag"},
		{flags.ErrArchived, "Flag"},
		{flags.ErrNotRestorable, "Flag"},
		{flags.ErrInvalid, "Flag"},
		{&flags.Stranger{Key: "f"}, "Stranger"},
		{&killedError{"said"}, "Killed"},
		{errMeanwhile, again},
		{flags.ErrConflict, again},
		{&flags.RateLimited{Until: time.Now()}, again},
		{backfill.ErrSpec, "Backfill"},
		{backfill.ErrNoTable, "Backfill"},
		{backfill.ErrNoKey, "Backfill"},
		{backfill.ErrNoColumn, "Backfill"},
		{backfill.ErrNotPrepared, "Backfill"},
		{backfill.ErrFenced, again}, // a late attempt of the run before took the lane, and is nobody's any more
		{backfill.ErrRemaining, "Backfill"},
		{&backfill.StatementError{Code: "22P02"}, "Backfill"},
		{&backfill.StatementError{Code: "55P03"}, again},
		{backfill.ErrConnection, again},
		{fmt.Errorf("%w: %w", backfill.ErrContended, &backfill.StatementError{Code: "57014"}), again},
		{backfill.ErrStopped, again},
		{health.ErrQuery, "Query"},
		{slackcard.ErrSetup, "Chat"},
		{&slack.RateLimitedError{RetryAfter: time.Second}, again},
		{pg.ErrNewerSchema, "Database"},
		{pg.ErrGrant, "Database"},
		{pg.ErrName, "Database"},
		{pg.ErrNoRelation, "Database"},
		{server("42501"), "Database"},
		{server("42P01"), "Database"},
		{server("08006"), again},
		{server("28P01"), again},
		{server("3D000"), again},
		{server("40P01"), again},
		{server("53300"), again},
		{server("55P03"), again},
		{server("57014"), again},
		{server("57P03"), again},
		{server("58030"), again},
		{server(""), again},
		{io.ErrUnexpectedEOF, again},
		{context.DeadlineExceeded, again},
		{errors.New("whatever"), again},
		{permanent("Other", "of ours"), "Other"},
	} {
		got := fail(t.Context(), fmt.Errorf("step fill: %w", c.err))
		if c.kind == again {
			requireRetryable(t, got)
			require.Equal(t, "Retryable", got.(*temporal.ApplicationError).Type())
			continue
		}
		requirePermanent(t, got, c.kind)
		require.NoError(t, errors.Unwrap(got), "a cause may hold values")
	}
	require.NoError(t, fail(t.Context(), nil))
}

func TestPausesBeforeTheNextAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, 7*time.Second, requireRetryable(t, fail(t.Context(), &flags.RateLimited{Until: time.Now().Add(7 * time.Second)})))
	})
	require.Equal(t, time.Second, requireRetryable(t, fail(t.Context(), &flags.RateLimited{Until: time.Now().Add(-time.Hour)})), "clocks may disagree")
	require.Equal(t, 9*time.Second, requireRetryable(t, fail(t.Context(), &slack.RateLimitedError{RetryAfter: 9 * time.Second})))
	require.Equal(t, time.Millisecond, requireRetryable(t, fail(t.Context(), backfill.ErrStopped)))
	require.Zero(t, requireRetryable(t, fail(t.Context(), errors.New("whatever"))), "the retry policy's own")
}

func TestTheContextsEndIsTheReason(t *testing.T) {
	t.Parallel()
	for _, err := range []error{context.Canceled, temporal.NewCanceledError(), errors.New("the database could not be reached"), ddl.ErrOrder} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(temporal.NewCanceledError())
		got := fail(ctx, fmt.Errorf("on its way: %w", err))
		require.True(t, temporal.IsCanceledError(got), "%v", got)
		require.NotContains(t, got.Error(), "on its way")
	}
	for _, cause := range []error{errStopping, worker.ErrWorkerShutdown} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		require.Equal(t, time.Millisecond, requireRetryable(t, fail(ctx, context.Canceled)))
		requirePermanent(t, fail(ctx, ddl.ErrOrder), "SchemaVersion") // it had failed before
	}
	requireRetryable(t, fail(t.Context(), context.Canceled)) // of a context below the activity's
}

func TestMessagesThatMayQuoteRowsAreWithheld(t *testing.T) {
	t.Parallel()
	for code, quotes := range map[string]bool{
		"22P02": true, "22007": true, "P0001": true, "XX000": true, "38000": true, "39000": true, "2F000": true, "ABCDE": true,
		"42P01": false, "23505": false, "55P03": false,
	} {
		err := fail(t.Context(), fmt.Errorf("write it: %w", &pgconn.PgError{Severity: "ERROR", Code: code, Message: "said " + rowMarker, Detail: rowMarker + " in detail"}))
		require.Contains(t, err.Error(), code)
		require.NotContains(t, err.Error(), "in detail")
		require.Equal(t, !quotes, contains(err, rowMarker), code)
		if code[:2] == "22" { // the engine has masked it
			continue
		}
		err = fail(t.Context(), &ddl.StatementError{File: "1_a.up.sql", Line: 3, SQLState: code, Message: "said " + rowMarker})
		require.Contains(t, err.Error(), "1_a.up.sql:3")
		require.Contains(t, err.Error(), code)
		require.Equal(t, !quotes, contains(err, rowMarker), code)
	}
}

func TestOriginsNoteNamesThePlanAndNoPerson(t *testing.T) {
	t.Parallel()
	require.Equal(t, "contraflow: migration m, step s, plan hash 0123456789ab", note(Origin{Migration: "m", Step: "s", PlanHash: "0123456789abcdef"}))
}
