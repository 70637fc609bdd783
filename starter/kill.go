package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/config"
	"github.com/contraflow/contraflow/internal/kill"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/providers"
)

type killFlags struct {
	config, database, plan, reason, by string
	context                            []string
	force                              bool
}

func newKill(a *app) *cobra.Command {
	var f killFlags
	cmd := &cobra.Command{
		Use:     "kill ID",
		GroupID: groupDecide,
		Short:   "Turn a migration's flags off at once, without Temporal",
		Long: `Turn all flags that a migration has moved off at once: for everybody, or for one context alone. The application serves the
old shape again. It talks to the target database and to the flag service itself, by the worker's configuration, and needs
no Temporal; a migration that runs finds out within seconds, and pauses, unless its plan has no flags any more. It also works when the migration is over and its
flags are not retired.

The flag that was moved last goes off first: readers leave the new columns before anybody stops writing them. One that
can't be turned off leaves those before it as they are.

Then contraflow resume ID puts the flags back and goes on, and contraflow rollback ID undoes the migration. Flags turned
off for one context stay so.

Behind the point of no return it is refused: the old columns may be gone, and the application would read what is not there.
--force turns the flags off all the same.

With --plan FILE it does so also while the target database does not answer. Then there is no record of it: the migration
does not pause by itself, and may put the flags on again. --reason is shown to people: name no person in it.

Exit codes: 0 all flags are off, 1 not all are off, or refused, 2 wrong call, 4 all are off and that is not recorded.`,
		Example: `  contraflow kill split-customer-address --config worker.yaml --reason "orders fail"
  contraflow kill split-customer-address --config worker.yaml --context account:acme`,
		Args: needs("ID"),
		RunE: a.does(func(ctx context.Context, args []string) error { return a.kill(ctx, args[0], f) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", workerConfig, "the worker's configuration file")
	flags.StringVar(&f.database, "database", "", "the target database's name in the configuration (default: all are asked, and the one in which it runs is meant)")
	flags.StringVar(&f.plan, "plan", "", "the plan's file, which names the flags where the database does not answer")
	flags.StringArrayVar(&f.context, "context", nil, "turn the flags off for this one context alone, as `KIND:KEY`")
	flags.StringVar(&f.reason, "reason", "", "why; recorded and shown")
	flags.StringVar(&f.by, "by", "", "who presses (default the user of this machine)")
	flags.BoolVar(&f.force, "force", false, "also behind the point of no return")
	return cmd
}

func (a *app) kill(ctx context.Context, id string, f killFlags) error {
	order := kill.Order{Migration: id, Force: f.force, Reason: f.reason, Patience: a.patience}
	var err error
	if order.By, err = person(f.by); err != nil {
		return err
	}
	if order.Context, err = oneContext(f.context); err != nil {
		return err
	}
	database := f.database
	if f.plan != "" {
		if order.Plan, _, err = readPlan(f.plan); err != nil {
			return err
		}
		database = cmp.Or(database, order.Plan.Database)
	}
	c, unreadable, err := config.LoadTargets(f.config, a.env.get)
	if err == nil && !c.Flags.Given() {
		err = fmt.Errorf("%s: %w", f.config, providers.ErrNone)
	}
	if err != nil {
		return misconfigured(err, f.config, "talks to database and flag service")
	}
	if order.Databases, err = targets(c, unreadable, database); err != nil {
		return fmt.Errorf("%s: %w", f.config, err)
	}
	set := providers.New(ctx, c)
	defer set.Close()
	go set.Warm(ctx)
	order.Provider, order.Tell = set.Find, a.told()
	report, err := kill.Press(ctx, order)
	return a.killed(ctx, report, err)
}

// oneContext is nil for everybody. The error does not quote the key.
func oneContext(texts []string) (*flags.Context, error) {
	switch {
	case len(texts) == 0:
		return nil, nil
	case len(texts) > 1:
		return nil, &usageError{errors.New("--context is given several times: press once for each of them")}
	}
	kind, key, ok := strings.Cut(texts[0], ":")
	c := &flags.Context{Kind: kind, Key: key}
	if !ok {
		return nil, &usageError{errors.New("--context wants KIND:KEY, such as account:acme")}
	}
	if err := (flags.Change{Exclude: c}).Validate(); err != nil {
		return nil, &usageError{fmt.Errorf("--context: %w", err)}
	}
	return c, nil
}

// targets are the databases to ask: the one of that name, or all.
func targets(c *config.Config, unreadable map[string]error, name string) (all []kill.Database, err error) {
	for known, db := range c.Databases {
		all = append(all, kill.Database{Name: known, DSN: db.ConnectionString()})
	}
	for known, err := range unreadable {
		all = append(all, kill.Database{Name: known, Err: err})
	}
	if name != "" {
		all = slices.DeleteFunc(all, func(db kill.Database) bool { return db.Name != name })
		if len(all) == 0 {
			known := slices.Concat(slices.Collect(maps.Keys(c.Databases)), slices.Collect(maps.Keys(unreadable)))
			slices.Sort(known)
			return nil, fmt.Errorf("has no database %q; it knows: %s", name, strings.Join(known, ", "))
		}
	}
	if len(all) == 0 {
		return nil, errors.New("databases: is empty: name at least one")
	}
	return all, nil
}

// told writes progress with the seconds since the start.
func (a *app) told() func(format string, args ...any) {
	began := time.Now()
	return func(format string, args ...any) {
		fmt.Fprintf(a.stderr, "%6.2f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// exitUnrecorded: the flags are off and the migration does not know.
const exitUnrecorded = 4

// unrecorded is what people have to know when flags are off and nobody is told.
const unrecorded = `NO RECORD: the migration does not pause by itself, and its next stage may put the flags on again. Once Temporal answers, say
contraflow pause %[1]s; once the database answers, press again, and the record is made up for.`

// pressed is a report with what is wrong, as JSON.
type pressed struct {
	kill.Report
	Error    string `json:"error"`
	ExitCode int    `json:"exitCode"`
}

func (a *app) killed(ctx context.Context, r kill.Report, err error) error {
	id := r.Migration
	switch {
	case err == nil:
		return a.answer(r, "%s", afterKill(r))
	case errors.Is(err, kill.ErrNotOff):
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: interrupted; what was told above is off, the rest is as it was: press again", kill.ErrNotOff)
		}
		text := err.Error()
		if !r.Recorded {
			text += "\n" + fmt.Sprintf(unrecorded, id)
		}
		return a.wrong(r, text, exitError)
	case errors.Is(err, kill.ErrUnrecorded):
		text := "the flags are off, but " + err.Error()
		if !r.Recorded {
			text += "\n" + fmt.Sprintf(unrecorded, id)
		}
		if r.Database == "" {
			text += "\nWhether the old columns are still there is not known: look at the application."
		}
		return a.wrong(r, text, exitUnrecorded)
	case ctx.Err() != nil:
		err = errors.New("interrupted: no flag was changed")
	case errors.Is(err, ledger.ErrPastReturn):
		err = &hintedError{fmt.Errorf("refused: migration %s is behind its point of no return: the old columns may be gone, and with its flags off the application would read what is not there", id),
			"To turn the flags off all the same: --force"}
	case errors.Is(err, ledger.ErrPassing):
		err = &hintedError{fmt.Errorf("refused: migration %s may be passing its point of no return at this moment, or ending: its row in the database is held", id),
			"Press again. To turn the flags off all the same: --force"}
	case errors.Is(err, ledger.ErrUnknown):
		err = &hintedError{err, "See what there is: contraflow list. A migration that has not begun has changed nothing."}
	case errors.Is(err, kill.ErrNothingMoved) && r.Running && !r.Undoing:
		err = &hintedError{err, "To keep it from moving one: contraflow pause " + id}
	case errors.Is(err, kill.ErrSeveral):
		err = &usageError{err}
	case errors.Is(err, kill.ErrSilent):
		err = &hintedError{err, "The plan's file names the flags, too: --plan FILE turns them off, without a record where its database does not answer"}
	}
	return err
}

// wrong tells what is wrong, beside what was done.
func (a *app) wrong(r kill.Report, text string, code int) error {
	if a.json {
		if err := printJSON(a.stdout, pressed{r, text, code}); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(a.stderr, text)
	}
	return &endedError{code}
}

// afterKill says in one breath what is off, and what may be said next.
func afterKill(r kill.Report) string {
	var keys, gone []string
	for _, f := range r.Flags {
		if f.Outcome == kill.Gone {
			gone = append(gone, f.Key)
		} else {
			keys = append(keys, f.Key)
		}
	}
	whom := "everybody"
	if r.ContextKind != "" {
		whom = "one " + r.ContextKind
	}
	text := fmt.Sprintf("Off for %s after %d ms: %s.", whom, r.Milliseconds, strings.Join(keys, ", "))
	if len(gone) > 0 {
		text += fmt.Sprintf(" Not there, so that the fallback in the application's code decides: %s.", strings.Join(gone, ", "))
	}
	switch {
	case !r.Running:
		return text + " The migration is over; nothing puts them back."
	case r.Undoing:
		return text + " The migration is rolling back and goes on with that: it puts each flag back to what it was before, on or off. Flags that are back already were left alone; turn them off in the flag service if that is too much."
	case r.Earlier:
		return fmt.Sprintf("%s An earlier run has moved them. The migration pauses if its plan has flags still; else it goes on until a step that nothing undoes, which is refused. "+
			"To hold it at once: contraflow pause %s", text, r.Migration)
	case r.ContextKind != "":
		return fmt.Sprintf("%s The migration pauses. It goes on for the others: contraflow resume %s", text, r.Migration)
	}
	return fmt.Sprintf("%s The migration pauses. Put them back and go on: contraflow resume %s. Undo it: contraflow rollback %[2]s", text, r.Migration)
}
