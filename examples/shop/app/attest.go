package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	ldclient "github.com/launchdarkly/go-server-sdk/v7"

	"github.com/contraflow/contraflow/flags/attest"
	"github.com/contraflow/contraflow/flags/attest/ldattest"
)

// AttestFlags reports which version of the flags this instance evaluates, until the attester is stopped: call Stop behind the
// last request. What can't be reported is logged, and is no error: contraflow may not have been here yet.
func AttestFlags(
	ctx context.Context, pool *pgxpool.Pool, flags *ldclient.LDClient, instance string, every time.Duration, log *slog.Logger,
) (*attest.Attester, error) {
	return attest.Start(ctx, attest.Options{
		Instance: instance, Every: every,
		Flags:  []string{WriteNewFlag, ReadNewFlag},
		Source: ldattest.Source(flags),
		Exec: func(ctx context.Context, sql string, args ...any) error {
			_, err := pool.Exec(ctx, sql, args...)
			return err
		},
		OnError: func(err error) { log.Warn("which flags are evaluated can't be attested", "error", redact(err)) },
	})
}
