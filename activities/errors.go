package activities

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/slack-go/slack"
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

// permanent is an error of ours that no retry mends.
func permanent(kind, format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), kind, nil)
}

// errStopping is why a worker that stops ends what it only watches.
var errStopping = errors.New("the worker stops; another goes on")

// fail decides, for every activity, whether an error is worth a retry, and strips it to its text: causes may hold values.
// What an engine says after Temporal has cancelled the activity is about the cancellation.
func fail(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if temporal.IsCanceledError(context.Cause(ctx)) {
		return temporal.NewCanceledError()
	}
	if application, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		return application
	}
	if kind := permanentKind(err); kind != "" {
		return permanent(kind, "%s", text(err))
	}
	if is(context.Cause(ctx), errStopping, worker.ErrWorkerShutdown) {
		err = errStopping
	}
	o := temporal.ApplicationErrorOptions{}
	var limited *flags.RateLimited
	var slackLimited *slack.RateLimitedError
	switch {
	case errors.As(err, &limited):
		o.NextRetryDelay = max(time.Until(limited.Until), time.Second)
	case errors.As(err, &slackLimited):
		o.NextRetryDelay = max(slackLimited.RetryAfter, time.Second)
	case is(err, backfill.ErrStopped, errStopping):
		o.NextRetryDelay = time.Millisecond // the worker stops and loses nothing; another goes on at once
	}
	return temporal.NewApplicationErrorWithOptions(text(err), "Retryable", o)
}

// permanentKind names why another attempt would fail the same way; "" when it might not.
func permanentKind(err error) string {
	var problems plan.Problems
	var held *ledger.HeldError
	var stray *ddl.StrayError
	var stranger *ddl.StrangerError
	var statement *ddl.StatementError
	var killed *killedError
	switch {
	case errors.As(err, &problems):
		return "BadPlan"
	case errors.As(err, &held):
		return "AlreadyRunning"
	case errors.Is(err, ledger.ErrSuperseded):
		return "Superseded"
	case errors.As(err, &stray), is(err, ddl.ErrMissing, ddl.ErrChanged, ddl.ErrScript):
		return "SQLFiles"
	case errors.As(err, &stranger):
		return "Stranger"
	case is(err, ddl.ErrDirty, ddl.ErrOrder, ddl.ErrInspect, ddl.ErrNotOurs):
		return "SchemaVersion"
	case errors.As(err, &statement):
		if transient(statement.SQLState) {
			return ""
		}
		return "Statement"
	case errors.As(err, &killed):
		return "Killed"
	case is(err, errMeanwhile, errTooLate, errPressing):
		return ""
	case errors.Is(err, flags.ErrStranger):
		return "Stranger"
	case flags.Permanent(err):
		return "Flag"
	case is(err, backfill.ErrConnection, backfill.ErrContended, backfill.ErrStopped, backfill.ErrFenced):
		return ""
	case backfill.Permanent(err), errors.Is(err, backfill.ErrSync):
		return "Backfill"
	case errors.Is(err, health.ErrQuery):
		return "Query"
	case errors.Is(err, slackcard.ErrSetup):
		return "Chat"
	case is(err, pg.ErrNewerSchema, pg.ErrGrant, pg.ErrName, pg.ErrNoRelation):
		return "Database"
	}
	var server *pgconn.PgError
	if errors.As(err, &server) && !transient(server.Code) {
		return "Database"
	}
	return ""
}

func is(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// transient SQLSTATE classes: connection (08), authentication while a password rotates (28), missing database while one is
// restored (3D), transaction rollback (40), resources (53), object state (55), operator intervention (57), system (58).
func transient(code string) bool {
	if len(code) < 2 {
		return true
	}
	switch code[:2] {
	case "08", "28", "3D", "40", "53", "55", "57", "58":
		return true
	}
	return false
}

// text of an error without what may hold secrets or values: connection errors keep only their cause, errors of Postgres
// their state, and their primary message where it speaks of the schema and not of rows.
func text(err error) string {
	if connecting, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return "Postgres does not answer: " + innermost(connecting).Error()
	}
	said := err.Error()
	if statement, ok := errors.AsType[*ddl.StatementError](err); ok && !aboutSchema(statement.SQLState) && !strings.HasPrefix(statement.SQLState, "22") {
		silent := *statement
		silent.Message = "the message is withheld: it may quote rows"
		said = strings.ReplaceAll(said, statement.Error(), silent.Error())
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok && !aboutSchema(server.Code) {
		said = strings.ReplaceAll(said, server.Error(), "SQLSTATE "+server.Code)
	}
	return said
}

// aboutSchema tells the SQLSTATE classes whose primary messages Postgres writes itself, with names and without values: those of
// RAISE (P0) and of other languages' functions may say anything, those of data exceptions (22) quote what they choked on.
func aboutSchema(code string) bool {
	switch code[:min(2, len(code))] {
	case "0A", "23", "25", "2B", "3D", "3F", "40", "42", "53", "54", "55", "57", "58":
		return true
	}
	return false
}

func innermost(err error) error {
	for {
		var server *pgconn.PgError
		if errors.As(err, &server) {
			return fmt.Errorf("SQLSTATE %s", server.Code)
		}
		var next error
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			next = e.Unwrap()
		case interface{ Unwrap() []error }:
			if causes := e.Unwrap(); len(causes) > 0 {
				next = causes[len(causes)-1]
			}
		}
		if next == nil {
			return err
		}
		if _, syscall := next.(interface{ Timeout() bool }); syscall {
			return next // "dial tcp 127.0.0.1:5432: connect: connection refused" says where, its cause does not
		}
		err = next
	}
}
