// Command contraflow-worker runs migrations: it reads its configuration, connects to Temporal and works until it is told to
// stop.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/contraflow/contraflow/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv))
}

// run returns the exit code: 0 stopped as asked, 1 error, 2 usage or bad configuration.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, getenv func(string) string) int {
	flags := flag.NewFlagSet("contraflow-worker", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("config", "contraflow-worker.yaml", "the worker's configuration file")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "contraflow-worker runs migrations. Temporal is found by TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, … or a profile.")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	cfg, err := config.Load(*path, getenv)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	if err := serve(ctx, cfg, log, stdout); err != nil {
		fmt.Fprintln(stderr, "contraflow-worker:", err)
		return 1
	}
	return 0
}
