package rehearse

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/pg"
)

const (
	// applicationName is what the target's own people see.
	applicationName = "contraflow rehearse"
	// targetStatement bounds each reading; sizes of ten thousand tables take a second.
	targetStatement = 30 * time.Second
)

// database is one that we are connected to, and what a session needs to see there what the plan's files would see.
type database struct {
	config *pgx.ConnConfig
	major  int
	// version as people write it, such as "15.14".
	version string
	// path lists the schemas of the search_path; contraflow's own isn't among them.
	path []string
}

// target is the database that the plan is for. It is only read.
type target struct {
	database
	conn *pgx.Conn
	// state of its schema_migrations.
	state    ddl.State
	sizes    map[name]Size
	place    placement
	name     string // of the database
	rights   rights
	identity pg.Identity
	started  time.Time // its server
	// servers that the schema reaches out to, and publications.
	servers, publications []string
	timeZone              string
}

// name of a relation.
type name struct{ schema, relation string }

// placement is how a database sorts and stores text.
type placement struct {
	Encoding, Collate, Ctype, Provider string
	ICU                                *string
}

// parseDSN withholds the connection string, which may hold a password.
func parseDSN(dsn, whose string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("the connection string of the %s is malformed (its text is withheld: it may hold a password)", whose)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // a pooler may stand between
	config.RuntimeParams["application_name"] = applicationName
	return config, nil
}

// openTarget connects, and reads what the rehearsal has to know.
func openTarget(ctx context.Context, dsn string, files *ddl.Files) (*target, error) {
	config, err := parseDSN(dsn, "target database")
	if err != nil {
		return nil, err
	}
	params := config.RuntimeParams
	params["default_transaction_read_only"] = "on"
	params["statement_timeout"] = strconv.FormatInt(targetStatement.Milliseconds(), 10)
	params["lock_timeout"] = strconv.FormatInt(patience.Milliseconds(), 10)
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		if refused := pg.Refused(err); errors.Is(refused, pg.ErrSettings) {
			return nil, fmt.Errorf("connect to the target database: %w", refused)
		}
		return nil, fmt.Errorf("connect to the target database: %w", withoutAddress(err))
	}
	t := &target{database: database{config: config}, conn: conn}
	if err := t.read(ctx, files); err != nil {
		t.close(ctx)
		if waited, ok := errors.AsType[*pgconn.PgError](err); ok && waited.Code == stateLockNotAvailable {
			return nil, errors.New("read the target database: somebody changes a table just now, and the rehearsal does not wait; see who holds a lock in pg_locks, and rehearse again when it has ended")
		}
		return nil, fmt.Errorf("read the target database: %w", err)
	}
	return t, nil
}

func (t *target) close(ctx context.Context) { closeConn(ctx, t.conn) }

func (t *target) read(ctx context.Context, files *ddl.Files) (err error) {
	if files != nil {
		if t.state, err = stateOf(ctx, t.config, files); err != nil {
			return err
		}
	}
	if t.identity, err = pg.ReadIdentity(ctx, t.conn); err != nil {
		return err
	}
	tx, err := t.conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // it has only read
	if err := t.identify(ctx, tx); err != nil {
		return err
	}
	if err := tx.QueryRow(ctx, `select datname, pg_postmaster_start_time(), current_setting('TimeZone'), pg_encoding_to_char(encoding), datcollate, datctype,
		coalesce(to_jsonb(d)->>'datlocprovider', 'c'), coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale')
		from pg_database d where datname = current_database()`).
		Scan(&t.name, &t.started, &t.timeZone, &t.place.Encoding, &t.place.Collate, &t.place.Ctype, &t.place.Provider, &t.place.ICU); err != nil {
		return err
	}
	if err := t.rights.read(ctx, tx); err != nil {
		return err
	}
	if t.servers, err = texts(ctx, tx, "select srvname from pg_foreign_server order by 1"); err != nil {
		return err
	}
	if t.publications, err = texts(ctx, tx, "select pubname from pg_publication order by 1"); err != nil {
		return err
	}
	return t.measure(ctx, tx)
}

// stateOf reads schema_migrations as ddl does.
func stateOf(ctx context.Context, config *pgx.ConnConfig, files *ddl.Files) (ddl.State, error) {
	pooled, err := pgxpool.ParseConfig("")
	if err != nil {
		return ddl.State{}, err
	}
	pooled.ConnConfig, pooled.MaxConns = config.Copy(), 1
	pool, err := pgxpool.NewWithConfig(ctx, pooled)
	if err != nil {
		return ddl.State{}, err
	}
	defer pool.Close()
	return ddl.New(pool, files, ddl.Options{}).State(ctx)
}

// querier reads on a connection or in a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// identify reads what is the same for the target and the scratch server.
func (d *database) identify(ctx context.Context, q querier) (err error) {
	var number int
	if err := q.QueryRow(ctx, "select current_setting('server_version_num')::int").Scan(&number); err != nil {
		return err
	}
	d.major, d.version = number/10000, fmt.Sprintf("%d.%d", number/10000, number%10000)
	d.path, err = texts(ctx, q, `select name from unnest(current_schemas(false)) with ordinality path (name, nr) where name <> '`+pg.Schema+`' order by nr`)
	return err
}

// measure reads how large everything is, and asks no more than statistics of what somebody is changing just now. A partitioned table, or its index, is as large as its partitions.
func (t *target) measure(ctx context.Context, q querier) error {
	rows, err := q.Query(ctx, `with relation as (
			select c.oid, n.nspname, c.relname, c.relkind, c.reltuples from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where c.relkind in ('r', 'm', 'i', 'p', 'I') and n.nspname not in ('pg_catalog', 'information_schema', $1) and n.nspname !~ '^pg_(toast|temp)'),
		leaf as (
			select r.oid, t.relid as leaf from relation r, pg_partition_tree(r.oid) t where r.relkind in ('p', 'I') and t.isleaf
			union all select oid, oid from relation where relkind in ('r', 'm', 'i')),
		changing as (select distinct coalesce(i.indrelid, l.relation) as relation from pg_locks l left join pg_index i on i.indexrelid = l.relation
			where l.mode = 'AccessExclusiveLock' and l.locktype = 'relation' and l.database = (select oid from pg_database where datname = current_database())
			union select i.indexrelid from pg_locks l join pg_index i on l.relation in (i.indrelid, i.indexrelid) where l.mode = 'AccessExclusiveLock')
		select r.nspname, r.relname, coalesce(sum(c.reltuples) filter (where c.reltuples >= 0), case when count(c.oid) = 0 then 0 else -1 end)::bigint,
			coalesce(sum(case when c.oid in (select relation from changing) then c.relpages * current_setting('block_size')::bigint else pg_table_size(c.oid) end), 0)::bigint
		from relation r left join leaf l on l.oid = r.oid left join pg_class c on c.oid = l.leaf
		group by r.oid, r.nspname, r.relname`, pg.Schema)
	if err != nil {
		return err
	}
	t.sizes = map[name]Size{}
	var (
		at   name
		size Size
	)
	_, err = pgx.ForEachRow(rows, []any{&at.schema, &at.relation, &size.Rows, &size.Bytes}, func() error {
		t.sizes[at] = size
		return nil
	})
	return err
}

func texts(ctx context.Context, q querier, sql string) ([]string, error) {
	rows, err := q.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// closeConn works on a cancelled context too.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	_ = conn.Close(ctx)
}
