package rehearse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/internal/pg"
)

// dumpTimeout bounds the dump of a schema; ten thousand tables take a minute.
const dumpTimeout = 10 * time.Minute

var errDumpTimeout = fmt.Errorf("gave up after %s", dumpTimeout)

// clients are the folder of pg_dump and psql.
type clients string

// portions of a schema that not every server can take in.
type portions struct{ owners, publications bool } // owners with grants

// dump is the schema of a database, as SQL, without a row of its tables. What contraflow keeps for itself is left out, and
// so are subscriptions and user mappings, which hold passwords for other servers. g guards
// the session where it could be in somebody's way; nil where there is nobody.
func (c clients) dump(ctx context.Context, config *pgx.ConnConfig, with portions, g *guard) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dumpTimeout, errDumpTimeout)
	defer cancel()
	args := []string{"--schema-only", "--no-subscriptions", "--no-tablespaces", "--no-security-labels",
		"--encoding=UTF8", "--exclude-schema=" + pg.Schema}
	if !with.publications {
		args = append(args, "--no-publications")
	}
	if !with.owners {
		args = append(args, "--no-owner", "--no-privileges")
	}
	dump, err := c.run(ctx, config, g, "", "pg_dump", args...)
	for _, unwanted := range []*regexp.Regexp{setNewer, ours, mapping} {
		dump = unwanted.ReplaceAllString(dump, "")
	}
	return dump, err
}

// restore runs a dump.
func (c clients) restore(ctx context.Context, config *pgx.ConnConfig, dump string) error {
	_, err := c.run(ctx, config, nil, dump, "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse", "--output=/dev/null")
	return err
}

// run gives a program a connection of its own, and its input.
func (c clients) run(ctx context.Context, config *pgx.ConnConfig, g *guard, input, program string, args ...string) (string, error) {
	r, err := newRelay(ctx, config)
	if err != nil {
		return "", fmt.Errorf("connect for %s: %w", program, err)
	}
	var out, complaint bytes.Buffer
	work := func(ctx context.Context) error {
		served := make(chan error, 1)
		go func() { served <- r.serve() }()
		command := exec.CommandContext(ctx, filepath.Join(string(c), program), append(args, "--no-password")...)
		command.Env, command.Stdin, command.Stdout, command.Stderr = r.env(), strings.NewReader(input), &out, &complaint
		err := command.Run()
		r.close()
		<-served
		return err
	}
	if g != nil {
		err = g.over(ctx, r.pid, work)
	} else {
		err = work(ctx)
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if _, failed := errors.AsType[*exec.ExitError](err); failed {
		return "", fmt.Errorf("%s: %w: %s", program, err, firstLines(complaint.String()))
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", program, err)
	}
	return out.String(), nil
}

// firstLines of a complaint are enough; what follows is its aftermath.
func firstLines(text string) string {
	const enough = 5
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[:min(enough, len(lines))], "\n")
}

// meta matches psql's \restrict and \unrestrict, whose token is random.
var meta = regexp.MustCompile(`(?m)^\\(un)?restrict .*\n`)

// setNewer matches settings that a newer pg_dump writes and an older server doesn't know.
var setNewer = regexp.MustCompile(`(?m)^SET transaction_timeout = .*\n`)

// ours matches the triggers by which a migration that is under way keeps columns in step: their functions stand in our schema.
var ours = regexp.MustCompile(`(?m)^(CREATE TRIGGER zz_contraflow_.* EXECUTE FUNCTION ` + pg.Schema + `\.|COMMENT ON TRIGGER zz_contraflow_).*;\n`)

// mapping matches what logs in to a foreign server, behind the comment that pg_dump writes above it.
var mapping = regexp.MustCompile(`(?m)^-- Name: USER MAPPING .*\n--\n\nCREATE USER MAPPING (?:[^;'"]|'(?:[^']|'')*'|"(?:[^"]|"")*")*;\n`)

// remark matches the comments that pg_dump itself writes; those inside functions belong to them.
var remark = regexp.MustCompile(`^--( Name: .*| Dumped .*| PostgreSQL database dump.*)?$`)

// linesOf a dump, without blank ones and what says nothing about the schema.
func linesOf(dump string) []string {
	var lines []string
	for line := range strings.Lines(meta.ReplaceAllString(dump, "")) {
		line = strings.TrimRight(line, "\r\n ")
		if line != "" && !remark.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}
