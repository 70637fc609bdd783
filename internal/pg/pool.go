// Package pg is what every engine needs of Postgres: pools whose settings hold on every connection,
// and the tables of schema contraflow.
package pg

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Settings of every connection of a pool. They travel as connection parameters, because SET on a pool
// lands on one connection only.
type Settings struct {
	// ApplicationName shows in pg_stat_activity. Defaults to "contraflow".
	ApplicationName string
	// LockTimeout bounds each wait for a lock. Defaults to the server's.
	LockTimeout time.Duration
	// StatementTimeout bounds each statement. Defaults to the server's.
	StatementTimeout time.Duration
	// MaxConns of the pool. Defaults to pgxpool's.
	MaxConns int32
}

// connectionCheckInterval lets an orphaned backend notice that its client is gone and release its locks (Postgres ≥ 14).
const connectionCheckInterval = 2 * time.Second

// Open makes a pool. It connects at first use; a malformed dsn is an error here, without the dsn in its text.
func Open(ctx context.Context, dsn string, s Settings) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("malformed Postgres connection string (its text is withheld: it may hold a password)")
	}
	s.apply(config.ConnConfig)
	if s.MaxConns > 0 {
		config.MaxConns = s.MaxConns
	}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if config.ConnConfig.User == Schema {
			if err := leaveOwnSchema(ctx, conn); err != nil {
				return err
			}
		}
		return CheckSettings(ctx, conn)
	}
	return pgxpool.NewWithConfig(ctx, config)
}

// leaveOwnSchema takes "$user" off the search path of a role that is called like our schema: the application's unqualified
// names would otherwise lead into it.
func leaveOwnSchema(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `select set_config('search_path',
		coalesce(nullif(regexp_replace(current_setting('search_path'), '"?\$user"?\s*,?\s*', ''), ''), 'public'), false)`)
	return err
}

func (s Settings) apply(config *pgx.ConnConfig) {
	params := config.RuntimeParams
	params["application_name"] = "contraflow"
	if s.ApplicationName != "" {
		params["application_name"] = s.ApplicationName
	}
	params["client_connection_check_interval"] = milliseconds(connectionCheckInterval)
	// Rows that a policy hides would be left out of a backfill and of its proof: with this Postgres refuses the query instead.
	params["row_security"] = "off"
	if s.LockTimeout > 0 {
		params["lock_timeout"] = milliseconds(s.LockTimeout)
	}
	if s.StatementTimeout > 0 {
		params["statement_timeout"] = milliseconds(s.StatementTimeout)
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
