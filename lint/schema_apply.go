package lint

import (
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"

	"github.com/contraflow/contraflow/internal/sqltree"
)

// apply changes the schema as the statement would. What it can't see into, such as a DO block, changes nothing.
func (s *schema) apply(st sqltree.Statement) {
	switch n := st.Node.GetNode().(type) {
	case *tree.Node_CreateStmt:
		s.createTable(n.CreateStmt)
	case *tree.Node_CreateTableAsStmt:
		s.createAs(n.CreateTableAsStmt)
	case *tree.Node_SelectStmt:
		s.opaque = s.opaque || slices.ContainsFunc(settings(st.Node), func(set setting) bool { return set.name == "search_path" })
		if into := n.SelectStmt.GetIntoClause(); into != nil {
			s.newTable(relationName(into.GetRel()), false, false)
		}
	case *tree.Node_AlterTableStmt:
		s.alterTable(n.AlterTableStmt)
	case *tree.Node_IndexStmt:
		s.createIndex(n.IndexStmt)
	case *tree.Node_DropStmt:
		s.drop(n.DropStmt)
	case *tree.Node_RenameStmt:
		s.rename(n.RenameStmt)
	case *tree.Node_AlterObjectSchemaStmt:
		s.moveTo(n.AlterObjectSchemaStmt)
	case *tree.Node_CreateEnumStmt:
		name := listName(n.CreateEnumStmt.GetTypeName())
		s.types[name] = &enum{name, texts(n.CreateEnumStmt.GetVals())}
	case *tree.Node_AlterEnumStmt:
		s.alterEnum(n.AlterEnumStmt)
	case *tree.Node_DoStmt, *tree.Node_CallStmt:
		s.opaque = true
	case *tree.Node_VariableSetStmt: // from then on names may mean others
		s.opaque = s.opaque || n.VariableSetStmt.GetName() == "search_path"
	default:
		s.createOther(st.Node)
	}
}

// createOther makes objects that only have a name here.
func (s *schema) createOther(node *tree.Node) {
	switch n := node.GetNode().(type) {
	case *tree.Node_ViewStmt:
		s.create("view", relationName(n.ViewStmt.GetView()), n.ViewStmt.GetReplace())
	case *tree.Node_CreateFunctionStmt:
		kind := "function"
		if n.CreateFunctionStmt.GetIsProcedure() {
			kind = "procedure"
		}
		s.create(kind, listName(n.CreateFunctionStmt.GetFuncname()), n.CreateFunctionStmt.GetReplace())
	case *tree.Node_CreateTrigStmt:
		s.create("trigger", on(n.CreateTrigStmt.GetTrigname(), relationName(n.CreateTrigStmt.GetRelation())), n.CreateTrigStmt.GetReplace())
	case *tree.Node_CreatePolicyStmt:
		s.create("policy", on(n.CreatePolicyStmt.GetPolicyName(), relationName(n.CreatePolicyStmt.GetTable())), false)
	case *tree.Node_RuleStmt:
		s.create("rule", on(n.RuleStmt.GetRulename(), relationName(n.RuleStmt.GetRelation())), n.RuleStmt.GetReplace())
	case *tree.Node_CreateSeqStmt:
		s.create("sequence", relationName(n.CreateSeqStmt.GetSequence()), n.CreateSeqStmt.GetIfNotExists())
	case *tree.Node_CreateExtensionStmt:
		s.create("extension", n.CreateExtensionStmt.GetExtname(), n.CreateExtensionStmt.GetIfNotExists())
	case *tree.Node_CreateSchemaStmt:
		s.create("schema", n.CreateSchemaStmt.GetSchemaname(), n.CreateSchemaStmt.GetIfNotExists())
	case *tree.Node_CreateDomainStmt:
		s.create("domain", listName(n.CreateDomainStmt.GetDomainname()), false)
	case *tree.Node_CompositeTypeStmt:
		s.create("type", relationName(n.CompositeTypeStmt.GetTypevar()), false)
	case *tree.Node_CreateRangeStmt:
		s.create("type", listName(n.CreateRangeStmt.GetTypeName()), false)
	case *tree.Node_CreateStatsStmt:
		s.create("statistics", listName(n.CreateStatsStmt.GetDefnames()), n.CreateStatsStmt.GetIfNotExists())
	}
}

// kinds of objects in others, as DROP and RENAME call them.
var kinds = map[tree.ObjectType]string{
	tree.ObjectType_OBJECT_VIEW: "view", tree.ObjectType_OBJECT_MATVIEW: "materialized view", tree.ObjectType_OBJECT_FUNCTION: "function",
	tree.ObjectType_OBJECT_PROCEDURE: "procedure", tree.ObjectType_OBJECT_TRIGGER: "trigger", tree.ObjectType_OBJECT_POLICY: "policy",
	tree.ObjectType_OBJECT_RULE: "rule", tree.ObjectType_OBJECT_SEQUENCE: "sequence", tree.ObjectType_OBJECT_EXTENSION: "extension",
	tree.ObjectType_OBJECT_SCHEMA: "schema", tree.ObjectType_OBJECT_DOMAIN: "domain", tree.ObjectType_OBJECT_STATISTIC_EXT: "statistics",
	tree.ObjectType_OBJECT_TYPE: "type",
}

// on is the name of what belongs to a table.
func on(name, table string) string { return name + " on " + table }

// create notes an object. One that may have been there before, as OR REPLACE and IF NOT EXISTS allow, counts as perhaps made.
func (s *schema) create(kind, name string, perhaps bool) {
	key := kind + " " + name
	if _, exists := s.others[key]; !exists {
		s.others[key] = !perhaps || s.gone[key]
	}
	delete(s.gone, key)
}

// remove takes an object away; what no file made is gone then, unless the statement doesn't mind that it isn't there.
func (s *schema) remove(kind, name string, missingOK bool) {
	key := kind + " " + name
	if _, made := s.others[key]; !made && !missingOK {
		s.gone[key] = true
	}
	delete(s.others, key)
}

func (s *schema) drop(n *tree.DropStmt) {
	for _, o := range n.GetObjects() {
		name := objectName(o)
		switch kind := n.GetRemoveType(); kind {
		case tree.ObjectType_OBJECT_TABLE:
			s.dropTable(name, n.GetMissingOk())
		case tree.ObjectType_OBJECT_INDEX:
			s.dropIndex(name, n.GetMissingOk())
		case tree.ObjectType_OBJECT_TRIGGER, tree.ObjectType_OBJECT_POLICY, tree.ObjectType_OBJECT_RULE:
			parts := o.GetList().GetItems() // the table's name, then its own
			last := len(parts) - 1
			s.remove(kinds[kind], on(texts(parts)[last], listName(parts[:last])), n.GetMissingOk())
		case tree.ObjectType_OBJECT_SCHEMA:
			s.dropSchema(name)
			s.remove("schema", name, n.GetMissingOk())
		default:
			if n.GetBehavior() == tree.DropBehavior_DROP_CASCADE && (kind == tree.ObjectType_OBJECT_TYPE || kind == tree.ObjectType_OBJECT_DOMAIN) {
				s.dropColumnsOf(name)
			}
			if _, ok := s.types[name]; ok && kind == tree.ObjectType_OBJECT_TYPE {
				delete(s.types, name)
			} else if kinds[kind] != "" {
				s.remove(kinds[kind], name, n.GetMissingOk())
			}
		}
	}
}

// dropTable takes with it what belongs to the table, and foreign keys to it.
func (s *schema) dropTable(name string, missingOK bool) {
	if !s.named(name).known {
		s.remove("table", name, missingOK)
	}
	delete(s.tables, name)
	s.absent[name] = true
	for key := range s.others {
		if strings.HasSuffix(key, on("", name)) {
			delete(s.others, key)
		}
	}
	for _, t := range s.tables {
		t.constraints = slices.DeleteFunc(t.constraints, func(k *constraint) bool { return k.references == name })
	}
}

// dropColumnsOf takes the columns of a type away.
func (s *schema) dropColumnsOf(typ string) {
	for _, t := range s.tables {
		for _, c := range slices.Clone(t.columns) {
			if c.typ == typ || c.typ == typ+"[]" {
				s.dropColumn(t, c.name, false)
			}
		}
	}
}

func (s *schema) dropIndex(name string, missingOK bool) {
	t, i := s.index(name)
	if t == nil {
		s.remove("index", name, missingOK)
		return
	}
	t.indexes = slices.DeleteFunc(t.indexes, func(other *index) bool { return other == i })
}

// dropSchema takes everything in it away.
func (s *schema) dropSchema(name string) {
	in := func(object string) bool { return strings.HasPrefix(object, name+".") }
	for t := range s.tables {
		if in(t) {
			s.dropTable(t, true)
		}
	}
	for t := range s.types {
		if in(t) {
			delete(s.types, t)
		}
	}
	for key := range s.others {
		if _, object, _ := strings.Cut(key, " "); in(object) {
			delete(s.others, key)
		}
	}
}

func (s *schema) alterEnum(n *tree.AlterEnumStmt) {
	e, ok := s.types[listName(n.GetTypeName())]
	if !ok {
		return
	}
	at := len(e.values)
	if n.GetNewValNeighbor() != "" {
		if at = slices.Index(e.values, n.GetNewValNeighbor()); at < 0 {
			return
		}
		if n.GetNewValIsAfter() {
			at++
		}
	}
	switch old := slices.Index(e.values, n.GetOldVal()); {
	case n.GetOldVal() != "" && old >= 0:
		e.values[old] = n.GetNewVal()
	case n.GetOldVal() == "" && !slices.Contains(e.values, n.GetNewVal()):
		e.values = slices.Insert(e.values, at, n.GetNewVal())
	}
}
