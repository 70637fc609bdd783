package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	tree "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// proof says what keeps an object that is there from being proved the statement's own; empty where it is. An object of the same
// name is why most files fail, so its name alone proves nothing.
type proof func(ctx context.Context, tx pgx.Tx, later touched) (doubt string, err error)

// touched tells that a later statement of the file makes the object or property of that key otherwise.
type touched func(key string) bool

// doubts are put to a person as "table t is there, but …: it may be another".
const (
	differs  = "Postgres writes its definition otherwise than the file"
	unproved = "the catalog doesn't prove that its definition is the file's"
)

// doubt asks the proof in a savepoint. Where Postgres refuses to answer, or its answer can't be read, nothing is proved.
func doubt(ctx context.Context, tx pgx.Tx, f fact, later touched) (string, error) {
	inner, err := tx.Begin(ctx)
	if err != nil {
		return "", err
	}
	reason, err := f.same(ctx, inner, later)
	failed, refused := errors.AsType[*pgconn.PgError](err)
	switch {
	case err == nil, ctx.Err() != nil, tx.Conn().IsClosed(), refused && strings.HasPrefix(failed.Code, classIntervention):
	case refused:
		reason, err = fmt.Sprintf("%s (SQLSTATE %s)", unproved, failed.Code), nil
	default: // a newer Postgres's words that the grammar doesn't take, or nothing there any more
		reason, err = unproved, nil
	}
	if err = errors.Join(err, inner.Rollback(ctx)); err != nil || reason == "" {
		return "", err
	}
	return fmt.Sprintf("%s is there, but %s: it may be another", f.what, reason), nil
}

// classIntervention is of SQLSTATEs: the query was cancelled, the server goes down.
const classIntervention = "57"

// never is the proof of what can't be proved.
func never(context.Context, pgx.Tx, touched) (string, error) { return unproved, nil }

// proves asks the catalog for a boolean.
func proves(otherwise, sql string, args ...any) proof {
	return func(ctx context.Context, tx pgx.Tx, _ touched) (string, error) {
		var same *bool
		if err := tx.QueryRow(ctx, sql, args...).Scan(&same); err != nil || same != nil && *same {
			return "", err
		}
		return otherwise, nil
	}
}

func unless(same bool, otherwise string) string {
	if same {
		return ""
	}
	return otherwise
}

// both is what keeps two proofs from being one.
func both(proofs ...proof) proof {
	return func(ctx context.Context, tx pgx.Tx, later touched) (string, error) {
		for _, p := range proofs {
			if reason, err := p(ctx, tx, later); err != nil || reason != "" {
				return reason, err
			}
		}
		return "", nil
	}
}

// write is a statement as text, in the one way that the grammar's package writes it.
func write(n *tree.Node) (string, error) {
	return pgquery.Deparse(&tree.ParseResult{Stmts: []*tree.RawStmt{{Stmt: n}}})
}

// parse is the one statement of a text that Postgres wrote.
func parse(text string) (*tree.Node, error) {
	parsed, err := pgquery.Parse(text)
	if err != nil || len(parsed.GetStmts()) != 1 {
		return nil, fmt.Errorf("text that Postgres wrote can't be read: %w", err)
	}
	return parsed.GetStmts()[0].GetStmt(), nil
}

// equal compares two statements by how they are written.
func equal(a, b *tree.Node) (bool, error) {
	one, err := write(a)
	if err != nil {
		return false, err
	}
	other, err := write(b)
	return err == nil && one == other, err
}

func clone[T proto.Message](m T) T { return proto.Clone(m).(T) }

// probe lets Postgres write a query in its own way: as the definition of a temporary view, which is rolled back. That locks what
// the query names no more than a reader does.
func probe(ctx context.Context, tx pgx.Tx, query, columns string) (definition string, err error) {
	inner, err := tx.Begin(ctx)
	if err != nil {
		return "", err
	}
	_, err = inner.Exec(ctx, "create temporary view contraflow_probe"+columns+" as "+query)
	if err == nil {
		err = inner.QueryRow(ctx, "select pg_get_viewdef('pg_temp.contraflow_probe'::regclass)").Scan(&definition)
	}
	if err != nil { // the savepoint around the proof is rolled back
		return "", err
	}
	return definition, inner.Rollback(ctx)
}

// normal is an expression as Postgres writes it over the columns of from, which go by the names in as; without them, by none.
func normal(ctx context.Context, tx pgx.Tx, e *tree.Node, from string, as ...string) (*tree.Node, error) {
	if e == nil {
		return nil, nil
	}
	text, err := deparse(e)
	if err != nil {
		return nil, err
	}
	definition, err := probe(ctx, tx, "select ("+text+") as probe from "+from, "")
	if err != nil {
		return nil, err
	}
	written, err := parse(definition)
	if err != nil {
		return nil, err
	}
	// up to version 15 a view has relations old and new of its own, so that columns have names before them, and those a number
	called := map[string][]*tree.Node{}
	for i, one := range written.GetSelectStmt().GetFromClause() {
		own := cmp.Or(one.GetRangeVar().GetAlias().GetAliasname(), one.GetRangeVar().GetRelname())
		if called[own] = nil; i < len(as) {
			called[own] = []*tree.Node{tree.MakeStrNode(as[i])}
		}
	}
	eachColumn(written.ProtoReflect(), func(c *tree.ColumnRef) {
		if f := c.GetFields(); len(f) == 2 {
			if name, ok := called[f[0].GetString_().GetSval()]; ok {
				c.Fields = append(slices.Clone(name), f[1])
			}
		}
	})
	return onlyTarget(written)
}

func eachColumn(m protoreflect.Message, visit func(*tree.ColumnRef)) {
	if c, ok := m.Interface().(*tree.ColumnRef); ok {
		visit(c)
	}
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := range v.List().Len() {
				eachColumn(v.List().Get(i).Message(), visit)
			}
		default:
			eachColumn(v.Message(), visit)
		}
		return true
	})
}

// target is the expression of a query's one column.
func target(query string) (*tree.Node, error) {
	parsed, err := parse(query)
	if err != nil {
		return nil, err
	}
	return onlyTarget(parsed)
}

func onlyTarget(query *tree.Node) (*tree.Node, error) {
	columns := query.GetSelectStmt().GetTargetList()
	if len(columns) != 1 {
		return nil, errors.New("text that Postgres wrote can't be read")
	}
	return columns[0].GetResTarget().GetVal(), nil
}

// sameExpression compares an expression of the file to one that Postgres wrote; nil and empty are none.
func sameExpression(ctx context.Context, tx pgx.Tx, e *tree.Node, from string, written *string) (bool, error) {
	if e == nil || written == nil {
		return (e == nil) == (written == nil), nil
	}
	wanted, err := normal(ctx, tx, e, from)
	if err != nil {
		return false, err
	}
	is, err := target("select " + *written)
	if err != nil {
		return false, err
	}
	return equalExpressions(wanted, is)
}

func equalExpressions(a, b *tree.Node) (bool, error) {
	one, err := deparse(a)
	if err != nil {
		return false, err
	}
	other, err := deparse(b)
	return err == nil && one == other, err
}
