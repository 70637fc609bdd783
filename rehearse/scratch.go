package rehearse

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/internal/devstack/postgres"
)

const (
	// farewell bounds what is cleared away after the rehearsal's time is over.
	farewell = 10 * time.Second
	// scratchPrefix begins the names of our databases on somebody's server.
	scratchPrefix = "contraflow_rehearsal_"
)

// throwawaySettings: nothing there must last, a schema of ten thousand tables fits into one transaction's locks, and no
// autovacuum comes between.
var throwawaySettings = map[string]string{"fsync": "off", "autovacuum": "off", "max_locks_per_transaction": "1024", "max_connections": "30"}

// scratch is the throwaway copy of the target's schema.
type scratch struct {
	database
	clients clients
	server  *postgres.Cluster // ours; nil on somebody's server
	admin   *pgx.ConnConfig   // a database of the same server to create and drop ours from
	name    string
	// relations of the target by what identifies them here, whatever they are called by now.
	relations map[uint32]Size
	sizes     map[name]Size
}

// newScratch starts or finds the server. The database is made by reset.
func newScratch(ctx context.Context, dsn string, t *target) (*scratch, error) {
	bin, err := postgres.ClientsOf(t.major)
	if err != nil {
		return nil, err
	}
	s := &scratch{clients: clients(bin), sizes: t.sizes}
	if dsn == "" {
		dsn, err = s.start(ctx, t)
	}
	if err == nil {
		err = s.check(ctx, dsn, t)
	}
	if err != nil {
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

// start a server of our own, with the target's roles: owners, grants and policies name them.
func (s *scratch) start(ctx context.Context, t *target) (dsn string, err error) {
	bin, err := postgres.ServerOf(t.major)
	if err != nil {
		return "", fmt.Errorf("%w; or name a scratch server of Postgres %d", err, t.major)
	}
	if s.server, err = postgres.Start(ctx, postgres.Options{Binaries: bin, Settings: throwawaySettings}); err != nil {
		return "", fmt.Errorf("start a scratch server: %w", err)
	}
	dsn = s.server.DSN(postgres.Superuser, "postgres")
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return "", fmt.Errorf("start a scratch server: %w", err)
	}
	defer closeConn(ctx, conn)
	for _, role := range t.roles {
		if role == postgres.Superuser {
			continue
		}
		if _, err := conn.Exec(ctx, "create role "+pgx.Identifier{role}.Sanitize()); err != nil {
			return "", fmt.Errorf("create the target's role %s on the scratch server: %w", role, err)
		}
	}
	return dsn, nil
}

// check that what the server shows will hold for the target.
func (s *scratch) check(ctx context.Context, dsn string, t *target) (err error) {
	if s.admin, err = parseDSN(dsn, "scratch server"); err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, s.admin)
	if err != nil {
		return fmt.Errorf("connect to the scratch server: %w", withoutAddress(err))
	}
	defer closeConn(ctx, conn)
	if err := s.identify(ctx, conn); err != nil {
		return fmt.Errorf("read the scratch server: %w", err)
	}
	s.path = t.path
	if s.major != t.major {
		return fmt.Errorf("the scratch server is Postgres %s and the target %s: locks and rewrites differ between them; name a scratch server of Postgres %d, or none to start one",
			s.version, t.version, t.major)
	}
	available, err := texts(ctx, conn, "select name from pg_available_extensions")
	if err != nil {
		return fmt.Errorf("read the scratch server: %w", err)
	}
	missing := slices.DeleteFunc(slices.Clone(t.extensions), func(e string) bool { return slices.Contains(available, e) })
	if len(missing) > 0 {
		return fmt.Errorf("the scratch server lacks extensions that the target has: %s; install their packages beside it, or name a scratch server that has them",
			strings.Join(missing, ", "))
	}
	return nil
}

// reset makes the database anew, with the target's schema and version in it.
func (s *scratch) reset(ctx context.Context, t *target, dump string) (notes []string, err error) {
	if err := s.drop(ctx); err != nil {
		return nil, err
	}
	s.name = scratchPrefix + strings.ToLower(rand.Text())
	notes, err = s.create(ctx, t.place)
	if err != nil {
		return nil, fmt.Errorf("create a database on the scratch server: %w", err)
	}
	config := s.admin.Copy()
	config.Database = s.name
	if err := s.clients.restore(ctx, config, dump); err != nil {
		return nil, fmt.Errorf("rebuild the target's schema on the scratch server: %w", err)
	}
	s.config = config.Copy()
	quoted := make([]string, len(s.path))
	for i, schema := range s.path {
		quoted[i] = pgx.Identifier{schema}.Sanitize()
	}
	s.config.RuntimeParams["search_path"] = strings.Join(quoted, ", ")
	s.config.RuntimeParams["TimeZone"] = t.timeZone // decides whether timestamps must be rewritten to get one
	return notes, s.adopt(ctx, t)
}

// create the database; the target's locale may not exist on this machine.
func (s *scratch) create(ctx context.Context, p placement) (notes []string, err error) {
	conn, err := pgx.ConnectConfig(ctx, s.admin)
	if err != nil {
		return nil, withoutAddress(err)
	}
	defer closeConn(ctx, conn)
	create := "create database " + pgx.Identifier{s.name}.Sanitize() + " template template0 encoding " + literal(p.Encoding)
	same := create + " lc_collate " + literal(p.Collate) + " lc_ctype " + literal(p.Ctype)
	if p.Provider == "i" && p.ICU != nil {
		same += " locale_provider icu icu_locale " + literal(*p.ICU)
	}
	if _, err = conn.Exec(ctx, same); err == nil || ctx.Err() != nil {
		return nil, err
	}
	if _, err = conn.Exec(ctx, create+" lc_collate 'C' lc_ctype 'C'"); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("the scratch server has no locale %s, so text sorts there as in C: locks and rewrites are the same", p.Collate)}, nil
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// adopt writes the target's version, and remembers which relations are the target's.
func (s *scratch) adopt(ctx context.Context, t *target) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if t.state.Exists {
		if _, err := conn.Exec(ctx, "insert into schema_migrations (version, dirty) values ($1, false)", int64(t.state.Version)); err != nil {
			return fmt.Errorf("write the target's version: %w", err)
		}
	}
	found, err := readCatalog(ctx, conn)
	if err != nil {
		return err
	}
	s.relations = map[uint32]Size{}
	for oid, r := range found {
		if size, ok := s.sizes[r.name]; ok {
			s.relations[oid] = size
		}
	}
	return nil
}

// connect as the plan's files would find it.
func (s *scratch) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return nil, fmt.Errorf("connect to the scratch database: %w", withoutAddress(err))
	}
	return conn, nil
}

// dump is what the database looks like now.
func (s *scratch) dump(ctx context.Context) (string, error) {
	return s.clients.dump(ctx, s.config, s.server != nil, nil)
}

// drop the database and whoever is still connected to it.
func (s *scratch) drop(ctx context.Context) error {
	if s.name == "" {
		return nil
	}
	conn, err := pgx.ConnectConfig(ctx, s.admin)
	if err != nil {
		return fmt.Errorf("drop database %s on the scratch server: %w", s.name, withoutAddress(err))
	}
	defer closeConn(ctx, conn)
	if _, err := conn.Exec(ctx, "drop database if exists "+pgx.Identifier{s.name}.Sanitize()+" with (force)"); err != nil {
		return fmt.Errorf("drop database %s on the scratch server: %w", s.name, err)
	}
	s.name = ""
	return nil
}

// close leaves nothing, on a cancelled context too.
func (s *scratch) close(ctx context.Context) error {
	if s.server != nil {
		s.server.Stop()
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	return s.drop(ctx)
}
