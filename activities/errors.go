package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/slack-go/slack"
	"go.temporal.io/sdk/temporal"

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

// fail decides, for every activity, whether an error is worth a retry, and strips it to its text: causes may hold values.
func fail(err error) error {
	if err == nil {
		return nil
	}
	var application *temporal.ApplicationError
	if errors.As(err, &application) || errors.Is(err, context.Canceled) {
		return err
	}
	if kind := permanentKind(err); kind != "" {
		return permanent(kind, "%s", text(err))
	}
	o := temporal.ApplicationErrorOptions{}
	var limited *flags.RateLimited
	var slackLimited *slack.RateLimitedError
	switch {
	case errors.As(err, &limited):
		o.NextRetryDelay = max(time.Until(limited.Until), time.Second)
	case errors.As(err, &slackLimited):
		o.NextRetryDelay = max(slackLimited.RetryAfter, time.Second)
	case errors.Is(err, backfill.ErrStopped):
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
	switch {
	case errors.As(err, &problems):
		return "BadPlan"
	case errors.As(err, &held):
		return "AlreadyRunning"
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
	case flags.Permanent(err):
		return "Flag"
	case errors.Is(err, backfill.ErrConnection), errors.Is(err, backfill.ErrContended), errors.Is(err, backfill.ErrStopped):
		return ""
	case backfill.Permanent(err):
		return "Backfill"
	case errors.Is(err, health.ErrQuery):
		return "Query"
	case errors.Is(err, slackcard.ErrSetup):
		return "Chat"
	case is(err, pg.ErrNewerSchema, pg.ErrName, pg.ErrNoRelation):
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

// text of an error without what may hold secrets or values: connection errors keep only their cause, errors of Postgres their
// state and primary message.
func text(err error) string {
	var connecting *pgconn.ConnectError
	if errors.As(err, &connecting) {
		return "Postgres does not answer: " + innermost(connecting).Error()
	}
	return err.Error()
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
