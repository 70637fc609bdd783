package ldattest_test

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	ldclient "github.com/launchdarkly/go-server-sdk/v7"

	"github.com/contraflow/contraflow/flags/attest"
	"github.com/contraflow/contraflow/flags/attest/ldattest"
)

func ExampleSource() {
	ctx := context.Background()
	config, err := pgxpool.ParseConfig(os.Getenv("SHOP_DSN"))
	if err != nil {
		slog.Error("the connection string is malformed") // what it is may hold a password
		return
	}
	config.MaxConns = 1 // for the reports alone, beside the pool of the requests
	own, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		slog.Error("connect", "error", err)
		return
	}
	defer own.Close()
	client, err := ldclient.MakeClient(os.Getenv("LD_SDK_KEY"), 5*time.Second)
	if client == nil {
		slog.Error("flags", "error", err)
		return
	}
	defer func() { _ = client.Close() }()

	host, err := os.Hostname()
	if err != nil {
		host = "shop"
	}
	attester, err := attest.Start(ctx, attest.Options{
		Instance: host,
		Flags:    []string{"customers-write-new", "customers-read-new"},
		Source:   ldattest.Source(client),
		Exec: func(ctx context.Context, sql string, args ...any) error {
			_, err := own.Exec(ctx, sql, args...)
			return err
		},
		OnError: func(err error) { slog.Warn("flags can't be attested", "error", err) },
	})
	if err != nil {
		slog.Error("attest", "error", err)
		return
	}
	defer attester.Stop() // before the client and the connection are closed, behind the last request
}
