package rehearse

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/ddl"
)

// down takes versions back, newest first, as the migration's compensation would, and compares the schema with what it was before.
func (r *run) down(ctx context.Context, versions []uint, before []string) (*Down, error) {
	r.say("Taking down again what can be taken down")
	told := &Down{Versions: []uint{}}
	for _, version := range slices.Backward(versions) {
		problem, err := r.repeat(ctx, version, ddl.Down)
		if err != nil {
			return nil, err
		}
		if problem != "" {
			told.Problem = problem
			return told, nil
		}
		told.Versions = append(told.Versions, version)
	}
	dump, err := r.scratch.dump(ctx)
	if err != nil {
		return nil, err
	}
	told.Differences = difference(before, linesOf(dump))
	told.Identical = len(told.Differences) == 0
	return told, nil
}

// repeat runs a file without watching it. The problem is why it failed, with its place.
func (r *run) repeat(ctx context.Context, version uint, direction ddl.Direction) (problem string, err error) {
	if err := r.Files.Check(version, direction); err != nil {
		return err.Error(), nil
	}
	script, _ := r.Files.Script(version, direction)
	conn, err := r.scratch.connect(ctx)
	if err != nil {
		return "", err
	}
	defer closeConn(ctx, conn)
	if script.NoTransaction {
		err = execute(ctx, conn, script.Statements)
	} else {
		err = pgx.BeginFunc(ctx, conn, func(pgx.Tx) error { return execute(ctx, conn, script.Statements) })
		if problemOf(err) == "" && err != nil { // deferred constraints speak at commit
			err = &refusal{err: err}
		}
	}
	if problem := problemOf(err); problem != "" {
		return script.Name + ": " + problem, nil
	}
	return "", err
}

func execute(ctx context.Context, conn *pgx.Conn, statements []ddl.Statement) error {
	for _, st := range statements {
		if _, err := conn.Exec(ctx, st.Text, pgx.QueryExecModeSimpleProtocol); err != nil {
			return &refusal{st, err}
		}
	}
	return nil
}
