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

// AttestFlags reports which version of the flags this instance evaluates, until stop is called, behind the last request. What
// can't be reported is logged, and is no error: contraflow may not have been here yet.
//
// It takes a connection of its own to pool's database: while a migration's lock holds up the requests that have all of pool's,
// no report would get through, and an instance that nobody hears of counts as dead.
func AttestFlags(
	ctx context.Context, pool *pgxpool.Pool, flags *ldclient.LDClient, instance string, every time.Duration, log *slog.Logger,
) (stop func(), err error) {
	config := pool.Config()
	config.MinConns, config.MinIdleConns, config.MaxConns = 0, 0, 1
	own, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, redact(err)
	}
	attester, err := attest.Start(ctx, attest.Options{
		Instance: instance, Every: every,
		Flags:  []string{WriteNewFlag, ReadNewFlag},
		Source: ldattest.Source(flags),
		Exec: func(ctx context.Context, sql string, args ...any) error {
			_, err := own.Exec(ctx, sql, args...)
			return redact(err)
		},
		OnError: func(err error) { log.Warn("which flags are evaluated can't be attested", "error", err) },
	})
	if err != nil {
		own.Close()
		return nil, err
	}
	return func() {
		attester.Stop()
		own.Close()
	}, nil
}
