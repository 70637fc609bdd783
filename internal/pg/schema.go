package pg

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sort"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Schema is where contraflow keeps its own tables in the target database.
const Schema = "contraflow"

//go:embed schema/*.sql
var schemaFiles embed.FS

// schemaLock serializes installers; an arbitrary constant of ours ("contraflo" folded to 63 bits).
const schemaLock = 7165065861944472

// ErrNewerSchema says that a newer contraflow has already worked on this database.
var ErrNewerSchema = errors.New("the tables of schema contraflow were written by a newer contraflow: upgrade this worker")

// ErrGrant says that the role lacks a right; the text around it holds the statement that gives it.
var ErrGrant = errors.New("the role lacks a right on the database")

// EnsureSchema creates or upgrades the tables of schema contraflow: the files of internal/pg/schema in the order of
// their names, each once, all in one transaction. It is cheap when there is nothing to do. Errors: ErrNewerSchema, ErrGrant, ErrSettings.
func EnsureSchema(ctx context.Context, pool *pgxpool.Pool) error {
	return granted(ctx, pool, Refused(ensureSchema(ctx, pool)))
}

const insufficientPrivilege = "42501" // SQLSTATE

// granted turns a refusal into the statement that a person has to run.
func granted(ctx context.Context, q querier, err error) error {
	server, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || server.Code != insufficientPrivilege {
		return err
	}
	var database, role string
	var exists bool
	if lookup := q.QueryRow(ctx, "select current_database(), current_user, exists (select from pg_namespace where nspname = $1)", Schema).
		Scan(&database, &role, &exists); lookup != nil {
		return err
	}
	database, role = pgx.Identifier{database}.Sanitize(), pgx.Identifier{role}.Sanitize()
	if !exists {
		return fmt.Errorf("%w: contraflow keeps its own tables in schema %s, which it creates itself once it may: GRANT CREATE ON DATABASE %s TO %s", ErrGrant, Schema, database, role)
	}
	return fmt.Errorf("%w: schema %s belongs to another role; let the worker be a member of its owner, or: "+
		"GRANT USAGE, CREATE ON SCHEMA %[2]s TO %[3]s; GRANT ALL ON ALL TABLES IN SCHEMA %[2]s TO %[3]s; GRANT ALL ON ALL SEQUENCES IN SCHEMA %[2]s TO %[3]s",
		ErrGrant, Schema, role)
}

func ensureSchema(ctx context.Context, pool *pgxpool.Pool) error {
	files, err := schemaNames()
	if err != nil {
		return err
	}
	have, err := schemaVersion(ctx, pool)
	if err != nil {
		return fmt.Errorf("read the version of schema contraflow: %w", err)
	}
	if have == len(files) {
		return nil
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", int64(schemaLock)); err != nil {
			return err
		}
		have, err := schemaVersion(ctx, tx) // again, now that nobody else installs
		if err != nil {
			return err
		}
		if have > len(files) {
			return ErrNewerSchema
		}
		for _, name := range files[have:] {
			sql, err := schemaFiles.ReadFile(name)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, string(sql)); err != nil {
				return fmt.Errorf("create the tables of schema contraflow (%s): %w", name, err)
			}
			if _, err := tx.Exec(ctx, "insert into contraflow.schema_version (version) values ($1)", have+1); err != nil {
				return err
			}
			have++
		}
		return nil
	})
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func schemaVersion(ctx context.Context, q querier) (int, error) {
	var exists bool
	// Not to_regclass: it may answer from a cache that does not know yet what was committed while we waited for the lock.
	if err := q.QueryRow(ctx, `select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = $1 and c.relname = 'schema_version')`, Schema).Scan(&exists); err != nil || !exists {
		return 0, err
	}
	var version int
	err := q.QueryRow(ctx, "select coalesce(max(version), 0) from contraflow.schema_version").Scan(&version)
	return version, err
}

func schemaNames() ([]string, error) {
	names, err := fs.Glob(schemaFiles, "schema/*.sql")
	sort.Strings(names)
	return names, err
}
