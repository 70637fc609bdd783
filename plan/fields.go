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
	d.object(path, n, fields{
		"name":                  text(d, &c.Name),
		"from":                  text(d, &c.From),
		"interval":              duration(d, &c.Interval),
		"initialDelay":          duration(d, &c.InitialDelay),
		"dryRun":                boolean(d, &c.DryRun),
		"failureLimit":          limit(d, &c.FailureLimit),
		"consecutiveErrorLimit": limit(d, &c.ConsecutiveErrorLimit),
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
				"lockTimeout":  duration(d, &s.Migrate.LockTimeout),
				"killBlockers": text(d, &s.Migrate.KillBlockers),
			})
		},
		"flag": func(path string, n *yaml.Node) {
			s.Flag = &Flag{}
			d.object(path, n, d.flagFields(s.Flag))
		},
		"backfill": func(path string, n *yaml.Node) {
			s.Backfill = &Backfill{}
			d.object(path, n, d.backfillFields(s.Backfill))
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
			d.object(path, n, fields{
				"flags": texts(d, &s.Retire.Flags), "code": texts(d, &s.Retire.Code), "otherwise": text(d, &s.Retire.Otherwise),
			})
		},
	})
	return s
}

func (d *decoder) backfillFields(b *Backfill) fields {
	return fields{
		"table":         text(d, &b.Table),
		"key":           texts(d, &b.Key),
		"set":           assignments(d, &b.Set),
		"transform":     text(d, &b.Transform),
		"manual":        boolean(d, &b.Manual),
		"where":         text(d, &b.Where),
		"sync":          text(d, &b.Sync),
		"lanes":         integer(d, &b.Lanes),
		"chunkTime":     duration(d, &b.ChunkTime),
		"rowsPerSecond": integer(d, &b.RowsPerSecond),
		"vacuum":        text(d, &b.Vacuum),
		"maxRejects":    integer(d, &b.MaxRejects),
		"windows": func(path string, n *yaml.Node) {
			d.list(path, n, func(path string, n *yaml.Node) {
				var w Window
				d.object(path, n, fields{"days": texts(d, &w.Days), "from": text(d, &w.From), "to": text(d, &w.To), "zone": text(d, &w.Zone)})
				b.Windows = append(b.Windows, w)
			})
		},
		"throttles": func(path string, n *yaml.Node) {
			b.Throttles = &Throttles{}
			d.object(path, n, d.throttleFields(b.Throttles))
		},
		"pace": func(path string, n *yaml.Node) {
			b.Pace = &Pace{}
			d.object(path, n, fields{"protect": func(path string, n *yaml.Node) {
				b.Pace.Protect = &Protect{}
				d.object(path, n, d.protectFields(b.Pace.Protect))
			}})
		},
	}
}

func (d *decoder) throttleFields(t *Throttles) fields {
	return fields{
		"replicaLag":     duration(d, &t.ReplicaLag),
		"archiveBacklog": limit(d, &t.ArchiveBacklog),
		"lockWaiters":    limit(d, &t.LockWaiters),
		"activeSessions": limit(d, &t.ActiveSessions),
		"queries": func(path string, n *yaml.Node) {
			d.list(path, n, func(path string, n *yaml.Node) {
				var q ThrottleQuery
				highest := &q.Max
				d.object(path, n, fields{"name": text(d, &q.Name), "query": text(d, &q.Query), "max": number(d, &highest)})
				q.Max = *highest
				t.Queries = append(t.Queries, q)
			})
		},
	}
}

func (d *decoder) protectFields(p *Protect) fields {
	return fields{
		"name": text(d, &p.Name),
		"max":  duration(d, &p.Max),
		"unit": text(d, &p.Unit),
		"sql": func(path string, n *yaml.Node) {
			p.SQL = &LatencySQL{}
			d.object(path, n, fields{"query": text(d, &p.SQL.Query)})
		},
		"prometheus": func(path string, n *yaml.Node) {
			p.Prometheus = &LatencyPrometheus{}
			d.object(path, n, fields{"url": text(d, &p.Prometheus.URL), "query": text(d, &p.Prometheus.Query)})
		},
		"http": func(path string, n *yaml.Node) {
			p.HTTP = &LatencyHTTP{}
			d.object(path, n, fields{"url": text(d, &p.HTTP.URL), "field": text(d, &p.HTTP.Field)})
		},
	}
}
