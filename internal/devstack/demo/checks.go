package demo

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/contraflow/contraflow/examples/shop/app"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

// Check is one thing that must hold at the end.
type Check struct {
	Name string
	// Problem is "" when it holds.
	Problem string
}

// World is what a rolled back migration must leave as it was.
type World struct {
	Catalog []string
	Version string // of the schema
	Flags   map[string]flagserver.Flag
}

// newVersion is the schema that the plan leads to.
const newVersion = 3

// untouched are the seeded customers that the load generator never moves: they follow the formula of package seed for ever.
const untouched = `id <= $1 and id % 10 <> 0`

// Look takes the world in, for CheckUnchanged.
func (s *Stack) Look(ctx context.Context) (World, error) {
	w := World{Flags: map[string]flagserver.Flag{}}
	var err error
	if w.Catalog, err = Catalog(ctx, s.Pool); err != nil {
		return w, err
	}
	if w.Version, err = s.version(ctx); err != nil {
		return w, err
	}
	for _, key := range flagKeys() {
		flag, ok := s.Flags.Snapshot(key)
		if !ok {
			return w, fmt.Errorf("there is no flag %s", key)
		}
		w.Flags[key] = timeless(flag)
	}
	return w, nil
}

func flagKeys() []string { return []string{app.WriteNewFlag, app.ReadNewFlag} }

// timeless is a flag without what every change changes: versions and dates.
func timeless(f flagserver.Flag) flagserver.Flag {
	f.Version, f.ArchivedDate = 0, 0
	for _, e := range f.Environments {
		e.Version, e.LastModified = 0, 0
	}
	return f
}

// CheckMigrated looks whether the plan has been carried out in full.
func (s *Stack) CheckMigrated(ctx context.Context) []Check {
	checks := []Check{
		s.number(ctx, "the column address is gone", 0,
			`select count(*) from pg_attribute where attrelid = 'customers'::regclass and attname = 'address' and not attisdropped`),
		s.number(ctx, "every customer has a street and a number", 0,
			`select count(*) from customers where street is null or street_number is null`),
		s.number(ctx, "untouched customers follow the formula", s.untouched(),
			`select count(*) from customers where `+untouched+`
				and street_number = (id % 999)::text and street = 'Some Street Number ' || (id % 1000)`, s.options.Rows),
		s.checkVersion(ctx, fmt.Sprintf("%d, clean", newVersion)),
	}
	for _, key := range flagKeys() {
		c := Check{Name: "flag " + key + " is archived"}
		if flag, ok := s.Flags.Snapshot(key); !ok || !flag.Archived {
			c.Problem = "it is not"
		}
		checks = append(checks, c)
	}
	for _, step := range s.Plan.Steps {
		if step.Approve != nil {
			checks = append(checks, s.number(ctx, "the audit names who approved "+step.Name, int64(max(step.Approve.Quorum, 1)),
				`select count(distinct actor) from contraflow.audit where event = 'approve' and step = $1 and actor <> ''`, step.Name))
		}
		if f := step.Flag; f != nil && f.Attest != nil {
			checks = append(checks, s.checkAttested(ctx, step.Name, int64(len(f.All())*len(f.Moves()))))
		}
	}
	return checks
}

// checkAttested counts the stages of a step behind which an attestation stands. One that the kill switch has taken back is
// attested again when it is put back, and may serve some less than before.
func (s *Stack) checkAttested(ctx context.Context, step string, stages int64) Check {
	return s.number(ctx, "the shop has attested each stage of "+step, stages, `select least($2, count(distinct (
			select split_part(stage.detail, ', version ', 1) from contraflow.audit stage
			where stage.step = attested.step and stage.event = 'flag' and stage.id < attested.id order by stage.id desc limit 1)))
		from contraflow.audit attested where event = 'flag attested' and step = $1`, step, stages)
}

// CheckUnchanged looks whether a rolled back migration has left the world as it was.
func (s *Stack) CheckUnchanged(ctx context.Context, before World) []Check {
	checks := []Check{
		s.number(ctx, "untouched customers follow the formula", s.untouched(),
			`select count(*) from customers where `+untouched+`
				and address = (id % 999) || ' Some Street Number ' || (id % 1000)`, s.options.Rows),
		s.checkVersion(ctx, before.Version),
	}
	catalog, flags := Check{Name: "the catalog is as before"}, Check{Name: "the flags are as before"}
	now, err := s.Look(ctx)
	if err != nil {
		catalog.Problem = err.Error()
		return append(checks, catalog)
	}
	catalog.Problem = strings.Join(Diff(before.Catalog, now.Catalog), "\n")
	for key, flag := range before.Flags {
		if !reflect.DeepEqual(flag, now.Flags[key]) {
			flags.Problem += fmt.Sprintf("%s was %+v\n%s is  %+v\n", key, flag, key, now.Flags[key])
		}
	}
	return append(checks, catalog, flags)
}

// untouched is how many seeded customers follow the formula.
func (s *Stack) untouched() int64 { return s.options.Rows - s.options.Rows/10 }

// number checks what a query returns.
func (s *Stack) number(ctx context.Context, name string, want int64, query string, args ...any) Check {
	var got int64
	if err := s.Pool.QueryRow(ctx, query, args...).Scan(&got); err != nil {
		return Check{name, err.Error()}
	}
	if got != want {
		return Check{name, fmt.Sprintf("counted %d instead of %d", got, want)}
	}
	return Check{Name: name}
}

func (s *Stack) checkVersion(ctx context.Context, want string) Check {
	c := Check{Name: "the schema is at version " + want}
	switch got, err := s.version(ctx); {
	case err != nil:
		c.Problem = err.Error()
	case got != want:
		c.Problem = "it is at " + got
	}
	return c
}

// version is golang-migrate's own account of the schema.
func (s *Stack) version(ctx context.Context) (string, error) {
	var text string
	err := s.Pool.QueryRow(ctx, `select string_agg(version || case when dirty then ', dirty' else ', clean' end, '; ') from schema_migrations`).Scan(&text)
	if err != nil {
		return "", fmt.Errorf("read the schema's version: %w", err)
	}
	return text, nil
}
