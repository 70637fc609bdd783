package repair

import (
	tree "github.com/pganalyze/pg_query_go/v6"
)

// creates reads the statements that make something new, and how it is proved that what is there is theirs.
func (r reader) creates(n *tree.Node) effect {
	switch s := n.GetNode().(type) {
	case *tree.Node_CreateStmt:
		return r.createTable(s.CreateStmt)
	case *tree.Node_CreateForeignTableStmt:
		base := s.CreateForeignTableStmt.GetBaseStmt()
		return told(r.relation("table", tables, r.makes(named(base.GetRelation()))).by(never).ifNot(base.GetIfNotExists()))
	case *tree.Node_CreateTableAsStmt:
		return r.createTableAs(s.CreateTableAsStmt)
	case *tree.Node_SelectStmt:
		if into := s.SelectStmt.GetIntoClause(); into != nil {
			return told(r.relation("table", tables, r.makes(named(into.GetRel()))).by(never))
		}
		return untold(callsFunction)
	case *tree.Node_IndexStmt:
		return r.createIndex(s.IndexStmt)
	case *tree.Node_ViewStmt:
		return r.createView(s.ViewStmt)
	case *tree.Node_CreateSeqStmt:
		c := s.CreateSeqStmt
		n := r.makes(named(c.GetSequence()))
		return told(r.relation("sequence", sequences, n).by(sameSequence(n, c)).ifNot(c.GetIfNotExists()))
	case *tree.Node_CreateFunctionStmt:
		return r.createFunction(s.CreateFunctionStmt)
	case *tree.Node_CreateTrigStmt:
		c := s.CreateTrigStmt
		return told(r.trigger(r.named(c.GetRelation()), c.GetTrigname()).by(r.sameTrigger(c)).ifNot(c.GetReplace()))
	case *tree.Node_RuleStmt:
		c := s.RuleStmt
		return told(r.rule(r.named(c.GetRelation()), c.GetRulename()).by(never).ifNot(c.GetReplace()))
	case *tree.Node_CreatePolicyStmt:
		c := s.CreatePolicyStmt
		return told(r.policy(r.named(c.GetTable()), c.GetPolicyName()).by(r.samePolicy(c)))
	case *tree.Node_CreateSchemaStmt:
		c := s.CreateSchemaStmt
		f := r.schemaFact(c.GetSchemaname()).ifNot(c.GetIfNotExists())
		if c.GetAuthrole() != nil || len(c.GetSchemaElts()) > 0 {
			f.same = never
		}
		return told(f)
	case *tree.Node_CreateExtensionStmt:
		c := s.CreateExtensionStmt
		f := r.extension(c.GetExtname()).ifNot(c.GetIfNotExists())
		if len(c.GetOptions()) > 0 {
			f.same = never
		}
		return told(f)
	}
	return r.createsType(n)
}

func (r reader) createsType(n *tree.Node) effect {
	switch s := n.GetNode().(type) {
	case *tree.Node_CreateEnumStmt:
		n := r.makes(listed(s.CreateEnumStmt.GetTypeName()))
		return told(r.typ(n).by(r.sameEnum(n, s.CreateEnumStmt)))
	case *tree.Node_CreateRangeStmt:
		n := r.makes(listed(s.CreateRangeStmt.GetTypeName()))
		return told(r.typ(n).by(sameRange(n, s.CreateRangeStmt)))
	case *tree.Node_CreateDomainStmt:
		n := r.makes(listed(s.CreateDomainStmt.GetDomainname()))
		return told(r.typ(n).by(sameDomain(n, s.CreateDomainStmt)))
	case *tree.Node_CompositeTypeStmt:
		n := r.makes(named(s.CompositeTypeStmt.GetTypevar()))
		return told(r.typ(n).by(r.sameComposite(n, s.CompositeTypeStmt)))
	}
	return r.without(n)
}

// createTableAs proves a materialized view; what a table was filled with, nobody knows any more.
func (r reader) createTableAs(s *tree.CreateTableAsStmt) effect {
	into := s.GetInto()
	n := r.makes(named(into.GetRel()))
	if s.GetObjtype() != tree.ObjectType_OBJECT_MATVIEW {
		return told(r.relation("table", tables, n).by(never).ifNot(s.GetIfNotExists()))
	}
	same := both(sameView(n, s.GetQuery(), into.GetColNames()),
		proves("it holds rows, or holds none, against the file", "select relispopulated = $2 from pg_class where oid = to_regclass($1)", n.quoted(), !into.GetSkipData()))
	if len(into.GetOptions()) > 0 {
		same = never
	}
	return told(r.relation("materialized view", matviews, n).by(same).ifNot(s.GetIfNotExists()))
}

func (r reader) createView(s *tree.ViewStmt) effect {
	n := r.makes(named(s.GetView()))
	same := sameView(n, s.GetQuery(), s.GetAliases())
	if len(s.GetOptions()) > 0 || s.GetWithCheckOption() > tree.ViewCheckOption_NO_CHECK_OPTION {
		same = never
	}
	return told(r.relation("view", views, n).by(same).ifNot(s.GetReplace()))
}
