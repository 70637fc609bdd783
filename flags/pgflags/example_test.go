package pgflags_test

import (
	"context"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/flags/pgflags"
)

func ExampleOpen() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("SHOP_DSN"))
	if err != nil {
		slog.Error("connect", "error", err)
		return
	}
	defer pool.Close()
	hostname, _ := os.Hostname()
	flags, err := pgflags.Open(ctx, pgflags.Pool(pool), pgflags.Options{Instance: hostname, Log: slog.Default()})
	if err != nil {
		slog.Warn("the shop starts with the fallbacks", "error", err)
	}
	defer flags.Close()

	if flags.Bool("customers-write-new", "user", "4711", false) {
		slog.Info("writes go to both shapes")
	}
}
