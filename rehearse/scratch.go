package rehearse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/internal/devstack/postgres"
	"github.com/contraflow/contraflow/internal/pg"
)

const (
	// farewell bounds what is cleared away after the rehearsal's time is over.
	farewell = 10 * time.Second
	// scratchPrefix begins the names of our databases on somebody's server.
	scratchPrefix = "contraflow_rehearsal_"
	// scratchDay follows, so that people see which of them nobody uses any more.
	scratchDay = "20060102"
)

// throwawaySettings: nothing there must last, a schema of ten thousand tables fits into one transaction's locks, no autovacuum
// comes between, scans are counted, and the log tells nothing of rows.
var throwawaySettings = map[string]string{"fsync": "off", "autovacuum": "off", "max_locks_per_transaction": "1024", "max_connections": "30",
	"track_counts": "on", "log_min_messages": "fatal", "log_min_error_statement": "panic"}

// scratch is the throwaway copy of the target's schema.
type scratch struct {
	// The database as the plan's files find it: on a throwaway server as the target's own role.
	database
	// keeper is the database as whoever made it, who watches, dumps and switches triggers off; sampler as who copies rows there.
	keeper, sampler *pgx.ConnConfig
	clients         clients
	server          *postgres.Cluster // ours; nil on somebody's server
	admin           *pgx.ConnConfig   // a database of the same server to create and drop ours from
	name            string
	// super says that admin's role may do everything.
	super bool
	// leftovers are databases of rehearsals on other days, which nobody has dropped.
	leftovers []string
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

// start a server of our own.
func (s *scratch) start(ctx context.Context, t *target) (dsn string, err error) {
	bin, err := postgres.ServerOf(t.major)
	if err != nil {
		return "", fmt.Errorf("%w; or name a scratch server of Postgres %d", err, t.major)
	}
	if s.server, err = postgres.Start(ctx, postgres.Options{Binaries: bin, Superuser: keeper, Settings: throwawaySettings}); err != nil {
		return "", fmt.Errorf("start a scratch server: %w", err)
	}
	return s.server.DSN(keeper, "template1"), nil
}

// check that what the server shows will hold for the target, and that it isn't the target's.
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
	if err := s.apart(ctx, conn, t); err != nil {
		return err
	}
	if s.leftovers, err = texts(ctx, conn, "select datname from pg_database where datname like '"+scratchPrefix+"%' and datname < '"+
		scratchPrefix+time.Now().UTC().AddDate(0, 0, -1).Format(scratchDay)+"' order by 1"); err != nil {
		return fmt.Errorf("read the scratch server: %w", err)
	}
	available, err := texts(ctx, conn, "select name from pg_available_extensions")
	if err != nil {
		return fmt.Errorf("read the scratch server: %w", err)
	}
	var missing []string
	for _, e := range t.rights.extensions {
		if !slices.Contains(available, e.What) {
			missing = append(missing, e.What)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the scratch server lacks extensions that the target has: %s; install their packages beside it, or name a scratch server that has them",
			strings.Join(missing, ", "))
	}
	return nil
}

// apart makes sure that the server isn't the target's own, where what a file does to roles and databases would last.
func (s *scratch) apart(ctx context.Context, conn *pgx.Conn, t *target) error {
	identity, err := pg.ReadIdentity(ctx, conn)
	if err != nil {
		return fmt.Errorf("read the scratch server: %w", err)
	}
	var started time.Time // to the microsecond, and everybody may read it
	if err := conn.QueryRow(ctx, "select pg_postmaster_start_time(), rolsuper from pg_roles where rolname = current_user").Scan(&started, &s.super); err != nil {
		return fmt.Errorf("read the scratch server: %w", err)
	}
	if started.Equal(t.started) || identity.Cluster != "" && identity.Cluster == t.identity.Cluster {
		return errors.New("the scratch server is the target's own, which a rehearsal only reads: name another one, or none to start one")
	}
	return nil
}

// reset makes the database anew, with the target's schema and version in it.
func (s *scratch) reset(ctx context.Context, t *target, dump string) (notes []string, err error) {
	if err := s.drop(ctx); err != nil {
		return nil, err
	}
	notes, err = s.create(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("create a database on the scratch server: %w", err)
	}
	s.keeper = s.apartFrom(s.within(s.admin, t))
	if err := s.rebuild(ctx, t, dump); err != nil {
		return nil, fmt.Errorf("rebuild the target's schema on the scratch server: %w", err)
	}
	s.config, s.sampler = s.within(s.admin, t), s.within(s.admin, t)
	if s.server != nil {
		s.config.User, s.sampler.User = t.rights.user, sampler
		return notes, s.adopt(ctx, t)
	}
	for name, value := range silence {
		s.sampler.RuntimeParams[name] = value
		if s.super && name != replica {
			s.config.RuntimeParams[name] = value
		}
	}
	if s.super {
		s.config.RuntimeParams["track_counts"] = "on"
	}
	return notes, s.adopt(ctx, t)
}

// within is how a role finds the database: as the target's does.
func (s *scratch) within(config *pgx.ConnConfig, t *target) *pgx.ConnConfig {
	config = config.Copy()
	config.Database = s.name
	quoted := make([]string, len(s.path))
	for i, schema := range s.path {
		quoted[i] = ident(schema)
	}
	config.RuntimeParams["search_path"] = strings.Join(quoted, ", ")
	config.RuntimeParams["TimeZone"] = t.timeZone // decides whether timestamps must be rewritten to get one
	return config
}

// apartFrom what files leave in the database: no function or trigger of theirs may run in a superuser's session.
func (s *scratch) apartFrom(config *pgx.ConnConfig) *pgx.ConnConfig {
	config.RuntimeParams["search_path"] = "pg_catalog"
	if s.super {
		config.RuntimeParams[replica] = silence[replica] // event triggers too
	}
	return config
}

// create the database; the target's locale may not exist on this machine.
func (s *scratch) create(ctx context.Context, t *target) (notes []string, err error) {
	conn, err := pgx.ConnectConfig(ctx, s.admin)
	if err != nil {
		return nil, withoutAddress(err)
	}
	defer closeConn(ctx, conn)
	s.name = scratchPrefix + time.Now().UTC().Format(scratchDay) + "_" + strings.ToLower(rand.Text())
	if s.server != nil {
		if s.name = t.name; strings.HasPrefix(t.name, "template") {
			s.name = scratchPrefix + t.name
		}
		if _, err := conn.Exec(ctx, "drop database if exists "+ident(s.name)); err != nil { // postgres is there from the beginning
			return nil, err
		}
		if err := s.copyRoles(ctx, conn, &t.rights); err != nil {
			return nil, err
		}
	}
	p := t.place
	create := "create database " + ident(s.name) + " template template0 encoding " + literal(p.Encoding)
	same := create + " lc_collate " + literal(p.Collate) + " lc_ctype " + literal(p.Ctype)
	if p.Provider == "i" && p.ICU != nil {
		same += " locale_provider icu icu_locale " + literal(*p.ICU)
	}
	if _, err = conn.Exec(ctx, same); err != nil && ctx.Err() == nil {
		notes = append(notes, fmt.Sprintf("the scratch server has no locale %s, so text sorts there as in C: locks and rewrites are the same", p.Collate))
		_, err = conn.Exec(ctx, create+" lc_collate 'C' lc_ctype 'C'")
	}
	if err == nil && s.server != nil {
		err = s.grantDatabase(ctx, conn, &t.rights)
	}
	return notes, err
}

// rebuild the schema, and cut it off from other servers.
func (s *scratch) rebuild(ctx context.Context, t *target, dump string) error {
	conn, err := pgx.ConnectConfig(ctx, s.keeper)
	if err != nil {
		return withoutAddress(err)
	}
	defer closeConn(ctx, conn)
	if s.server != nil {
		err = s.promote(ctx, conn, &t.rights, "superuser")
	}
	if err == nil {
		err = s.clients.restore(ctx, s.keeper, dump)
	}
	if err == nil && s.server != nil {
		if err = s.promote(ctx, conn, &t.rights, "nosuperuser"); err == nil {
			err = ownExtensions(ctx, conn, &t.rights)
		}
	}
	if err != nil {
		return err
	}
	return disarm(ctx, conn)
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// adopt writes the target's version, and remembers which relations are the target's.
func (s *scratch) adopt(ctx context.Context, t *target) error {
	conn, err := s.keep(ctx)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	if t.state.Exists {
		if _, err := conn.Exec(ctx, "select set_config('search_path', $1, false)", s.config.RuntimeParams["search_path"]); err != nil {
			return fmt.Errorf("write the target's version: %w", err)
		}
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
	if s.server != nil {
		conn, err := s.keep(ctx)
		if err != nil {
			return nil, err
		}
		defer closeConn(ctx, conn)
		if _, err := conn.Exec(ctx, s.admit()); err != nil {
			return nil, fmt.Errorf("let %s into the scratch database: %w", s.config.User, err)
		}
	}
	return open(ctx, s.config)
}

// keep connects as whoever made the database.
func (s *scratch) keep(ctx context.Context) (*pgx.Conn, error) { return open(ctx, s.keeper) }

func open(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the scratch database: %w", withoutAddress(err))
	}
	return conn, nil
}

// dump is what the database looks like now.
func (s *scratch) dump(ctx context.Context) (string, error) {
	return s.clients.dump(ctx, s.keeper, s.whole(), nil)
}

// whole says what of the schema can stand here.
func (s *scratch) whole() portions { return portions{owners: s.server != nil, publications: s.super} }

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
