package rehearse

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/internal/pg"
)

// dumpLockWait is how long pg_dump waits for its ACCESS SHARE locks in all: it then holds those it has, and a change that waits
// for it would hold up the application.
const dumpLockWait = "2s"

// clients are the folder of pg_dump and psql.
type clients string

// dump is the schema of a database, as SQL, without a row of its tables. What contraflow keeps for itself is left out, and
// so are subscriptions, whose connection strings hold passwords. owners says whether owners and grants belong to it.
func (c clients) dump(ctx context.Context, config *pgx.ConnConfig, owners bool) (string, error) {
	args := []string{"--schema-only", "--no-publications", "--no-subscriptions", "--no-tablespaces", "--no-security-labels",
		"--encoding=UTF8", "--lock-wait-timeout=" + dumpLockWait, "--exclude-schema=" + pg.Schema}
	if !owners {
		args = append(args, "--no-owner", "--no-privileges")
	}
	dump, err := c.run(ctx, config, "", "pg_dump", args...)
	return ours.ReplaceAllString(setNewer.ReplaceAllString(dump, ""), ""), err
}

// restore runs a dump.
func (c clients) restore(ctx context.Context, config *pgx.ConnConfig, dump string) error {
	_, err := c.run(ctx, config, dump, "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse", "--output=/dev/null")
	return err
}

// run gives a program a connection of its own, and its input.
func (c clients) run(ctx context.Context, config *pgx.ConnConfig, input, program string, args ...string) (string, error) {
	r, err := newRelay(ctx, config)
	if err != nil {
		return "", fmt.Errorf("connect for %s: %w", program, err)
	}
	served := make(chan error, 1)
	go func() { served <- r.serve() }()
	var out, complaint bytes.Buffer
	command := exec.CommandContext(ctx, filepath.Join(string(c), program), append(args, "--no-password")...)
	command.Env, command.Stdin, command.Stdout, command.Stderr = r.env(), strings.NewReader(input), &out, &complaint
	err = command.Run()
	r.close()
	<-served
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, firstLines(complaint.String()))
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
