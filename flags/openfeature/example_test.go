package openfeature_test

import (
	"context"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/open-feature/go-sdk/openfeature"

	pgopenfeature "github.com/contraflow/contraflow/flags/openfeature"
	"github.com/contraflow/contraflow/flags/pgflags"
)

func ExampleNew() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("SHOP_DSN"))
	if err != nil {
		slog.Error("connect", "error", err)
		return
	}
	defer pool.Close()
	provider := pgopenfeature.New(pgflags.Pool(pool), pgflags.Options{})
	if err := openfeature.SetProviderWithContextAndWait(ctx, provider); err != nil {
		slog.Warn("the shop starts with the fallbacks", "error", err)
	}
	defer openfeature.Shutdown()

	client := openfeature.NewClient("shop")
	account := openfeature.NewEvaluationContext("4711", map[string]any{pgopenfeature.KindAttribute: "account"})
	if client.Boolean(ctx, "customers-write-new", false, account) {
		slog.Info("writes go to both shapes")
	}
}
