package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/config"
	"github.com/contraflow/contraflow/internal/pg"
	"github.com/contraflow/contraflow/internal/sqltree"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/repair"
)

type repairFlags struct {
	config, database, as, direction, by string
	finish                              bool
}

// inspected is the answer as JSON. Done is set where something was repaired, else Report.
type inspected struct {
	Plan     string `json:"plan"`
	Database string `json:"database"`
	*repair.Report
	// Command does what the verdict says.
	Command string       `json:"command,omitempty"`
	Done    *repair.Done `json:"done,omitempty"`
}

func newRepair(a *app) *cobra.Command {
	var f repairFlags
	cmd := &cobra.Command{
		Use:     "repair PLAN",
		GroupID: groupRun,
		Short:   "Inspect a dirty database, and repair its version",
		Long: `Inspect the version of the plan's database, and repair it where golang-migrate has left it dirty.

Without --as and --finish it changes nothing: it tells of each statement of the failed file whether the catalog shows its
effect, and the command that follows from that. It also lists invalid indexes, statements outside a transaction whose end
nobody has seen, and who holds the migration lock right now.

  --as applied      the file counts as done: its version stands
  --as unapplied    the file counts as never begun: the version before it stands
  --finish          runs the statements that are missing, in one transaction with the version

A repair looks again, under golang-migrate's lock, and is refused where the catalog contradicts. Where the catalog can't
tell, your word counts. It is recorded in contraflow.audit, if there is one. The target database is read by the connection
string in the worker's configuration; Temporal is not needed.

Exit codes: 0 nothing is dirty or it is repaired, 1 dirty or refused, 2 wrong call or bad plan.`,
		Example: `  contraflow repair plan.yaml --config worker.yaml
  contraflow repair plan.yaml --config worker.yaml --as unapplied`,
		Args: needs("PLAN"),
		RunE: a.does(func(ctx context.Context, args []string) error { return a.repair(ctx, args[0], f) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", workerConfig, "the worker's configuration file")
	flags.StringVar(&f.database, "database", "", "the database's name in the configuration (default the plan's)")
	flags.StringVar(&f.as, "as", "", "what the failed file counts as: applied or unapplied")
	flags.BoolVar(&f.finish, "finish", false, "run what is missing of a half applied file")
	flags.StringVar(&f.direction, "direction", "", "which file failed, where the catalog can't tell: up or down")
	flags.StringVar(&f.by, "by", "", "who repairs (default the user of this machine)")
	cmd.MarkFlagsMutuallyExclusive("as", "finish")
	return cmd
}

// way and direction refuse other words.
func (f repairFlags) way() (repair.Way, error) {
	switch way := repair.Way(f.as); {
	case f.finish:
		return repair.Finish, nil
	case f.as == "" || way == repair.AsApplied || way == repair.AsUnapplied:
		return way, nil
	}
	return "", &usageError{fmt.Errorf("--as is %q: say applied or unapplied", f.as)}
}

func (f repairFlags) question(files *ddl.Files) (repair.Question, error) {
	direction := ddl.Direction(f.direction)
	if direction != "" && direction != ddl.Up && direction != ddl.Down {
		return repair.Question{}, &usageError{fmt.Errorf("--direction is %q: say up or down", f.direction)}
	}
	return repair.Question{Files: files, Direction: direction}, nil
}

func (a *app) repair(ctx context.Context, file string, f repairFlags) error {
	way, err := f.way()
	if err != nil {
		return err
	}
	p, _, err := readPlan(file)
	if err != nil {
		return err
	}
	files, err := planFiles(file, p)
	if err != nil {
		return err
	}
	question, err := f.question(files)
	if err != nil {
		return err
	}
	database := cmp.Or(f.database, p.Database)
	dsn, err := config.ReadDatabase(f.config, database, a.env.get)
	if err != nil {
		return misconfigured(err, f.config, "reads the target database")
	}
	_, _ = sqltree.Parse("") // its start takes seconds: neither the clock nor a transaction shall run meanwhile
	pool, err := pg.Open(ctx, dsn, pg.Settings{ApplicationName: "contraflow", StatementTimeout: listTimeout})
	if err != nil {
		return fmt.Errorf("database %s: %w", database, err)
	}
	defer pool.Close()
	if way == "" {
		found := inspected{Plan: p.Name, Database: database}
		return a.inspect(ctx, pool, question, found, repairCommand(file, f))
	}
	by, err := person(f.by)
	if err != nil {
		return err
	}
	done, err := repair.Do(ctx, pool, repair.Order{Question: question, Way: way, By: by, Plan: p.Name, OnWait: a.tellWait()})
	if refused, ok := errors.AsType[*repair.RefusedError](err); ok {
		if refused.Report.Dirty {
			return &hintedError{refused, "Statement by statement: " + repairCommand(file, f)}
		}
		return refused
	}
	if err != nil {
		return fmt.Errorf("database %s: %w", database, err)
	}
	return a.answer(inspected{Plan: p.Name, Database: database, Done: &done},
		"Repaired: %s.\ngolang-migrate and contraflow go on from here.", done)
}

func planFiles(file string, p *plan.Plan) (*ddl.Files, error) {
	if p.Migrations == "" {
		return nil, fmt.Errorf("plan %s has no migrations folder, so it has no version to repair", p.Name)
	}
	folder := filepath.Join(filepath.Dir(file), filepath.FromSlash(p.Migrations))
	files, err := ddl.ReadFiles(os.DirFS(folder))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	return files, nil
}

// tellWait says on stderr what a repair waits for: it takes as long as others hold their locks. Ages grow while it waits, so
// the same lock and the same holders are told once.
func (a *app) tellWait() func(ddl.Waiting) {
	told := map[string]bool{}
	return func(w ddl.Waiting) {
		key := w.Lock
		for _, b := range w.Blockers {
			key += fmt.Sprintf(" %d", b.PID)
		}
		if w.Waits() && !told[key] {
			told[key] = true
			fmt.Fprintln(a.stderr, "Waiting for "+w.String())
		}
	}
}

func (a *app) inspect(ctx context.Context, pool *pgxpool.Pool, question repair.Question, found inspected, command string) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var err error
	if found.Report, err = repair.Inspect(ctx, pool, question); err != nil {
		return fmt.Errorf("database %s: %w", found.Database, err)
	}
	if found.Way != "" {
		found.Command = command + wayFlag(found.Way)
	}
	if err := a.answer(found, "%s", inspectedText(found)); err != nil {
		return err
	}
	if found.Dirty {
		return &endedError{exitError}
	}
	return nil
}

func wayFlag(way repair.Way) string {
	if way == repair.Finish {
		return " --finish"
	}
	return " --as " + string(way)
}

// repairCommand is for pasting.
func repairCommand(file string, f repairFlags) string {
	words := []string{"contraflow", "repair", shellWord(file)}
	if f.config != workerConfig {
		words = append(words, "--config", shellWord(f.config))
	}
	if f.database != "" {
		words = append(words, "--database", shellWord(f.database))
	}
	if f.direction != "" {
		words = append(words, "--direction", f.direction)
	}
	return strings.Join(words, " ")
}

// shellWord quotes what a shell would take apart.
func shellWord(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(c rune) bool { return !strings.ContainsRune("/._-+,:@%", c) && !isAlphanumeric(c) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func isAlphanumeric(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// inspectedText is the report for a terminal: what stands, the verdict, the command.
func inspectedText(found inspected) string {
	var b strings.Builder
	rows := make([]string, 0, 1)
	for _, row := range found.Rows {
		rows = append(rows, row.String())
	}
	if len(rows) == 0 {
		rows = append(rows, "no version")
	}
	fmt.Fprintf(&b, "Database %s, schema %s: %s\n", found.Database, found.Schema, strings.Join(rows, "; "))
	for _, file := range found.Files {
		fmt.Fprintln(&b)
		statementTable(&b, file)
	}
	fmt.Fprintf(&b, "\n%s\n", found.Verdict)
	if found.Command != "" {
		fmt.Fprintf(&b, "\n  %s\n", found.Command)
	}
	leftoverText(&b, found.Report)
	return strings.TrimSuffix(b.String(), "\n")
}

func statementTable(b *strings.Builder, file repair.File) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHERE\tSTATEMENT\tSTANDING\tWHY")
	for _, st := range file.Statements {
		fmt.Fprintf(w, "%s:%d\t%s\t%s\t%s\n", st.File, st.Line, st.Summary, st.Standing, st.Why)
	}
	if len(file.Statements) == 0 {
		fmt.Fprintf(w, "%s\t\t\t%s\n", file.Name, file.Problem)
	}
	_ = w.Flush() // a strings.Builder takes everything
}

// leftoverText lists what else is left of changes that failed.
func leftoverText(b *strings.Builder, r *repair.Report) {
	section := func(title string, n int, line func(i int) string) {
		if n == 0 {
			return
		}
		fmt.Fprintf(b, "\n%s\n", title)
		for i := range n {
			fmt.Fprintf(b, "  %s\n", line(i))
		}
	}
	section("Worth a look:", len(r.Notes), func(i int) string { return r.Notes[i] })
	section("The migration lock is held by:", len(r.Holders), func(i int) string { return r.Holders[i] })
	section("Invalid indexes, of concurrent builds that failed:", len(r.Invalid), func(i int) string {
		index := r.Invalid[i]
		if index.Building {
			return fmt.Sprintf("%s on %s is being built right now", index.Index, index.Table)
		}
		return fmt.Sprintf("%s on %s: %s", index.Index, index.Table, index.Drop)
	})
	section("Statements outside a transaction whose end nobody has seen:", len(r.Begun), func(i int) string {
		begun := r.Begun[i]
		return fmt.Sprintf("version %d %s of plan %s, begun %s: %s", begun.Version, begun.Direction, begun.Plan, begun.Since.UTC().Format(time.RFC3339), begun.Next)
	})
	section("Versions that contraflow applied, above the one that stands (somebody else took them down):", len(r.Above), func(i int) string {
		above := r.Above[i]
		return fmt.Sprintf("version %d of plan %s, applied %s", above.Version, above.Plan, above.Applied.UTC().Format(time.RFC3339))
	})
}
