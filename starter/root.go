package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/contraflow/contraflow/internal/watch"
)

// app is one invocation: where it writes, and what its flags say.
type app struct {
	stdout, stderr io.Writer
	env            environment
	json           bool
	connection     connection
	// began is set once a command runs: errors before that are about how it was called.
	began bool
	// patience is beside how long others may take: for a machine that does much else. None for people.
	patience time.Duration
}

// run is the whole program; env is as of os.Environ.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, env []string) int {
	return (&app{stdout: stdout, stderr: stderr, env: env}).run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	a.json = a.json || slices.Contains(args, "--json") // also when the flags could not be read
	if err != nil && !a.began {
		err = &usageError{plainly(err)}
	}
	return a.report(err)
}

// plainly says what cobra and the parsers of the flags found, without naming them.
func plainly(err error) error {
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		return fmt.Errorf("--%s is %q: give %s", value.GetFlag().Name, value.GetValue(), kinds(value.GetFlag().Value.Type()))
	}
	text := err.Error()
	if names, ok := strings.CutPrefix(text, "required flag(s) "); ok {
		names, _ = strings.CutSuffix(names, " not set")
		var flags []string
		for _, name := range strings.Split(names, ", ") {
			flags = append(flags, "--"+strings.Trim(name, `"`))
		}
		return fmt.Errorf("%s is missing", strings.Join(flags, " and "))
	}
	return err
}

// kinds are the kinds of values that the flags of this program take.
func kinds(kind string) string {
	switch kind {
	case "int":
		return "a whole number"
	case "bool":
		return "true or false"
	}
	return "another value"
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "contraflow",
		Short: "Change a live Postgres database while its applications keep running",
		Long: `Contraflow changes a live Postgres database while two versions of its application keep running.

A plan says what to change, in steps; a migration is one run of a plan, a durable workflow in Temporal. It expands
the schema, turns flags, fills columns, proves the result, asks people, and undoes everything when a health check fails.

  contraflow validate plan.yaml             is the plan sound? needs no server
  contraflow start plan.yaml --wait         run it and look on
  contraflow list                           what runs, and what waits for you
  contraflow approve ID STEP                let it go on
  contraflow rollback ID --reason "..."     undo it, newest step first

Temporal's settings come from the environment (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY,
TEMPORAL_TLS_...), from a profile in Temporal's TOML file (--profile or TEMPORAL_PROFILE), or from the flags below.

Exit codes: 0 completed or done, 1 error or refused, 2 wrong call or bad plan, 3 rolled back, 4 the flags
are off and that is not recorded (kill).`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	flags := root.PersistentFlags()
	flags.BoolVar(&a.json, "json", false, "write one JSON document to stdout, also for errors")
	flags.StringVar(&a.connection.address, "address", "", "Temporal's host:port (default $TEMPORAL_ADDRESS, else localhost:7233)")
	flags.StringVar(&a.connection.namespace, "namespace", "", "Temporal namespace (default $TEMPORAL_NAMESPACE, else default)")
	flags.StringVar(&a.connection.profile, "profile", "", "profile in Temporal's TOML file (default $TEMPORAL_PROFILE)")
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run and look:"},
		&cobra.Group{ID: groupDecide, Title: "Decide and steer:"},
		&cobra.Group{ID: groupOffline, Title: "Without a server:"},
	)
	root.AddCommand(newRehearse(a), newStart(a), newStatus(a), newWatch(a), newList(a), newRejects(a), newRepair(a), newFlags(a))
	root.AddCommand(newApprove(a), newReject(a))
	root.AddCommand(newRequests(a)...)
	root.AddCommand(newKill(a), newThrottle(a), newRetryRejects(a), newValidate(a), newLint(a), newVersion(a))
	return root
}

// Groups of commands in the help text.
const (
	groupRun     = "run"
	groupDecide  = "decide"
	groupOffline = "offline"
)

// does wraps what a command does, so that run can tell its errors from those of how it was called.
func (a *app) does(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.began = true
		return do(watch.Patient(cmd.Context(), a.patience), args)
	}
}

// needs refuses any but the named arguments.
func needs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == len(names):
			return nil
		case len(args) > len(names):
			return fmt.Errorf("%s does not understand %q: call it as %s", cmd.Name(), args[len(names)], cmd.UseLine())
		}
		return fmt.Errorf("%s is missing: call it as %s", strings.Join(names[len(args):], " and "), cmd.UseLine())
	}
}
