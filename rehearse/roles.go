package rehearse

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

const (
	// keeper is the superuser of a throwaway server. No file runs as it: it restores, watches and copies samples' triggers away.
	keeper = "contraflow_keeper"
	// sampler copies sampled rows there: it may write every table, and nothing else.
	sampler = "contraflow_sampler"
)

// outOfReach are the rights by which a role would get at the machine or at other servers. A throwaway server is without them:
// a file under review must not read what the process that rehearses it knows.
const outOfReach = "'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', 'pg_create_subscription'"

// role of the target, without its password.
type role struct {
	Name                                                string
	Super, Inherit, CreateRole, CreateDB, Bypass, Login bool
}

// membership of a role in another.
type membership struct {
	Role, Member string
	Admin        bool
}

// grant is a right to the database, or an extension and its owner.
type grant struct{ What, To string }

// rights is who may do what on the target.
type rights struct {
	user    string // whom the files run as
	owner   string // of the database
	roles   []role
	members []membership
	// database are the rights to it; "" stands for everybody.
	database []grant
	// extensions with their owners.
	extensions []grant
	// mighty says that the user may do on the target what nobody may on a throwaway server.
	mighty bool
}

func (r *rights) read(ctx context.Context, q querier) (err error) {
	if err = q.QueryRow(ctx, `select current_user, pg_get_userbyid(datdba), exists (select from pg_roles m
			where m.rolname in (current_user, `+outOfReach+`) and (m.rolsuper or m.rolname <> current_user and pg_has_role(m.oid, 'member')))
		from pg_database where datname = current_database()`).Scan(&r.user, &r.owner, &r.mighty); err != nil {
		return err
	}
	if r.roles, err = collect[role](ctx, q, `select rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolbypassrls, rolcanlogin
		from pg_roles where rolname !~ '^pg_' order by 1`); err != nil {
		return err
	}
	if r.members, err = collect[membership](ctx, q, `select g.rolname, m.rolname, bool_or(a.admin_option) from pg_auth_members a join pg_roles g on g.oid = a.roleid
		join pg_roles m on m.oid = a.member where m.rolname !~ '^pg_' and g.rolname not in (`+outOfReach+`) group by 1, 2 order by 1, 2`); err != nil {
		return err
	}
	if r.database, err = collect[grant](ctx, q, `select distinct a.privilege_type, case when a.grantee = 0 then '' else pg_get_userbyid(a.grantee) end
		from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a where d.datname = current_database() order by 1, 2`); err != nil {
		return err
	}
	r.extensions, err = collect[grant](ctx, q, "select extname || '', pg_get_userbyid(extowner) || '' from pg_extension order by 1")
	return err
}

func collect[T any](ctx context.Context, q querier, sql string) ([]T, error) {
	rows, err := q.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

// superusers of the target, which own what only superusers may.
func (r *rights) superusers() (names []string) {
	for _, role := range r.roles {
		if role.Super && role.Name != keeper {
			names = append(names, role.Name)
		}
	}
	return names
}

// copyRoles makes the target's roles anew on a throwaway server without databases: with their attributes and memberships, and
// none of them a superuser.
func (s *scratch) copyRoles(ctx context.Context, conn *pgx.Conn, r *rights) error {
	others, err := texts(ctx, conn, "select rolname from pg_roles where rolname !~ '^pg_' and rolname <> current_user")
	if err != nil {
		return err
	}
	var sql []string
	for _, name := range others {
		sql = append(sql, "drop role "+ident(name))
	}
	sql = append(sql, "delete from pg_authid where rolname in ("+outOfReach+")")
	for _, role := range r.roles {
		if role.Name == keeper || role.Name == sampler {
			continue
		}
		create := "create role " + ident(role.Name)
		for _, attribute := range []struct {
			has bool
			sql string
		}{{!role.Inherit, "noinherit"}, {role.CreateRole || role.Super, "createrole"}, {role.CreateDB || role.Super, "createdb"}, {role.Bypass || role.Super, "bypassrls"},
			{role.Login, "login"}} {
			if attribute.has {
				create += " " + attribute.sql
			}
		}
		sql = append(sql, create)
	}
	for _, m := range r.members {
		join := "grant " + ident(m.Role) + " to " + ident(m.Member)
		if m.Admin {
			join += " with admin option"
		}
		sql = append(sql, join)
	}
	sql = append(sql, "create role "+sampler+" login bypassrls password "+literal(s.server.Password), "grant pg_read_all_data, pg_write_all_data to "+sampler,
		"alter role "+sampler+" set "+replica+" = "+silence[replica])
	for _, line := range sql {
		if _, err := conn.Exec(ctx, line); err != nil {
			return fmt.Errorf("copy the target's roles to the scratch server: %s: %w", line[:min(len(line), strings.IndexAny(line+"'", "'"))], err)
		}
	}
	return nil
}

// grantDatabase gives the rights to the database that the target's roles have.
func (s *scratch) grantDatabase(ctx context.Context, conn *pgx.Conn, r *rights) error {
	name := ident(s.name)
	sql := []string{"alter database " + name + " owner to " + ident(r.owner), "revoke all on database " + name + " from public"}
	for _, g := range r.database {
		to := "public"
		if g.To != "" {
			to = ident(g.To)
		}
		sql = append(sql, "grant "+g.What+" on database "+name+" to "+to)
	}
	_, err := conn.Exec(ctx, strings.Join(sql, "; "))
	return err
}

// promote makes superusers of those that are it on the target, or ordinary roles again: a dump names them as owners of what only
// superusers can own.
func (s *scratch) promote(ctx context.Context, conn *pgx.Conn, r *rights, attribute string) error {
	for _, name := range r.superusers() {
		if _, err := conn.Exec(ctx, "alter role "+ident(name)+" "+attribute); err != nil {
			return err
		}
	}
	return nil
}

// admit lets the files' role in, whatever a file has done to its password.
func (s *scratch) admit() string {
	return "alter role " + ident(s.config.User) + " login password " + literal(s.server.Password)
}

// disarm cuts what would reach out of the copy: foreign servers are known here, and can't be connected to.
func disarm(ctx context.Context, conn *pgx.Conn) error {
	wrappers, err := texts(ctx, conn, "select fdwname from pg_foreign_data_wrapper where fdwhandler <> 0 or fdwvalidator <> 0")
	if err != nil {
		return err
	}
	for _, name := range wrappers {
		if _, err := conn.Exec(ctx, "alter foreign data wrapper "+ident(name)+" no handler no validator"); err != nil {
			return fmt.Errorf("cut the scratch database off from foreign servers: %w", err)
		}
	}
	return nil
}

// ownExtensions gives extensions to their owners on the target, which no dump does; whoever owns one may drop or update it.
func ownExtensions(ctx context.Context, conn *pgx.Conn, r *rights) error {
	for _, e := range r.extensions {
		if slices.ContainsFunc(r.roles, func(role role) bool { return role.Name == e.To && !role.Super }) {
			if _, err := conn.Exec(ctx, "update pg_extension set extowner = "+literal(ident(e.To))+"::regrole where extname = "+literal(e.What)); err != nil {
				return err
			}
		}
	}
	return nil
}

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }
