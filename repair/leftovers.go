package repair

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/ddl"
)

// InvalidIndex is what a concurrent build that failed has left: it costs every write and helps no reader.
type InvalidIndex struct {
	Index string `json:"index"`
	Table string `json:"table"`
	// Building says that somebody builds it right now.
	Building bool `json:"building,omitempty"`
	// Drop is the statement that removes it.
	Drop string `json:"drop"`
}

// Intent is a statement outside a transaction whose end contraflow has not seen.
type Intent struct {
	Version   uint      `json:"version"`
	Direction string    `json:"direction"`
	Plan      string    `json:"plan"`
	Since     time.Time `json:"since"`
	// Next is what the next attempt does.
	Next string `json:"next"`
}

// Version that contraflow has applied and that doesn't stand by what schema_migrations says.
type Version struct {
	Version uint      `json:"version"`
	Plan    string    `json:"plan"`
	Applied time.Time `json:"applied"`
}

func (r *Report) leftovers(ctx context.Context, tx pgx.Tx, files *ddl.Files) error {
	rows, err := tx.Query(ctx, `
		select format('%I.%I', n.nspname, c.relname), format('%I.%I', tn.nspname, t.relname),
		       exists (select from pg_stat_progress_create_index p where p.index_relid = i.indexrelid),
		       format('DROP INDEX CONCURRENTLY %I.%I;', n.nspname, c.relname)
		  from pg_index i
		  join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
		  join pg_class t on t.oid = i.indrelid join pg_namespace tn on tn.oid = t.relnamespace
		 where not i.indisvalid and c.relkind <> 'I' and n.nspname !~ '^pg_' order by 1`)
	if err == nil {
		r.Invalid, err = pgx.CollectRows(rows, pgx.RowToStructByPos[InvalidIndex])
	}
	if err != nil {
		return fmt.Errorf("look for invalid indexes: %w", err)
	}
	var books bool
	if err := tx.QueryRow(ctx, "select to_regclass('contraflow.ddl_intent') is not null and to_regclass('contraflow.ddl_version') is not null").Scan(&books); err != nil || !books {
		return err
	}
	if err := r.intents(ctx, tx, files); err != nil {
		return fmt.Errorf("read contraflow.ddl_intent: %w", err)
	}
	if len(r.Rows) > 1 {
		return nil
	}
	at := int64(-1)
	if len(r.Rows) == 1 {
		at = r.Rows[0].Version
	}
	rows, err = tx.Query(ctx, "select version, plan, applied_at from contraflow.ddl_version where schema_name = $1 and version > $2 order by version", r.Schema, at)
	if err == nil {
		r.Above, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Version])
	}
	if err != nil {
		return fmt.Errorf("read contraflow.ddl_version: %w", err)
	}
	return nil
}

func (r *Report) intents(ctx context.Context, tx pgx.Tx, files *ddl.Files) error {
	rows, err := tx.Query(ctx, "select version, direction, plan, started_at, statement_sha from contraflow.ddl_intent where schema_name = $1 order by version, direction", r.Schema)
	if err != nil {
		return err
	}
	var i Intent
	var sha string
	_, err = pgx.ForEachRow(rows, []any{&i.Version, &i.Direction, &i.Plan, &i.Since, &sha}, func() error {
		i.Next = files.Resumes(i.Version, ddl.Direction(i.Direction), sha)
		r.Begun = append(r.Begun, i)
		return nil
	})
	return err
}
