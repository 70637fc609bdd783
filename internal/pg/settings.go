package pg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrSettings says that the settings of a connection don't hold or that its session isn't ours alone: something between us and
// Postgres has refused or dropped them, or shares a session among clients.
var ErrSettings = errors.New("the connection's settings don't hold, as behind a pooler: " +
	"connect to Postgres itself, for the worker needs few connections and its lock_timeout protects the application")

// checked are the parameters that must hold. Their values are written in Postgres's base units, for times milliseconds.
var checked = []string{"lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout", "client_connection_check_interval", "row_security"}

const (
	keepaliveIdle     = 10 * time.Second
	keepaliveInterval = 5 * time.Second
	keepaliveCount    = 3
	// silence is how long what the server has sent may stay without an answer: as long as the probes take.
	silence = keepaliveIdle + keepaliveInterval*(keepaliveCount+1)
)

// Watch adds what lets the server notice that this process or its machine is gone, so that its locks are free after seconds: a
// machine that is lost without a word would keep them for two hours by default. The kernel answers the probes, also
// while a statement runs for hours and while the process stands still.
func Watch(params map[string]string) {
	params["client_connection_check_interval"] = milliseconds(connectionCheckInterval)
	params["tcp_keepalives_idle"] = strconv.Itoa(int(keepaliveIdle.Seconds()))
	params["tcp_keepalives_interval"] = strconv.Itoa(int(keepaliveInterval.Seconds()))
	params["tcp_keepalives_count"] = strconv.Itoa(keepaliveCount)
	params["tcp_user_timeout"] = milliseconds(silence)
}

// CheckSettings compares what the connection was opened with to what holds. PgBouncer drops the parameters that its
// ignore_startup_parameters names, and without lock_timeout a change would wait in front of the application for ever. Where a
// role has the same settings none is lost, but the next transaction may be another session's, without our advisory lock: so the
// backend that answers must be the one that was announced at the start. Whatever only passes bytes on (a load balancer, a TLS
// or ssh tunnel) passes that too; a pooler announces a key of its own, in every mode. So do a few proxies that share nothing
// (Neon's): there too nobody could be named who blocks us, since that is looked up by the backend. The error wraps ErrSettings.
func CheckSettings(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, "select name, setting, pg_backend_pid() from pg_settings where name = any($1)", pgx.QueryExecModeExec, checked)
	if err != nil {
		return fmt.Errorf("read the connection's settings: %w", err)
	}
	var name, holds string
	var lost []string
	var backend uint32
	_, err = pgx.ForEachRow(rows, []any{&name, &holds, &backend}, func() error {
		if wanted := conn.Config().RuntimeParams[name]; written(wanted) && wanted != holds {
			lost = append(lost, name)
		}
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("read the connection's settings: %w", err)
	case len(lost) > 0:
		slices.Sort(lost)
		return fmt.Errorf("%w; lost: %s", ErrSettings, strings.Join(lost, ", "))
	case backend != conn.PgConn().PID():
		return fmt.Errorf("%w; another backend answers than the one announced when the connection was made, so in transaction mode locks and "+
			"settings would be left behind in sessions of others, and in session mode Postgres would not notice when this process is gone", ErrSettings)
	}
	return nil
}

// written leaves out what is not set, and what a connection string writes in units of its own.
func written(setting string) bool {
	_, err := strconv.Atoi(setting)
	return err == nil || setting == "off"
}

// Refused tells a pooler's refusal of our connection parameters from other failures to connect.
func Refused(err error) error {
	server, ok := errors.AsType[*pgconn.PgError](err)
	if _, connecting := errors.AsType[*pgconn.ConnectError](err); ok && connecting && server.Code == protocolViolation {
		return fmt.Errorf("%w; refused when the connection was made", ErrSettings)
	}
	return err
}

// protocolViolation is what PgBouncer answers to a startup parameter that it doesn't know.
const protocolViolation = "08P01"

// rowSecurityRoutine raises insufficientPrivilege when a policy would have hidden rows. The routine's name isn't translated, as
// the message is.
const rowSecurityRoutine = "check_enable_rls"

// HidesRows tells that Postgres refused a query because a row-level security policy would have hidden rows from it.
func HidesRows(e *pgconn.PgError) bool {
	return e.Code == insufficientPrivilege && e.Routine == rowSecurityRoutine
}

// RowsHidden is the way out when HidesRows.
const RowsHidden = "rows that a policy hides would be neither filled nor proved: give the role BYPASSRLS, or exempt it from the table's policies"
