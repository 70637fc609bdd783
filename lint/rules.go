package lint

import "slices"

// statementRules look at every statement of the plan's up files, one by one.
var statementRules = slices.Concat[[]statementRule]()
