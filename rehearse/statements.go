package rehearse

import (
	"context"
	"fmt"

	"github.com/contraflow/contraflow/ddl"
)

// Statements applies up files, one after the other, to the database that dsn names, which they change for good, and tells what
// each statement did. There is no target, so sizes are -1. It ends behind a statement that fails.
func Statements(ctx context.Context, dsn string, files *ddl.Files, versions []uint) ([]Statement, error) {
	config, err := parseDSN(dsn, "scratch database")
	if err != nil {
		return nil, err
	}
	s := &scratch{database: database{config: config}, keeper: config}
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, conn)
	if err := s.identify(ctx, conn); err != nil {
		return nil, fmt.Errorf("read the scratch database: %w", err)
	}
	var all []Statement
	for _, version := range versions {
		if err := files.Check(version, ddl.Up); err != nil {
			return nil, err
		}
		script, _ := files.Script(version, ddl.Up)
		statements, err := s.record(ctx, script)
		if err != nil {
			return nil, err
		}
		all = append(all, statements...)
		if last := len(statements) - 1; last >= 0 && statements[last].Problem != "" {
			break
		}
	}
	return all, nil
}
