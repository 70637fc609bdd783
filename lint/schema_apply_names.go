package lint

import (
	"regexp"
	"slices"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// defaultSchema is left out of names: the one that everybody's search_path ends with.
const defaultSchema = "public"

// maxIdentifier is how many bytes of a name Postgres keeps (NAMEDATALEN - 1).
const maxIdentifier = 63

// relationName is what the schema calls a relation: "customers", or "sales.customers" outside of public.
func relationName(r *tree.RangeVar) string {
	return qualified(r.GetSchemaname(), r.GetRelname())
}

func qualified(schema, name string) string {
	if schema == "" || schema == defaultSchema {
		return name
	}
	return schema + "." + name
}

// listName is the qualified name that a list of strings spells; of "table.column" lists, cut the column off first.
func listName(parts []*tree.Node) string {
	words := texts(parts)
	if len(words) == 0 {
		return ""
	}
	schema := ""
	if len(words) > 1 {
		schema = words[len(words)-2]
	}
	return qualified(schema, words[len(words)-1])
}

// texts of a list of string nodes.
func texts(parts []*tree.Node) []string {
	words := make([]string, 0, len(parts))
	for _, p := range parts {
		words = append(words, p.GetString_().GetSval())
	}
	return words
}

// objectName is the name in an Object node: a list, a relation, a type, a function with its arguments, or a text.
func objectName(n *tree.Node) string {
	switch {
	case n.GetList() != nil:
		return listName(n.GetList().GetItems())
	case n.GetObjectWithArgs() != nil:
		return listName(n.GetObjectWithArgs().GetObjname())
	case n.GetTypeName() != nil:
		return typeName(n.GetTypeName())
	case n.GetRangeVar() != nil:
		return relationName(n.GetRangeVar())
	}
	return n.GetString_().GetSval()
}

// internalTypes are the catalog's names of types that SQL calls otherwise.
var internalTypes = map[string]string{
	"int2": "smallint", "int4": "integer", "int8": "bigint", "float4": "real", "float8": "double precision", "bool": "boolean",
	"varchar": "character varying", "bpchar": "character", "timestamp": "timestamp without time zone",
	"timestamptz": "timestamp with time zone", "time": "time without time zone", "timetz": "time with time zone",
	"varbit": "bit varying", "decimal": "numeric", "char": `"char"`,
}

// typeName is a type as format_type writes it, such as "character varying(20)", "timestamp(3) with time zone", "integer[]".
// serial types keep their name: "bigserial".
func typeName(t *tree.TypeName) string {
	if t == nil {
		return ""
	}
	words := texts(t.GetNames())
	name := strings.Join(words, ".")
	if len(words) == 2 && (words[0] == "pg_catalog" || words[0] == defaultSchema) {
		name = words[1]
	}
	if known, ok := internalTypes[name]; ok {
		name = known
	}
	length := modifiers(t)
	switch first, rest, _ := strings.Cut(name, " "); {
	case strings.HasPrefix(name, "time") && rest != "": // the precision stands inside: timestamp(3) with time zone
		name = first + brackets(length) + " " + rest
	case name == "interval" && len(length) > 0:
		name += intervalFields[length[0]] + brackets(length[1:])
	case name == "numeric" && len(length) == 1:
		name += brackets(append(length, "0"))
	case name == "character" && len(length) == 0:
		name = "bpchar"
	default:
		name += brackets(length)
	}
	if len(t.GetArrayBounds()) > 0 {
		name += "[]" // of however many dimensions
	}
	return name
}

// intervalFields are what an interval is restricted to, by Postgres's number for it.
var intervalFields = map[string]string{
	"4": " year", "2": " month", "8": " day", "1024": " hour", "2048": " minute", "4096": " second", "6": " year to month", "1032": " day to hour",
	"3080": " day to minute", "7176": " day to second", "3072": " hour to minute", "7168": " hour to second", "6144": " minute to second",
}

// modifiers are a type's length, or precision and scale.
func modifiers(t *tree.TypeName) (all []string) {
	for _, m := range t.GetTypmods() {
		all = append(all, expression(m))
	}
	return all
}

func brackets(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return "(" + strings.Join(all, ",") + ")"
}

// expression is the text of an expression in one spelling, whatever blanks, case and brackets it was written with; empty for
// none, and for what can't be written down.
func expression(n *tree.Node) string {
	if n == nil {
		return ""
	}
	target := &tree.Node{Node: &tree.Node_ResTarget{ResTarget: &tree.ResTarget{Val: n}}}
	query := &tree.SelectStmt{TargetList: []*tree.Node{target}, LimitOption: tree.LimitOption_LIMIT_OPTION_DEFAULT, Op: tree.SetOperation_SETOP_NONE}
	text, err := pgquery.Deparse(&tree.ParseResult{Stmts: []*tree.RawStmt{{Stmt: &tree.Node{Node: &tree.Node_SelectStmt{SelectStmt: query}}}}})
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(text, "SELECT ")
}

// fit joins names as Postgres does for objects that nobody named: "table_column_idx", cut where it would be too long.
func fit(name, columns, label string) string {
	room := maxIdentifier - len(label) - 1
	if columns != "" {
		room--
	}
	for len(name)+len(columns) > room { // the longer one gives way
		if len(name) > len(columns) {
			name = name[:len(name)-1]
		} else {
			columns = columns[:len(columns)-1]
		}
	}
	if columns != "" {
		columns += "_"
	}
	return name + "_" + columns + label
}

// columnsIn lists the columns that an expression names, each once.
func columnsIn(n *tree.Node) (names []string) {
	for _, words := range referencesIn(n) {
		if name := words[len(words)-1]; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// referencesIn lists the references to columns as they are written: the words between the dots, the last one empty for a star.
func referencesIn(n *tree.Node) (all [][]string) {
	inspect(n, func(m proto.Message) {
		if ref, ok := m.(*tree.ColumnRef); ok {
			all = append(all, texts(ref.GetFields()))
		}
	})
	return all
}

// inspect visits every message of a tree, outer ones first.
func inspect(m proto.Message, visit func(proto.Message)) {
	r := m.ProtoReflect()
	if !r.IsValid() {
		return
	}
	visit(m)
	r.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				inspect(value.List().Get(i).Message().Interface(), visit)
			}
		default:
			inspect(value.Message().Interface(), visit)
		}
		return true
	})
}

// identifiers in an expression or definition: what stands in single quotes is skipped.
var identifiers = regexp.MustCompile(`'(?:[^']|'')*'|"(?:[^"]|"")+"|[\pL_][\pL\pN_$]*`)

// renamed is an expression after a column or table that it mentions got another name.
func renamed(text, from, to string) string {
	return identifiers.ReplaceAllStringFunc(text, func(word string) string {
		if strings.Trim(word, `"`) == from {
			return quoted(to)
		}
		return word
	})
}

// mentions tells whether an expression names a column.
func mentions(text, name string) bool {
	return slices.ContainsFunc(identifiers.FindAllString(text, -1), func(word string) bool { return strings.Trim(word, `"`) == name })
}

var plain = regexp.MustCompile(`^[a-z_][a-z0-9_$]*$`)

// quoted is a name as SQL needs it.
func quoted(name string) string {
	if plain.MatchString(name) {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// quotedName is quoted for a name that may have its schema before it.
func quotedName(name string) string {
	if schema := schemaOf(name); schema != "" {
		return quoted(schema) + "." + quoted(bare(name))
	}
	return quoted(name)
}
