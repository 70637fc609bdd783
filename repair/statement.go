package repair

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	tree "github.com/pganalyze/pg_query_go/v6"
)

// effect of one statement, as far as the catalog keeps it.
type effect struct {
	facts []fact
	// why the catalog can't tell; empty where it has facts
	untold string
	// leavesNothing: a setting of the session, a lock, a vacuum. Where the rest of the file is run, it runs with it.
	leavesNothing bool
	// envelope is BEGIN and COMMIT: not run again.
	envelope bool
	// path says that names mean something else from here on.
	path bool
}

func told(facts ...fact) effect   { return effect{facts: facts} }
func untold(reason string) effect { return effect{untold: reason} }
func (e effect) strongly() effect {
	return e.eachFact(func(f *fact) { f.lesser, f.repeats = false, false })
}

func (e effect) eachFact(change func(*fact)) effect {
	for i := range e.facts {
		change(&e.facts[i])
	}
	return e
}

const (
	rowsChange    = "it changes rows, of which the catalog keeps nothing"
	unnamed       = "Postgres chooses its name"
	callsFunction = "it calls code, of whose work the catalog keeps nothing"
)

// effect reads what a statement makes so. Statements are read in the order of the file.
func (r reader) effect(n *tree.Node) effect {
	if r.touchesTemporary(n) {
		return effect{leavesNothing: true}
	}
	switch s := n.GetNode().(type) {
	case *tree.Node_DropStmt:
		return r.drop(s.DropStmt)
	case *tree.Node_AlterTableStmt:
		return r.alterTable(s.AlterTableStmt)
	case *tree.Node_AlterEnumStmt:
		return r.alterEnum(s.AlterEnumStmt)
	case *tree.Node_RenameStmt:
		return r.rename(s.RenameStmt)
	case *tree.Node_AlterObjectSchemaStmt:
		return r.setSchema(s.AlterObjectSchemaStmt)
	case *tree.Node_AlterOwnerStmt:
		return r.owner(s.AlterOwnerStmt)
	case *tree.Node_CommentStmt:
		return r.comment(s.CommentStmt)
	}
	return r.creates(n)
}

// without are the statements of which the catalog keeps nothing, or nothing that this package reads.
func (r reader) without(n *tree.Node) effect {
	switch s := n.GetNode().(type) {
	case *tree.Node_InsertStmt, *tree.Node_UpdateStmt, *tree.Node_DeleteStmt, *tree.Node_MergeStmt, *tree.Node_CopyStmt, *tree.Node_TruncateStmt:
		return untold(rowsChange)
	case *tree.Node_DoStmt, *tree.Node_CallStmt:
		return untold(callsFunction)
	case *tree.Node_RefreshMatViewStmt:
		return untold(rowsChange)
	case *tree.Node_VariableSetStmt:
		return effect{leavesNothing: true, path: strings.EqualFold(s.VariableSetStmt.GetName(), "search_path")}
	case *tree.Node_LockStmt, *tree.Node_VacuumStmt, *tree.Node_ConstraintsSetStmt, *tree.Node_DiscardStmt, *tree.Node_CheckPointStmt, *tree.Node_ReindexStmt:
		return effect{leavesNothing: true}
	case *tree.Node_TransactionStmt:
		return effect{leavesNothing: true, envelope: true}
	case *tree.Node_GrantStmt, *tree.Node_GrantRoleStmt, *tree.Node_AlterDefaultPrivilegesStmt:
		return untold("it gives or takes rights, which may have been so before")
	}
	return untold("its kind is not looked up in the catalog")
}

func (r reader) schemaFact(schema string) fact {
	return fact{key: r.schemaKey(schema), what: "schema " + schema, look: ask("select exists (select from pg_namespace where nspname = $1::text::name)", schema)}
}

func (r reader) extension(extension string) fact {
	return fact{key: key("extension", extension), what: "extension " + extension, look: ask("select exists (select from pg_extension where extname = $1::text::name)", extension)}
}

func (r reader) typ(n name) fact {
	full := n.in(r.schema)
	return fact{
		key: key("type", full.schema, full.local), within: []string{r.schemaKey(full.schema)}, what: "type " + n.String(),
		look: ask("select to_regtype($1) is not null", n.quoted()),
	}
}

func (r reader) createTable(s *tree.CreateStmt) effect {
	n := r.makes(named(s.GetRelation()))
	return told(r.relation("table", tables, n).by(r.sameTable(n, s)).ifNot(s.GetIfNotExists()))
}

// createIndex knows that a concurrent build which failed leaves an index by its name, which is not valid.
func (r reader) createIndex(s *tree.IndexStmt) effect {
	if s.GetIdxname() == "" {
		return untold(unnamed)
	}
	table := r.named(s.GetRelation())
	index := name{table.schema, s.GetIdxname(), table.implied}
	names := []string{s.GetIdxname()}
	if taken, ok := r.taken[r.relationKey(index)]; ok {
		names = append(names, taken)
	}
	f := fact{
		key: r.relationKey(index), within: r.withinRelation(table), what: "index " + index.String(), same: r.sameIndex(s, table, names...),
	}
	r.built[f.key] = s
	if r.made[table.local] && table.implied {
		r.made[index.local] = true
	}
	f.look = func(ctx context.Context, tx pgx.Tx) (is *bool, note string, err error) {
		var invalid bool
		err = tx.QueryRow(ctx, `select count(*) > 0, coalesce(bool_or(not i.indisvalid and c.relkind <> 'I'), false)
			from pg_index i join pg_class c on c.oid = i.indexrelid where c.relname::text = any($1::text[]) and i.indrelid = to_regclass($2)`,
			names, table.quoted()).Scan(&is, &invalid)
		if err == nil && invalid {
			note = fmt.Sprintf("index %s is there and not valid: what is left of a concurrent build that failed", index)
			return new(false), note, nil
		}
		return is, "", err
	}
	return told(f.ifNot(s.GetIfNotExists()))
}

func (r reader) alterEnum(s *tree.AlterEnumStmt) effect {
	n := r.meant(listed(s.GetTypeName()))
	value := func(word, text string) fact {
		t := r.typ(n)
		return fact{ // the value itself is a literal of the file, and so is not told
			key: r.valueKey(n, text), within: append(t.within, t.key), what: word + " of type " + n.String(),
			look: ask("select case when to_regtype($1) is not null then exists (select from pg_enum where enumtypid = to_regtype($1) and enumlabel = $2::text) end", n.quoted(), text),
		}
	}
	if old := s.GetOldVal(); old != "" {
		gone := value("old value", old).away(true)
		gone.lesser = true
		return told(value("new value", s.GetNewVal()), gone)
	}
	return told(value("new value", s.GetNewVal()).by(r.samePlace(n, s)).ifNot(s.GetSkipIfNewValExists()))
}
