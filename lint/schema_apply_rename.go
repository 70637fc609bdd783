package lint

import (
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
)

// rename gives an object, or a part of a table, another name.
func (s *schema) rename(n *tree.RenameStmt) {
	to := n.GetNewname()
	switch kind := n.GetRenameType(); kind {
	case tree.ObjectType_OBJECT_TABLE:
		from := relationName(n.GetRelation())
		s.renameTable(from, qualified(schemaOf(from), to))
	case tree.ObjectType_OBJECT_COLUMN:
		if n.GetRelationType() == tree.ObjectType_OBJECT_TABLE {
			s.renameColumn(s.make(relationName(n.GetRelation())), n.GetSubname(), to)
		}
	case tree.ObjectType_OBJECT_TABCONSTRAINT:
		s.renameConstraint(s.make(relationName(n.GetRelation())), n.GetSubname(), to)
	case tree.ObjectType_OBJECT_INDEX:
		s.renameIndex(relationName(n.GetRelation()), to)
	case tree.ObjectType_OBJECT_TRIGGER, tree.ObjectType_OBJECT_POLICY, tree.ObjectType_OBJECT_RULE:
		table := relationName(n.GetRelation())
		s.renameOther(kinds[kind], on(n.GetSubname(), table), on(to, table))
	case tree.ObjectType_OBJECT_SCHEMA:
		s.renameSchema(n.GetSubname(), to)
	default:
		from := objectName(n.GetObject())
		if n.GetRelation() != nil {
			from = relationName(n.GetRelation())
		}
		s.renameType(kinds[kind], from, qualified(schemaOf(from), to))
	}
}

// moveTo gives an object another schema.
func (s *schema) moveTo(n *tree.AlterObjectSchemaStmt) {
	kind := n.GetObjectType()
	from := objectName(n.GetObject())
	if n.GetRelation() != nil {
		from = relationName(n.GetRelation())
	}
	to := qualified(n.GetNewschema(), from[strings.LastIndexByte(from, '.')+1:])
	switch kind {
	case tree.ObjectType_OBJECT_TABLE:
		s.renameTable(from, to)
	case tree.ObjectType_OBJECT_EXTENSION: // whose name has no schema
	default:
		s.renameType(kinds[kind], from, to)
	}
}

// renameTable takes what belongs to the table along.
func (s *schema) renameTable(from, to string) {
	t := s.named(from)
	if !t.known {
		s.remove("table", from, false)
		s.create("table", to, false)
	}
	delete(s.tables, from)
	delete(s.absent, to)
	s.absent[from] = true
	t.name = to
	s.tables[to] = t
	for key, made := range s.others {
		if rest, ok := strings.CutSuffix(key, on("", from)); ok {
			delete(s.others, key)
			s.others[on(rest, to)] = made
		}
	}
	for _, other := range s.tables {
		if other.parent == from {
			other.parent = to
		}
		for _, k := range other.constraints {
			if k.references == from {
				k.references, k.definition = to, renamed(k.definition, bare(from), bare(to))
			}
		}
	}
}

func (s *schema) renameColumn(t *table, from, to string) {
	c := t.column(from)
	if c == nil {
		if t.known {
			return
		}
		s.remove("column", t.name+"."+from, false)
		c = &column{step: s.step, fresh: true}
		t.columns = append(t.columns, c)
	}
	c.name = to
	delete(s.gone, "column "+t.name+"."+to)
	for _, other := range t.columns {
		if other.generated {
			other.standard = renamed(other.standard, from, to)
		}
	}
	for _, k := range t.constraints {
		k.columns, k.notNull = replaced(k.columns, from, to), replaced(k.notNull, from, to)
		k.check, k.definition = renamed(k.check, from, to), renamed(k.definition, from, to)
	}
	for _, i := range t.indexes {
		for at, c := range i.columns {
			i.columns[at] = renamed(c, from, to)
		}
		i.where, i.definition = renamed(i.where, from, to), renamed(i.definition, from, to)
	}
}

// renameConstraint renames the index along with it, where there is one.
func (s *schema) renameConstraint(t *table, from, to string) {
	if k := t.constraint(from); k != nil {
		k.name = to
	} else if !t.known {
		s.remove("constraint", t.name+"."+from, false)
		s.create("constraint", t.name+"."+to, false)
	}
	if i := t.index(from); i != nil {
		i.name = to
	}
}

// renameIndex renames the constraint along with it, where there is one.
func (s *schema) renameIndex(from, to string) {
	t, i := s.index(from)
	if i == nil {
		s.renameOther("index", from, qualified(schemaOf(from), to))
		return
	}
	if k := t.constraint(i.name); k != nil {
		k.name = to
	}
	i.name = to
}

// renameType renames an enum, or whatever else of this kind has the name.
func (s *schema) renameType(kind, from, to string) {
	if e, ok := s.types[from]; ok && kind == "type" {
		delete(s.types, from)
		e.name = to
		s.types[to] = e
	} else if kind != "" {
		s.renameOther(kind, from, to)
		return
	}
	for _, t := range s.tables {
		for _, c := range t.columns {
			if base, _, _ := strings.Cut(c.typ, "["); base == from {
				c.typ = to + strings.TrimPrefix(c.typ, base)
			}
		}
	}
}

func (s *schema) renameOther(kind, from, to string) {
	s.remove(kind, from, false)
	s.create(kind, to, false)
}

func (s *schema) renameSchema(from, to string) {
	for name := range s.clone().tables {
		if schemaOf(name) == from {
			s.renameTable(name, qualified(to, bare(name)))
		}
	}
	for name := range s.clone().types {
		if schemaOf(name) == from {
			s.renameType("type", name, qualified(to, bare(name)))
		}
	}
	s.renameOther("schema", from, to)
}

// schemaOf is the schema in a qualified name; empty for public.
func schemaOf(name string) string {
	schema, _, found := strings.Cut(name, ".")
	if !found {
		return ""
	}
	return schema
}

// bare is a qualified name without its schema.
func bare(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

func replaced(all []string, from, to string) []string {
	all = slices.Clone(all)
	for i, v := range all {
		if v == from {
			all[i] = to
		}
	}
	return all
}
