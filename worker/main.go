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

	"go.temporal.io/sdk/contrib/envconfig"

	"github.com/contraflow/contraflow/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, envconfig.EnvLookupOS))
}

// run returns the exit code: 0 stopped as asked, 1 error, 2 usage or bad configuration.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, env envconfig.EnvLookup) int {
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
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "contraflow-worker takes no arguments, only flags; it was given %q\n", flags.Arg(0))
		return 2
	}
	cfg, err := config.Load(*path, func(name string) string { value, _ := env.LookupEnv(name); return value })
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	err = serve(ctx, cfg, env, log, stdout)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errConfiguration):
		fmt.Fprintf(stderr, "%s: %v\n", *path, err)
		return 2
	}
	fmt.Fprintln(stderr, "contraflow-worker:", err)
	return 1
}
