package plan

import "go.yaml.in/yaml/v4"

type fields = map[string]reader

// One function for each type of the plan: these maps are the whole list of keys.

func (d *decoder) plan(n *yaml.Node, p *Plan) {
	d.object("", n, fields{
		"name":        text(d, &p.Name),
		"description": text(d, &p.Description),
		"owner":       text(d, &p.Owner),
		"database":    text(d, &p.Database),
		"migrations":  text(d, &p.Migrations),
		"flags": func(path string, n *yaml.Node) {
			p.Flags = &FlagScope{}
			d.object(path, n, fields{
				"project":     text(d, &p.Flags.Project),
				"environment": text(d, &p.Flags.Environment),
				"drain": func(path string, n *yaml.Node) {
					p.Flags.Drain = new(Duration)
					duration(d, p.Flags.Drain)(path, n)
				},
			})
		},
		"guard": func(path string, n *yaml.Node) {
			p.Guard = &Guard{}
			d.object(path, n, fields{
				"interval": duration(d, &p.Guard.Interval),
				"checks": func(path string, n *yaml.Node) {
					d.list(path, n, func(path string, n *yaml.Node) {
						p.Guard.Checks = append(p.Guard.Checks, d.check(path, n))
					})
				},
			})
		},
		"steps": func(path string, n *yaml.Node) {
			d.list(path, n, func(path string, n *yaml.Node) {
				p.Steps = append(p.Steps, d.step(path, n))
			})
		},
	})
}

func (d *decoder) check(path string, n *yaml.Node) Check {
	var c Check
	var failures, errors int
	d.object(path, n, fields{
		"name":         text(d, &c.Name),
		"from":         text(d, &c.From),
		"interval":     duration(d, &c.Interval),
		"initialDelay": duration(d, &c.InitialDelay),
		"dryRun":       boolean(d, &c.DryRun),
		"failureLimit": func(path string, n *yaml.Node) {
			integer(d, &failures)(path, n)
			c.FailureLimit = &failures
		},
		"consecutiveErrorLimit": func(path string, n *yaml.Node) {
			integer(d, &errors)(path, n)
			c.ConsecutiveErrorLimit = &errors
		},
		"sql": func(path string, n *yaml.Node) {
			c.SQL = &SQLProbe{}
			d.object(path, n, bounds(d, &c.SQL.Query, &c.SQL.Max, &c.SQL.Min))
		},
		"http": func(path string, n *yaml.Node) {
			c.HTTP = &HTTPProbe{}
			d.object(path, n, fields{
				"url":     text(d, &c.HTTP.URL),
				"status":  integer(d, &c.HTTP.Status),
				"timeout": duration(d, &c.HTTP.Timeout),
			})
		},
	})
	return c
}

// bounds are the keys of a query for one number.
func bounds(d *decoder, query *string, maximum, minimum **float64) fields {
	return fields{"query": text(d, query), "max": number(d, maximum), "min": number(d, minimum)}
}

func (d *decoder) step(path string, n *yaml.Node) Step {
	var s Step
	d.object(path, n, fields{
		"name":    text(d, &s.Name),
		"timeout": duration(d, &s.Timeout),
		"migrate": func(path string, n *yaml.Node) {
			s.Migrate = &Migrate{}
			d.object(path, n, fields{
				"to":           integer(d, &s.Migrate.To),
				"irreversible": boolean(d, &s.Migrate.Irreversible),
			})
		},
		"flag": func(path string, n *yaml.Node) {
			s.Flag = &Flag{}
			d.object(path, n, fields{
				"key":         text(d, &s.Flag.Key),
				"contextKind": text(d, &s.Flag.ContextKind),
				"soak":        duration(d, &s.Flag.Soak),
				"rollout": func(path string, n *yaml.Node) {
					s.Flag.Rollout = []int{}
					d.list(path, n, func(path string, n *yaml.Node) {
						var percent int
						integer(d, &percent)(path, n)
						s.Flag.Rollout = append(s.Flag.Rollout, percent)
					})
				},
			})
		},
		"backfill": func(path string, n *yaml.Node) {
			s.Backfill = &Backfill{}
			d.object(path, n, fields{
				"table":         text(d, &s.Backfill.Table),
				"key":           texts(d, &s.Backfill.Key),
				"where":         text(d, &s.Backfill.Where),
				"lanes":         integer(d, &s.Backfill.Lanes),
				"chunkTime":     duration(d, &s.Backfill.ChunkTime),
				"rowsPerSecond": integer(d, &s.Backfill.RowsPerSecond),
				"set":           assignments(d, &s.Backfill.Set),
			})
		},
		"verify": func(path string, n *yaml.Node) {
			s.Verify = &Verify{}
			d.object(path, n, bounds(d, &s.Verify.Query, &s.Verify.Max, &s.Verify.Min))
		},
		"approve": func(path string, n *yaml.Node) {
			s.Approve = &Approve{}
			d.object(path, n, fields{
				"by":     texts(d, &s.Approve.By),
				"quorum": integer(d, &s.Approve.Quorum),
				"within": duration(d, &s.Approve.Within),
			})
		},
		"soak": func(path string, n *yaml.Node) {
			s.Soak = new(Duration)
			duration(d, s.Soak)(path, n)
		},
		"retire": func(path string, n *yaml.Node) {
			s.Retire = &Retire{}
			d.object(path, n, fields{"flags": texts(d, &s.Retire.Flags)})
		},
	})
	return s
}
