package plan

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// One function for each type of value: it reads a node into *to, or reports why it cannot.

type reader = func(path string, n *yaml.Node)

func text(d *decoder, to *string) reader {
	return func(path string, n *yaml.Node) {
		switch k := kindOf(n); k {
		case aText:
			*to = n.Value
		case aNumber, aBoolean:
			d.reportBroken(path, "must be a text, not %s (put it in quotes)", k)
		default:
			d.reportBroken(path, "must be a text, not %s", k)
		}
	}
}

func texts(d *decoder, to *[]string) reader {
	return func(path string, n *yaml.Node) {
		d.list(path, n, func(path string, n *yaml.Node) {
			var s string
			text(d, &s)(path, n)
			*to = append(*to, s)
		})
	}
}

// decimal is how numbers are written here: YAML's 0o17, 0x1F and 017 mean different things to different parsers.
var decimal = regexp.MustCompile(`^-?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?$`)

func digits(n *yaml.Node) (string, bool) {
	value := strings.ReplaceAll(n.Value, "_", "")
	return value, decimal.MatchString(value)
}

func integer[T ~int | ~uint](d *decoder, to *T) reader {
	return func(path string, n *yaml.Node) {
		if kindOf(n) != aNumber {
			d.reportBroken(path, "must be a whole number, not %s", kindOf(n))
			return
		}
		value, ok := digits(n)
		i, err := strconv.ParseUint(value, 10, 31)
		if !ok || err != nil {
			d.reportBroken(path, "must be a whole number from 0 to 2147483647 in decimal digits")
			return
		}
		*to = T(i)
	}
}

// limit is a whole number for which 0 says something else than nothing.
func limit(d *decoder, to **int) reader {
	return func(path string, n *yaml.Node) {
		*to = new(int)
		integer(d, *to)(path, n)
	}
}

func number(d *decoder, to **float64) reader {
	return func(path string, n *yaml.Node) {
		if kindOf(n) != aNumber {
			d.reportBroken(path, "must be a number, not %s", kindOf(n))
			return
		}
		value, ok := digits(n)
		v, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil {
			d.reportBroken(path, "must be a finite number in decimal digits")
			return
		}
		*to = &v
	}
}

func boolean(d *decoder, to *bool) reader {
	return func(path string, n *yaml.Node) {
		if kindOf(n) != aBoolean {
			d.reportBroken(path, "must be true or false, not %s", kindOf(n))
			return
		}
		*to = strings.EqualFold(n.Value, "true")
	}
}

func duration(d *decoder, to *Duration) reader {
	return func(path string, n *yaml.Node) {
		if kindOf(n) != aText {
			d.reportBroken(path, "must be a duration such as 30s, 5m or 24h, not %s", kindOf(n))
			return
		}
		v, err := time.ParseDuration(n.Value)
		if err != nil || strings.HasPrefix(n.Value, "-") {
			d.reportBroken(path, "%q is no duration: write it as 30s, 5m or 24h", n.Value)
			return
		}
		*to = Duration(v)
	}
}

// assignments reads columns of the reader's own naming to SQL expressions.
func assignments(d *decoder, to *map[string]string) reader {
	return func(path string, n *yaml.Node) {
		pairs, ok := d.pairs(path, n)
		if !ok {
			return
		}
		*to = map[string]string{}
		for _, kv := range pairs {
			var expression string
			if k := kindOf(kv.value); k == aNumber || k == aBoolean {
				expression = kv.value.Value // a constant is an expression too
			} else {
				text(d, &expression)(kv.path, kv.value)
			}
			(*to)[kv.key] = expression
		}
	}
}
