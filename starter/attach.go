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
	var short signals.Rehearsal
	if err == nil {
		short = shortened(report)
		err = short.Check()
	}
	switch {
	case err == nil:
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
	s := signals.Rehearsal{PlanHash: r.PlanHash, Database: r.Database, Server: cut(r.Server), Cluster: r.Cluster, DatabaseOID: r.DatabaseOID, From: r.From,
		By: cut(r.By), At: r.At, Count: len(r.Statements), Worst: string(r.Worst()), Reversible: r.Down != nil && r.Down.Identical && r.Down.Problem == ""}
	problems := r.Problems()
	for i, problem := range problems {
		if i == signals.MaxRehearsedProblems-1 && i < len(problems)-1 {
			s.Problems = append(s.Problems, fmt.Sprintf("and %d more", len(problems)-i))
			break
		}
		s.Problems = append(s.Problems, cutTo(problem, signals.MaxRehearsedProblem))
	}
	for kept := min(len(r.Statements), signals.MaxRehearsedStatements); kept > 0; kept-- {
		s.Statements = nil
		for _, st := range worst(r.Statements, kept) {
			s.Statements = append(s.Statements, signals.RehearsedStatement{Step: cut(st.Step), Where: cut(st.Where()), Verdict: cut(string(st.Verdict)), Detail: cut(st.Detail())})
		}
		if s.Check() == nil {
			break // else their texts are long: it gets by with fewer
		}
	}
	return s
}

// worst statements, so many, in their order.
func worst(all []rehearse.Statement, kept int) []rehearse.Statement {
	byVerdict := make([]int, len(all))
	for i := range all {
		byVerdict[i] = i
	}
	slices.SortStableFunc(byVerdict, func(i, j int) int { return all[j].Verdict.Compare(all[i].Verdict) })
	byVerdict = byVerdict[:kept]
	slices.Sort(byVerdict)
	var left []rehearse.Statement
	for _, i := range byVerdict {
		left = append(left, all[i])
	}
	return left
}

func cut(text string) string { return cutTo(text, signals.MaxRehearsedText) }

// cutTo leaves no half of a character.
func cutTo(text string, limit int) string {
	const more = "…"
	if text = oneLine(text); len(text) > limit {
		return strings.ToValidUTF8(text[:limit-len(more)], "") + more
	}
	return text
}
