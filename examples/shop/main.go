// Command shop is the worked example: a small service whose table is migrated while it serves.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/examples/shop/app"
	"github.com/contraflow/contraflow/examples/shop/load"
	"github.com/contraflow/contraflow/examples/shop/seed"
)

const (
	defaultListen = "127.0.0.1:8080"
	// maxConns to Postgres: twice the load generator's default, and far from the server's default limit of 100.
	maxConns = 16
	// headerTimeout ends connections that never send a request.
	headerTimeout = 10 * time.Second
	// stopTimeout for requests under way: they take milliseconds, unless one waits behind a lock.
	stopTimeout = 10 * time.Second
	// defaultFlush is short, because a soak in the demo lasts seconds and the flag service is to see the evaluations within it.
	defaultFlush = time.Second
	// defaultAttest is as short for the same reason: the first stage waits for the first report that gets through.
	defaultAttest = time.Second
	// progressInterval of `shop load`.
	progressInterval = time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := newCommand(os.Getenv, os.Stdout, slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	if err := command.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		stop()
		os.Exit(1)
	}
}

// newCommand builds the command line; env looks up an environment variable.
func newCommand(env func(string) string, out io.Writer, log *slog.Logger) *cobra.Command {
	root := &cobra.Command{Use: "shop", Short: "The shop whose customers get a new shape",
		SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(serveCommand(env, out, log), seedCommand(env, out), loadCommand(out))
	return root
}

func serveCommand(env func(string) string, out io.Writer, log *slog.Logger) *cobra.Command {
	var listen, dsnFile, instance string
	var debug bool
	var attestEvery time.Duration
	source := app.FlagSource{SDKKey: env("SHOP_LD_SDK_KEY"), URL: env("SHOP_LD_URL"), File: env("SHOP_FLAG_FILE")}
	c := &cobra.Command{Use: "serve", Short: "Serve customers over HTTP", Args: cobra.NoArgs,
		Long: "Serve customers over HTTP.\nEnvironment: SHOP_DSN, and SHOP_LD_SDK_KEY (with SHOP_LD_URL) or SHOP_FLAG_FILE."}
	c.Flags().StringVar(&listen, "listen", defaultListen, "address to listen on; port 0 takes a free one, and stdout says which")
	c.Flags().StringVar(&dsnFile, "dsn-file", "", "file with the Postgres connection string (default: $SHOP_DSN)")
	c.Flags().StringVar(&source.URL, "ld-url", source.URL, "flag service to use instead of LaunchDarkly (default: $SHOP_LD_URL)")
	c.Flags().StringVar(&source.File, "flag-file", source.File, "take the flags from this file (default: $SHOP_FLAG_FILE)")
	c.Flags().DurationVar(&source.FlushInterval, "ld-flush", defaultFlush, "how often evaluations are reported to the flag service")
	c.Flags().StringVar(&instance, "instance", "", "what this instance attests its flags as, before a few characters of its own (default: host name)")
	c.Flags().DurationVar(&attestEvery, "attest-every", defaultAttest, "how often this instance attests its flags to contraflow")
	c.Flags().BoolVar(&debug, "debug", false, "accept POST /debug/fault")
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx := c.Context()
		if source.File != "" && c.Flags().Changed("flag-file") {
			source.SDKKey = "" // the command line goes before the environment
		}
		pool, err := openPool(ctx, dsnFile, env)
		if err != nil {
			return err
		}
		defer pool.Close()
		flags, err := app.OpenFlags(source, log)
		if err != nil {
			return err
		}
		defer func() { _ = flags.Close() }()
		store, err := app.OpenStore(ctx, pool, flags, log)
		if err != nil {
			return err
		}
		stopAttesting, err := app.AttestFlags(ctx, pool, flags, cmp.Or(instance, hostName()), attestEvery, log)
		if err != nil {
			return err
		}
		defer stopAttesting()
		return serve(ctx, listen, app.NewServer(store, log).Handler(debug), out)
	}
	return c
}

// hostName is "shop" on a host that doesn't tell its own.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "shop"
	}
	return host
}

// serve until ctx ends, then let the requests under way finish.
func serve(ctx context.Context, listen string, handler http.Handler, out io.Writer) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	err = json.NewEncoder(out).Encode(map[string]string{"listening": "http://" + listener.Addr().String()})
	if err == nil {
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
		}
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(err, server.Shutdown(stopping))
}

func seedCommand(env func(string) string, out io.Writer) *cobra.Command {
	var rows int64
	var dsnFile string
	c := &cobra.Command{Use: "seed", Short: "Fill an empty table with customers that follow a formula", Args: cobra.NoArgs}
	c.Flags().Int64Var(&rows, "rows", 100_000, "how many customers")
	c.Flags().StringVar(&dsnFile, "dsn-file", "", "file with the Postgres connection string (default: $SHOP_DSN)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		pool, err := openPool(c.Context(), dsnFile, env)
		if err != nil {
			return err
		}
		defer pool.Close()
		if err := seed.Rows(c.Context(), pool, rows); err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(map[string]int64{"seeded": rows})
	}
	return c
}

func loadCommand(out io.Writer) *cobra.Command {
	var o load.Options
	var forDuration time.Duration
	c := &cobra.Command{Use: "load", Short: "Keep a shop busy and check every answer", Args: cobra.NoArgs,
		Long: "Keep a shop busy and check every answer, until interrupted.\nPrints one line of counters per second; exits 1 if a request failed or a read was wrong."}
	c.Flags().StringVar(&o.BaseURL, "url", "http://"+defaultListen, "address of the shop")
	c.Flags().IntVar(&o.Concurrency, "concurrency", 0, "requests under way at most (default 8)")
	c.Flags().Float64Var(&o.Rate, "rate", 0, "requests per second (default: as many as the shop answers)")
	c.Flags().Int64Var(&o.Seeded, "seeded", 0, "customers that `shop seed` made")
	c.Flags().Uint64Var(&o.Seed, "seed", 0, "seed of the random choices")
	c.Flags().DurationVar(&forDuration, "for", 0, "end after this long (default: when interrupted)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		g, err := load.New(o)
		if err != nil {
			return err
		}
		ctx := c.Context()
		if forDuration > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, forDuration)
			defer cancel()
		}
		return runLoad(ctx, g, out)
	}
	return c
}

func runLoad(ctx context.Context, g *load.Generator, out io.Writer) error {
	ended := make(chan struct{})
	go func() { g.Run(ctx); close(ended) }()
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	lines := json.NewEncoder(out)
	for {
		select {
		case <-ticker.C:
			_ = lines.Encode(g.Stats()) // the load goes on though nobody reads
		case <-ended:
			s := g.Stats()
			if err := lines.Encode(s); err != nil {
				return err
			}
			if s.Failed+s.WrongReads > 0 {
				return fmt.Errorf("%d requests failed, %d reads were wrong", s.Failed, s.WrongReads)
			}
			return nil
		}
	}
}

// openPool from the file, or from SHOP_DSN. The connection string is never part of an error.
func openPool(ctx context.Context, dsnFile string, env func(string) string) (*pgxpool.Pool, error) {
	dsn := env("SHOP_DSN")
	if dsnFile != "" {
		text, err := os.ReadFile(dsnFile)
		if err != nil {
			return nil, fmt.Errorf("read the Postgres connection string: %w", err)
		}
		dsn = strings.TrimSpace(string(text))
	}
	if dsn == "" {
		return nil, errors.New("no database: set SHOP_DSN or --dsn-file")
	}
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("malformed Postgres connection string (its text is withheld: it may hold a password)")
	}
	config.MaxConns = maxConns
	config.ConnConfig.RuntimeParams["application_name"] = "shop"
	return pgxpool.NewWithConfig(ctx, config)
}
