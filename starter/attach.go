package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/rehearse"
	"github.com/contraflow/contraflow/signals"
)

// Bounds of what travels with a start and stays in Temporal's history, texts in bytes: 32 KB in all.
const (
	maxAttachedStatements = 50
	maxAttachedProblems   = 20
	maxAttachedText       = 200
	maxAttachedProblem    = 300
)

// attach gives the start the rehearsal of exactly this plan, if there is one. One that was only found is left behind where it does not
// fit; one that was asked for is an error then.
func (a *app) attach(planArg string, f startFlags, input *signals.Input) error {
	file, asked := f.rehearsal, f.rehearsal != ""
	switch {
	case f.noRehearsal && asked:
		return &usageError{errors.New("--rehearsal and --no-rehearsal: give one of them")}
	case f.noRehearsal, !asked && !isPlanFile(planArg):
		return nil
	case !asked:
		file = besides(planArg)
	}
	report, err := readReport(file)
	if !asked && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && isPlanFile(planArg) { // of a plan that the worker knows by name, the worker judges
		err = fits(report, planArg)
	}
	switch {
	case err == nil:
		short := shortened(report)
		input.Rehearsal = &short
	case asked:
		return &usageError{fmt.Errorf("the rehearsal %s %w", file, err)}
	default:
		fmt.Fprintf(a.stderr, "note: started without the rehearsal %s, which %v. Rehearse again: contraflow rehearse %s\n", file, err, planArg)
	}
	return nil
}

func readReport(file string) (*rehearse.Report, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("can't be read: %w", err)
	}
	var r rehearse.Report
	if err := json.Unmarshal(raw, &r); err != nil || r.PlanHash == "" {
		return nil, errors.New("is none: contraflow rehearse writes them")
	}
	return &r, nil
}

// fits tells why a rehearsal is not of this plan as it is now.
func fits(r *rehearse.Report, planFile string) error {
	now, err := validate(planFile)
	if err != nil {
		return fmt.Errorf("can't be compared: the plan or its SQL files have mistakes, which contraflow validate lists")
	}
	if r.PlanHash != now.Hash {
		return fmt.Errorf("is of plan hash %s, and the plan and its SQL files have %s now", plan.ShortHash(r.PlanHash), plan.ShortHash(now.Hash))
	}
	p, _, err := readPlan(planFile)
	if err != nil {
		return err
	}
	if r.Database != p.Database {
		return fmt.Errorf("is of database %s, and the plan changes %s", r.Database, p.Database)
	}
	return nil
}

// shortened is what people need to decide; the file has the rest.
func shortened(r *rehearse.Report) signals.Rehearsal {
	s := signals.Rehearsal{PlanHash: r.PlanHash, Database: r.Database, Server: cut(r.Server), At: r.At, Count: len(r.Statements), Worst: string(r.Worst()),
		Reversible: r.Down != nil && r.Down.Identical && r.Down.Problem == ""}
	for _, st := range worst(r.Statements) {
		s.Statements = append(s.Statements, signals.RehearsedStatement{Step: st.Step, Where: cut(st.Where()), Verdict: cut(string(st.Verdict)), Detail: cut(st.Detail())})
	}
	for i, problem := range r.Problems() {
		if i == maxAttachedProblems {
			s.Problems = append(s.Problems, fmt.Sprintf("and %d more", len(r.Problems())-i))
			break
		}
		s.Problems = append(s.Problems, cutTo(problem, maxAttachedProblem))
	}
	return s
}

// worst statements, in their order.
func worst(all []rehearse.Statement) []rehearse.Statement {
	if len(all) <= maxAttachedStatements {
		return all
	}
	byVerdict := make([]int, len(all))
	for i := range all {
		byVerdict[i] = i
	}
	slices.SortStableFunc(byVerdict, func(i, j int) int { return all[j].Verdict.Compare(all[i].Verdict) })
	kept := byVerdict[:maxAttachedStatements]
	slices.Sort(kept)
	var left []rehearse.Statement
	for _, i := range kept {
		left = append(left, all[i])
	}
	return left
}

func cut(text string) string { return cutTo(text, maxAttachedText) }

// cutTo leaves no half of a character.
func cutTo(text string, limit int) string {
	const more = "…"
	if text = oneLine(text); len(text) > limit {
		return strings.ToValidUTF8(text[:limit-len(more)], "") + more
	}
	return text
}
