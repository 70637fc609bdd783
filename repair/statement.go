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
	replaced      = "it replaces what may have been there before"
	unnamed       = "Postgres chooses its name"
	callsFunction = "it calls code, of whose work the catalog keeps nothing"
)

// effect reads what a statement makes so.
func (r reader) effect(n *tree.Node) effect {
	switch s := n.GetNode().(type) {
	case *tree.Node_CreateStmt:
		return r.createTable(s.CreateStmt)
	case *tree.Node_CreateForeignTableStmt:
		base := s.CreateForeignTableStmt.GetBaseStmt()
		return told(r.relation("table", tables, named(base.GetRelation())).ifNot(base.GetIfNotExists()))
	case *tree.Node_CreateTableAsStmt:
		c := s.CreateTableAsStmt
		into := named(c.GetInto().GetRel())
		if c.GetObjtype() == tree.ObjectType_OBJECT_MATVIEW {
			return told(r.relation("materialized view", matviews, into).ifNot(c.GetIfNotExists()))
		}
		return told(r.relation("table", tables, into).ifNot(c.GetIfNotExists()))
	case *tree.Node_SelectStmt:
		if into := s.SelectStmt.GetIntoClause(); into != nil {
			return told(r.relation("table", tables, named(into.GetRel())))
		}
		return untold(callsFunction)
	case *tree.Node_IndexStmt:
		return r.createIndex(s.IndexStmt)
	case *tree.Node_ViewStmt:
		return r.replaceable(r.relation("view", views, named(s.ViewStmt.GetView())), s.ViewStmt.GetReplace())
	case *tree.Node_CreateSeqStmt:
		return told(r.relation("sequence", sequences, named(s.CreateSeqStmt.GetSequence())).ifNot(s.CreateSeqStmt.GetIfNotExists()))
	case *tree.Node_CreateSchemaStmt:
		return told(r.schemaFact(s.CreateSchemaStmt.GetSchemaname()).ifNot(s.CreateSchemaStmt.GetIfNotExists()))
	case *tree.Node_CreateEnumStmt:
		return told(r.typ(listed(s.CreateEnumStmt.GetTypeName())))
	case *tree.Node_CreateRangeStmt:
		return told(r.typ(listed(s.CreateRangeStmt.GetTypeName())))
	case *tree.Node_CreateDomainStmt:
		return told(r.typ(listed(s.CreateDomainStmt.GetDomainname())))
	case *tree.Node_CompositeTypeStmt:
		return told(r.typ(named(s.CompositeTypeStmt.GetTypevar())))
	case *tree.Node_AlterEnumStmt:
		return r.alterEnum(s.AlterEnumStmt)
	case *tree.Node_CreateFunctionStmt:
		return r.createFunction(s.CreateFunctionStmt)
	case *tree.Node_CreateTrigStmt:
		return r.replaceable(r.trigger(named(s.CreateTrigStmt.GetRelation()), s.CreateTrigStmt.GetTrigname()), s.CreateTrigStmt.GetReplace())
	case *tree.Node_RuleStmt:
		return r.replaceable(r.rule(named(s.RuleStmt.GetRelation()), s.RuleStmt.GetRulename()), s.RuleStmt.GetReplace())
	case *tree.Node_CreatePolicyStmt:
		return told(r.policy(named(s.CreatePolicyStmt.GetTable()), s.CreatePolicyStmt.GetPolicyName()))
	case *tree.Node_CreateExtensionStmt:
		return told(r.extension(s.CreateExtensionStmt.GetExtname()).ifNot(s.CreateExtensionStmt.GetIfNotExists()))
	case *tree.Node_DropStmt:
		return r.drop(s.DropStmt)
	case *tree.Node_AlterTableStmt:
		return r.alterTable(s.AlterTableStmt)
	case *tree.Node_RenameStmt:
		return r.rename(s.RenameStmt)
	case *tree.Node_AlterObjectSchemaStmt:
		return r.setSchema(s.AlterObjectSchemaStmt)
	case *tree.Node_AlterOwnerStmt:
		return r.owner(s.AlterOwnerStmt)
	case *tree.Node_CommentStmt:
		return r.comment(s.CommentStmt)
	}
	return r.without(n)
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

// createTable isn't content with another table of the name: that one may be why the file failed.
func (r reader) createTable(s *tree.CreateStmt) effect {
	n := named(s.GetRelation())
	f := r.relation("table", tables, n)
	var columns []string
	for _, e := range s.GetTableElts() {
		if column := e.GetColumnDef(); column != nil {
			columns = append(columns, column.GetColname())
		}
	}
	exists := f.look
	f.look = func(ctx context.Context, tx pgx.Tx) (*bool, string, error) {
		is, note, err := exists(ctx, tx)
		if err != nil || is == nil || !*is {
			return is, note, err
		}
		var others []string
		err = tx.QueryRow(ctx, `select coalesce(array_agg(wanted), '{}') from unnest($2::text[]) wanted
			where not exists (select from pg_attribute where attrelid = to_regclass($1) and attname = wanted::name and not attisdropped)`,
			n.quoted(), columns).Scan(&others)
		if len(others) > 0 {
			return nil, fmt.Sprintf("%s is there without the column %s that the file gives it: it may be another table", f.what, others[0]), err
		}
		return is, note, err
	}
	return told(f.ifNot(s.GetIfNotExists()))
}

// replaceable is there or not; of OR REPLACE, being there proves nothing.
func (r reader) replaceable(f fact, replace bool) effect {
	if !replace {
		return told(f)
	}
	exists := f.look
	f.lesser, f.repeats = true, true
	f.look = func(ctx context.Context, tx pgx.Tx) (*bool, string, error) {
		is, note, err := exists(ctx, tx)
		if err == nil && is != nil && *is {
			return nil, replaced, nil
		}
		return is, note, err
	}
	return told(f)
}

// createIndex knows that a concurrent build which failed leaves an index by its name, which is not valid.
func (r reader) createIndex(s *tree.IndexStmt) effect {
	if s.GetIdxname() == "" {
		return untold(unnamed)
	}
	table := named(s.GetRelation())
	index := name{table.schema, s.GetIdxname()}
	f := fact{
		key: r.relationKey(index), within: r.withinRelation(table), what: "index " + index.String(),
	}
	f.look = func(ctx context.Context, tx pgx.Tx) (is *bool, note string, err error) {
		var invalid bool
		err = tx.QueryRow(ctx, `select count(*) > 0, coalesce(bool_or(not i.indisvalid and c.relkind <> 'I'), false)
			from pg_index i join pg_class c on c.oid = i.indexrelid where c.relname = $1::text::name and i.indrelid = to_regclass($2)`,
			s.GetIdxname(), table.quoted()).Scan(&is, &invalid)
		if err == nil && invalid {
			note = fmt.Sprintf("index %s is there and not valid: what is left of a concurrent build that failed", index)
			return new(false), note, nil
		}
		return is, "", err
	}
	return told(f.ifNot(s.GetIfNotExists()))
}

func (r reader) alterEnum(s *tree.AlterEnumStmt) effect {
	n := listed(s.GetTypeName())
	value := func(word, text string) fact {
		t := r.typ(n)
		return fact{ // the value itself is a literal of the file, and so is not told
			key: key("value", t.key, text), within: append(t.within, t.key), what: word + " of type " + n.String(),
			look: ask("select case when to_regtype($1) is not null then exists (select from pg_enum where enumtypid = to_regtype($1) and enumlabel = $2::text) end", n.quoted(), text),
		}
	}
	if old := s.GetOldVal(); old != "" {
		gone := value("old value", old).away(true)
		gone.lesser = true
		return told(value("new value", s.GetNewVal()), gone)
	}
	return told(value("new value", s.GetNewVal()).ifNot(s.GetSkipIfNewValExists()))
}
