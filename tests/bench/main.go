// Command bench measures the backfill engine, the one for DDL and the kill switch against what people do without them, on a Postgres
// cluster of its own: see docs/benchmarks.md. Progress goes to stderr, the table to stdout; the last line of stdout is one JSON object.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/contraflow/contraflow/internal/devstack/demo"
)

const (
	// defaultRows make a single UPDATE of some seconds: long enough to measure, short enough to repeat.
	defaultRows = 1_000_000
	// minRows: below them the runs are over before they have begun.
	minRows = 1000
	// defaultRounds is the least of which a median says something.
	defaultRounds = 3
)

// options of one run.
type options struct {
	rows    int64
	rounds  int
	presses int      // of the kill switch
	only    []string // names of sections; empty for all
	big     bool     // history also at 10⁷ rows, whatever rows is
	// paths of contraflow-worker, contraflow and the example's shop
	worker, cli, shop string
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if dsn := os.Getenv(childDSN); dsn != "" {
		return complain(increment(ctx, dsn))
	}
	if url := os.Getenv(childPatch); url != "" {
		return complain(patchOff(ctx, url))
	}
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return complain(err)
	}
	return complain(measure(ctx, o))
}

func complain(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	return 1
}

func parse(args []string) (o options, err error) {
	var only string
	o.presses = defaultPresses
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.Int64Var(&o.rows, "rows", defaultRows, "rows of the table")
	set.IntVar(&o.rounds, "rounds", defaultRounds, "how often each thing is measured")
	set.StringVar(&only, "only", "", "sections to run, with commas between: "+strings.Join(names(), ", "))
	set.BoolVar(&o.big, "big", false, "count history events at 10,000,000 rows too")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	if o.rows < minRows || o.rounds < 1 || set.NArg() > 0 {
		return o, fmt.Errorf("rows must be %d or more, rounds 1 or more, and nothing else may be given", minRows)
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			return o, fmt.Errorf("there is no section %q; there are %s", name, strings.Join(names(), ", "))
		}
	}
	binaries, err := demo.Built()
	o.worker, o.shop, o.cli = binaries.Worker, binaries.Shop, filepath.Join(filepath.Dir(binaries.Worker), "contraflow")
	return o, err
}

// section is a group of measurements that can be run alone.
type section struct {
	name string
	run  func(*bench, context.Context) error
}

func sections() []section {
	return []section{
		{"speed", (*bench).speed}, {"keys", (*bench).keys}, {"foreground", (*bench).foreground},
		{"pause", (*bench).pause}, {"kill", (*bench).kill}, {"history", (*bench).history},
		{"ddl", (*bench).ddl}, {"switch", (*bench).killSwitch},
	}
}

func names() (all []string) {
	for _, s := range sections() {
		all = append(all, s.name)
	}
	return all
}

// measure runs the sections and writes what came out of them.
func measure(ctx context.Context, o options) error {
	began := time.Now()
	b, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer b.stop()
	machine, err := b.machine(ctx)
	if err != nil {
		return err
	}
	b.say("%s", machine)
	for _, s := range sections() {
		if len(o.only) > 0 && !slices.Contains(o.only, s.name) {
			continue
		}
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("section %s: %w", s.name, err)
		}
	}
	b.results.took = time.Since(began)
	return b.results.write(os.Stdout, o, machine)
}
