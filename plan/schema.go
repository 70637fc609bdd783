package plan

import (
	_ "embed"
	"slices"
)

//go:embed schema.json
var schema []byte

// JSONSchema describes a plan's shape for editors, as JSON Schema draft 2020-12. Every plan that Decode accepts
// conforms to it; what one value says about another, such as versions that rise, only Decode checks.
func JSONSchema() []byte { return slices.Clone(schema) }
