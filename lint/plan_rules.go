package lint

// planRule looks at the plan as a whole; c.at is the schema around each step.
type planRule struct {
	Rule
	look func(c *check)
}

// planRules look at the order of steps, and at what the plan's SQL needs of the schema.
var planRules []planRule

func (c *check) steps() {
	for _, r := range planRules {
		r.look(c)
	}
}
