package plan

import (
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"
)

func example(t testing.TB) []byte {
	t.Helper()
	document, err := os.ReadFile("../examples/shop/plan.yaml")
	require.NoError(t, err)
	return document
}

func TestDecodeReadsTheExample(t *testing.T) {
	t.Parallel()
	p, err := Decode("plan.yaml", example(t))
	require.NoError(t, err)
	require.Equal(t, "split-customer-address", p.Name)
	require.Len(t, p.Steps, 9)
	require.Equal(t, []int{10, 50, 100}, p.Steps[1].Flag.Rollout)
	require.Equal(t, 2*time.Second, p.Steps[1].Flag.Soak.Std())
	require.Equal(t, "split_part(address, ' ', 1)", p.Steps[2].Backfill.Set["street_number"])
	require.Equal(t, uint(3), p.HighestVersion())
	require.Equal(t, []string{"customers-write-new", "customers-read-new"}, p.FlagKeys())
	require.True(t, p.Steps[7].Irreversible())
}

func TestJSONOfTheSameShapeIsTheSamePlan(t *testing.T) {
	t.Parallel()
	fromYAML, err := Decode("plan.yaml", example(t))
	require.NoError(t, err)
	var plain any
	require.NoError(t, yaml.Load(example(t), &plain))
	compact, err := json.Marshal(plain)
	require.NoError(t, err)
	ours, err := json.Marshal(fromYAML)
	require.NoError(t, err)
	tabs, err := json.MarshalIndent(fromYAML, "", "\t")
	require.NoError(t, err)
	for name, document := range map[string][]byte{"converted": compact, "marshalled": ours, "with tabs": tabs} {
		fromJSON, err := Decode("plan.json", document)
		require.NoError(t, err, name)
		require.Equal(t, fromYAML, fromJSON, name)
	}
}

func TestDecodeReportsEveryMistakeWithItsPlace(t *testing.T) {
	t.Parallel()
	_, err := Decode("bad.yaml", []byte(`name: Split Address
database: postgres://u:p@h/db
ownr: me
guard:
  checks:
    - name: answers
      http: {url: not-a-url}
      from: nowhere
steps:
  - name: expand
    migrate: {to: two}
  - name: expand
    flag: {key: k, rollout: [50, 10, 101], soak: 5}
  - name: fill
    backfil: {table: t}
  - name: both
    soak: 5m
    verify: {query: select 1}
  - name: drop
    migrate: {to: 3, irreversible: true}
`))
	var problems Problems
	require.True(t, errors.As(err, &problems))
	want := []string{
		`bad.yaml:1:1: name: "Split Address" is no good name: use lower-case letters, digits and hyphens, 63 at most`,
		`bad.yaml:2:1: database: must be a name in the worker's configuration, never a connection string`,
		`bad.yaml:3:1: ownr: unknown key, did you mean owner?; known here: database, description, flags, guard, migrations, name, owner, steps`,
		`bad.yaml:7:14: guard.checks[0].http.url: must be a URL such as http://127.0.0.1:8080/healthz`,
		`bad.yaml:8:7: guard.checks[0].from: there is no step "nowhere"`,
		`bad.yaml:11:15: steps[0].migrate.to: must be a whole number, not a text`,
		`bad.yaml:12:5: steps[1].name: step "expand" is there already as steps[0]: give each step a name of its own`,
		`bad.yaml:13:5: steps[1].flag: the plan says nothing of its flags: add ` + "`flags: {project: …, environment: …}`" + ` at the top`,
		`bad.yaml:13:34: steps[1].flag.rollout[1]: percentages rise: 10 does not come after 50`,
		`bad.yaml:13:38: steps[1].flag.rollout[2]: must be a percentage from 1 to 100`,
		`bad.yaml:13:44: steps[1].flag.soak: must be a duration such as 30s, 5m or 24h, not a number`,
		`bad.yaml:14:5: steps[2]: a step has exactly one verb of migrate, flag, backfill, verify, approve, soak, retire; this one has 0`,
		`bad.yaml:15:5: steps[2].backfil: unknown key, did you mean backfill?; known here: approve, backfill, flag, migrate, name, retire, soak, timeout, verify`,
		`bad.yaml:16:5: steps[3]: a step has exactly one verb of migrate, flag, backfill, verify, approve, soak, retire; this one has 2`,
		`bad.yaml:20:5: steps[4].migrate: the plan has no migrations folder: add ` + "`migrations: FOLDER`" + ` at the top`,
		`bad.yaml:20:22: steps[4].migrate.irreversible: an irreversible step must stand behind a verify step and an approve step: put both before it, the verify behind the last backfill`,
	}
	got := make([]string, len(problems))
	for i, p := range problems {
		got[i] = p.Error()
	}
	require.Equal(t, want, got)
}

func TestDecodeRefusesWhatIsNoPlan(t *testing.T) {
	t.Parallel()
	for document, message := range map[string]string{
		"":                                "the plan is empty",
		"# only a comment\n":              "the plan is empty",
		"[1, 2]":                          "must be a mapping of keys to values, not a list",
		"just words":                      "must be a mapping of keys to values, not a text",
		"name: [":                         "not YAML or JSON",
		"name: a\n---\nname: b\n":         "a file holds one plan",
		"name: a\nname: b\n":              "",
		"name: a\ndatabase: d\nsteps: {}": "must be a list, not a mapping",
		"name:\n":                         "has no value",
		"null":                            "must be a mapping of keys to values, not nothing",
		`{"name": null}`:                  "name: has no value",
		`{"name": true}`:                  "name: must be a text, not true or false",
		"name: &n a\nowner: *n":           "owner: must be a text, not this (anchors, aliases, merges and tags of your own are not understood)",
		"steps: [wait]":                   "steps[0]: must be a mapping of keys to values, not a text",
		"guard: {checks: [up]}":           "guard.checks[0]: must be a mapping of keys to values, not a text",
	} {
		_, err := Decode("p", []byte(document))
		require.ErrorContains(t, err, message, "%q", document)
	}
}

func TestHashFollowsMeaningAndSQLButNotLayout(t *testing.T) {
	t.Parallel()
	p, err := Decode("plan.yaml", example(t))
	require.NoError(t, err)
	files := []FileSum{{"1.up.sql", "aa"}, {"1.down.sql", "bb"}}
	hash := func(p *Plan, files []FileSum) string {
		h, err := p.Hash(files)
		require.NoError(t, err)
		return h
	}
	base := hash(p, files)
	require.Len(t, base, 64)
	require.Equal(t, base[:12], ShortHash(base))

	again, err := Decode("other.yaml", append([]byte("# a comment\n\n"), example(t)...))
	require.NoError(t, err)
	require.Equal(t, base, hash(again, []FileSum{files[1], files[0]}))

	require.NotEqual(t, base, hash(p, []FileSum{{"1.up.sql", "ab"}, files[1]}))
	again.Steps[4].Approve.Quorum = 2
	require.NotEqual(t, base, hash(again, files))
}

func TestADurationTravelsAsText(t *testing.T) {
	t.Parallel()
	body, err := json.Marshal(Duration(90 * time.Second))
	require.NoError(t, err)
	require.Equal(t, `"1m30s"`, string(body))
	var d Duration
	require.NoError(t, json.Unmarshal(body, &d))
	require.Equal(t, 90*time.Second, d.Std())
	require.ErrorContains(t, json.Unmarshal([]byte("90"), &d), `a duration is a text such as "30s"`)
	require.Error(t, json.Unmarshal([]byte(`"soon"`), &d))
	require.Equal(t, 90*time.Second, d.Std(), "what fails changes nothing")
}
