// Package service is a Contraflow worker, for a main function of three lines. Whoever has transforms of his own builds his own
// worker with it:
//
//	func main() {
//		os.Exit(service.Main(service.Options{Transforms: map[string]backfill.Transform{"phone-e164": phones}}))
//	}
package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"go.temporal.io/sdk/contrib/envconfig"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/config"
)

// Options are what a worker brings along in code; all else stands in its configuration file.
type Options struct {
	// Transforms by the names that plans use. Defaults to none. Every worker of a task queue must bring the same.
	Transforms map[string]backfill.Transform
	// Flags makes the flag provider of one environment of a project, at its first use; ctx is of the process. It is for a flag service
	// that contraflow does not know, and stands in place of flags in the configuration file, which must have none then. Every worker of
	// a task queue must bring the same. Defaults to what the configuration file says.
	Flags func(ctx context.Context, project, environment string) (flags.Provider, error)
}

// Main runs a worker on this process's arguments, environment and standard streams, until SIGINT or SIGTERM, after which lanes
// end between two chunks. It returns the exit code: 0 stopped as asked, 1 error, 2 usage or bad configuration.
func Main(o Options) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, o, os.Args, os.Stdout, os.Stderr, envconfig.EnvLookupOS)
}

// run takes the program's name as its first argument.
func run(ctx context.Context, o Options, args []string, stdout, stderr io.Writer, env envconfig.EnvLookup) int {
	program := filepath.Base(args[0])
	set := flag.NewFlagSet(program, flag.ContinueOnError)
	set.SetOutput(stderr)
	path := set.String("config", "contraflow-worker.yaml", "the worker's configuration file")
	set.Usage = func() {
		fmt.Fprintln(stderr, program+" runs migrations. Temporal is found by TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, … or a profile.")
		set.PrintDefaults()
	}
	if err := set.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if set.NArg() > 0 {
		fmt.Fprintf(stderr, "%s takes no arguments, only flags; it was given %q\n", program, set.Arg(0))
		return 2
	}
	cfg, err := config.Load(*path, func(name string) string { value, _ := env.LookupEnv(name); return value })
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	err = serve(ctx, o, cfg, env, log, stdout)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errConfiguration):
		fmt.Fprintf(stderr, "%s: %v\n", *path, err)
		return 2
	}
	fmt.Fprintln(stderr, program+":", err)
	return 1
}
