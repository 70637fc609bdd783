package lint

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// volatiles are functions of Postgres and its usual extensions whose result differs from row to row.
var volatiles = []string{
	"random", "random_normal", "gen_random_uuid", "gen_random_bytes", "uuidv4", "uuidv7", "clock_timestamp", "timeofday", "nextval", "currval", "lastval", "setval",
	"uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4", "gen_salt", "pg_sleep", "setseed", "set_config",
}

// steadies are functions that give every row the same value, of extensions, of Postgres above the version that steadyFunctions
// was taken from, and what the grammar writes as one.
var steadies = []string{
	"trim", "greatest", "least", "coalesce", "nullif", "uuid_nil", "uuid_ns_dns", "uuid_ns_url", "uuid_generate_v5", "uuid_generate_v3",
	"array_sort", "array_reverse", "casefold", "crc32", "crc32c", "date_add", "date_subtract", "to_bin", "to_oct", "uuid_extract_timestamp", "uuid_extract_version",
}

// steady tells that a function is known to give all rows of a statement the same value, and to do nothing else.
func steady(function string) bool {
	_, known := slices.BinarySearch(steadyFunctions, function)
	return known || slices.Contains(steadies, function)
}

// volatile names a function in an expression that may differ from row to row; "" if there is none. Not sure of functions that
// aren't known.
func volatile(n *tree.Node) (culprit string, sure bool) {
	inspect(n, func(m proto.Message) {
		f, ok := m.(*tree.FuncCall)
		if !ok {
			return
		}
		called := texts(f.GetFuncname())
		function := called[len(called)-1]
		own := len(called) == 1 || called[0] == "pg_catalog"
		switch {
		case slices.Contains(volatiles, function):
			culprit, sure = function, true
		case own && steady(function):
		case culprit == "":
			culprit = strings.Join(called, ".")
		}
	})
	return culprit, sure
}

// ordinary are types of Postgres and its usual extensions that are no domains. Those that the grammar knows by keyword stand in
// pg_catalog.
var ordinary = []string{
	"text", "uuid", "json", "jsonb", "bytea", "date", "inet", "cidr", "macaddr", "macaddr8", "money", "point", "line", "lseg", "box", "path", "polygon", "circle",
	"tsvector", "tsquery", "xml", "oid", "name", "regclass", "regtype", "regproc", "regrole", "pg_lsn", "xid", "xid8", "int2", "int4", "int8", "float4", "float8", "bool", "varchar", "bpchar",
	"numeric", "timestamp", "timestamptz", "time", "timetz", "interval", "varbit", "bit", "jsonpath", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange",
	"int4multirange", "int8multirange", "nummultirange", "tsmultirange", "tstzmultirange", "datemultirange",
	"citext", "hstore", "ltree", "lquery", "geometry", "geography", "vector", "halfvec", "cube", "isbn", "ean13", "smallserial", "serial", "bigserial", "serial2", "serial4", "serial8",
}

// domain tells whether a type is a domain with a constraint, and whether it is known what it is at all.
func (g glance) domain(t *tree.TypeName) (constrained, known bool) {
	d := g.domainOf(t, nil)
	return d.constrained, d.known
}

// domain is what the files tell of a type.
type domain struct {
	known       bool       // what it is
	constrained bool       // it is a domain, and one with a constraint
	standard    *tree.Node // the domain's default; nil for none
}

// domainOf looks a type up, and the type below it if it is a domain; seen are those above.
func (g glance) domainOf(t *tree.TypeName, seen []string) (d domain) {
	words := texts(t.GetNames())
	if len(words) == 0 || words[0] == "pg_catalog" || slices.Contains(ordinary, words[len(words)-1]) || len(t.GetArrayBounds()) > 0 {
		return domain{known: true}
	}
	called := listName(t.GetNames())
	if _, enum := g.now.types[called]; enum {
		return domain{known: true}
	}
	if slices.Contains(seen, called) {
		return domain{}
	}
	for n := range g.past() {
		if made := n.GetCreateDomainStmt(); made != nil && listName(made.GetDomainname()) == called {
			d = g.domainOf(made.GetTypeName(), append(seen, called))
			d.known = true
			for _, k := range made.GetConstraints() {
				switch k := k.GetConstraint(); k.GetContype() {
				case tree.ConstrType_CONSTR_CHECK, tree.ConstrType_CONSTR_NOTNULL:
					d.constrained = true
				case tree.ConstrType_CONSTR_DEFAULT:
					d.standard = k.GetRawExpr()
				}
			}
		}
		if altered := n.GetAlterDomainStmt(); altered != nil && listName(altered.GetTypeName()) == called {
			switch altered.GetSubtype() {
			case "C", "O":
				d.known, d.constrained = true, true
			case "T":
				d.standard = altered.GetDef()
			}
		}
		d.known = d.known || relationName(n.GetCompositeTypeStmt().GetTypevar()) == called || listName(n.GetCreateRangeStmt().GetTypeName()) == called ||
			listName(n.GetCreateEnumStmt().GetTypeName()) == called
	}
	return d
}

// shape of a type, as format_type writes it: its name without length or precision, and those.
type shape struct {
	base string
	mods []int
}

var typeMods = regexp.MustCompile(`\(([\d,]+)\)`)

func shapeOf(typ string) shape {
	s := shape{base: typeMods.ReplaceAllString(typ, "")}
	if stands, ok := serials[s.base]; ok {
		s.base = stands
	}
	if m := typeMods.FindStringSubmatch(typ); m != nil {
		for _, digits := range strings.Split(m[1], ",") {
			n, _ := strconv.Atoi(digits)
			s.mods = append(s.mods, n)
		}
	}
	return s
}

// keeps tells that Postgres changes a column of one type into another without looking at its rows.
func keeps(from, to string) bool {
	if from == to {
		return true
	}
	a, b := shapeOf(from), shapeOf(to)
	if a.base != b.base {
		return slices.Contains(coercible, [2]string{a.base, b.base}) && len(b.mods) == 0
	}
	switch a.base {
	case "character varying", "bit varying":
		return len(b.mods) == 0 || len(a.mods) == 1 && b.mods[0] >= a.mods[0]
	case "numeric":
		return len(b.mods) == 0 || len(a.mods) > 0 && b.mods[0] >= a.mods[0] && scale(a) == scale(b)
	case "timestamp without time zone", "timestamp with time zone", "time without time zone", "time with time zone":
		return precision(a) <= precision(b)
	case "interval":
		return len(b.mods) == 0 || slices.Equal(a.mods, b.mods)
	}
	return slices.Equal(a.mods, b.mods)
}

// coercible pairs of types are stored alike, and compared alike by their indexes.
var coercible = [][2]string{{"character varying", "text"}, {"text", "character varying"}, {"cidr", "inet"}}

func scale(s shape) int {
	if len(s.mods) > 1 {
		return s.mods[1]
	}
	return 0
}

// finest precision of times, in digits behind the second: what they have if none is given.
const finest = 6

func precision(s shape) int {
	if len(s.mods) == 0 {
		return finest
	}
	return s.mods[0]
}
