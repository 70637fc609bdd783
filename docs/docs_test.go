// Package docs holds no code: its tests keep the documentation true.
package docs

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"

	"github.com/contraflow/contraflow/internal/config"
	"github.com/contraflow/contraflow/plan"
)

// pages are all documents, by their paths from here.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.md")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := map[string]string{}
	for _, file := range append(files, "../README.md", "../CHANGELOG.md", "../examples/shop/README.md", "../examples/transform/README.md") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		all[file] = string(text)
	}
	return all
}

var fence = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")

// blocks are the fenced blocks of a kind, such as "yaml plan", with the page they stand on.
func blocks(t *testing.T, kind string) (found []struct{ page, text string }) {
	t.Helper()
	all := pages(t)
	for _, page := range slices.Sorted(maps.Keys(all)) {
		for _, m := range fence.FindAllStringSubmatch(all[page], -1) {
			if m[1] == kind {
				found = append(found, struct{ page, text string }{page, m[2]})
			}
		}
	}
	require.NotEmpty(t, found, "no block %q", kind)
	return found
}

func TestEveryPlanDecodes(t *testing.T) {
	t.Parallel()
	for _, b := range blocks(t, "yaml plan") {
		_, err := plan.Decode(b.page, []byte(b.text))
		require.NoError(t, err, b.text)
	}
	const around = "name: p\ndatabase: d\nmigrations: m\nflags: {project: p, environment: e}\nsteps:\n"
	for _, b := range blocks(t, "yaml step") {
		_, err := plan.Decode(b.page, []byte(around+b.text))
		require.NoError(t, err, b.text)
	}
	for _, b := range blocks(t, "yaml guard") {
		_, err := plan.Decode(b.page, []byte(around+"- {name: fill, soak: 1s}\nguard:\n  "+strings.ReplaceAll(b.text, "\n", "\n  ")))
		require.NoError(t, err, b.text)
	}
}

func TestEveryKeyOfThePlanIsDocumented(t *testing.T) {
	t.Parallel()
	var schema any
	require.NoError(t, json.Unmarshal(plan.JSONSchema(), &schema))
	keys := map[string]bool{}
	collect(schema, keys)
	require.Greater(t, len(keys), 30)
	text, err := os.ReadFile("plan.md")
	require.NoError(t, err)
	for key := range keys {
		require.Regexp(t, "(?m)^\\| `"+key+"` +\\|", string(text), "a row for %s", key)
	}
}

// collect gathers the names of all properties of a JSON Schema.
func collect(node any, keys map[string]bool) {
	switch node := node.(type) {
	case []any:
		for _, n := range node {
			collect(n, keys)
		}
	case map[string]any:
		for name, n := range node {
			if properties, ok := n.(map[string]any); ok && name == "properties" {
				for key := range properties {
					keys[key] = true
				}
			}
			collect(n, keys)
		}
	}
}

func TestEveryWorkerConfigurationIsAccepted(t *testing.T) {
	t.Parallel()
	configurations := blocks(t, "yaml worker")
	compose, err := os.ReadFile("../deploy/worker.yaml")
	require.NoError(t, err)
	configurations = append(configurations, struct{ page, text string }{"deploy/worker.yaml", string(compose)})
	for _, b := range configurations {
		file := filepath.Join(t.TempDir(), "worker.yaml")
		require.NoError(t, os.WriteFile(file, []byte(b.text), 0o600))
		_, err := config.Load(file, func(string) string { return "set" })
		require.NoError(t, err, b.page)
	}
}

func TestEveryKeyOfTheConfigurationIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("operations.md")
	require.NoError(t, err)
	keys := configurationKeys(reflect.TypeFor[config.Config](), "")
	require.Contains(t, keys, "slack.signingSecret")
	for _, key := range keys {
		require.Regexp(t, "(?m)^\\| `"+regexp.QuoteMeta(key)+"` +\\|", string(text), "a row for %s", key)
	}
}

func configurationKeys(of reflect.Type, path string) (keys []string) {
	for field := range of.Fields() {
		name, typ := field.Tag.Get("yaml"), field.Type
		if name == "" {
			continue
		}
		if typ.Kind() == reflect.Map && typ.Elem().Kind() == reflect.Struct {
			name, typ = name+".NAME", typ.Elem()
		}
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if typ.Kind() == reflect.Struct {
			keys = append(keys, configurationKeys(typ, path+name+".")...)
			continue
		}
		keys = append(keys, path+name)
	}
	return keys
}

// link is [text](target), within a line.
var link = regexp.MustCompile(`\[([^\]\n]*)\]\(([^)\s]+)\)`)

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	t.Parallel()
	proofs := 0
	for page, text := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[2], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[2], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), file)
			}
			body, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); statErr == nil && info.IsDir() {
				continue
			}
			require.NoError(t, err, "%s: %s", page, m[0])
			if anchor != "" {
				require.Contains(t, anchors(string(body)), anchor, "%s: %s", page, m[0])
			}
			if strings.HasPrefix(m[1], "Test") {
				require.True(t, strings.Contains(string(body), "\nfunc "+m[1]+"(t *testing.T)"), "%s names a test that is not there: %s", page, m[0])
				proofs++
			}
		}
	}
	require.Greater(t, proofs, 50)
}

// anchors of a page's headings, as GitHub makes them.
func anchors(page string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		name := strings.ToLower(strings.ReplaceAll(m[1], " ", "-"))
		all = append(all, regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(name, ""))
	}
	return all
}

// Every line of the guarantees is proved by a test, up to the section that says what is not.
func TestEveryGuaranteeNamesItsProof(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("guarantees.md")
	require.NoError(t, err)
	proved, _, found := strings.Cut(string(text), "## Not guaranteed yet")
	require.True(t, found)
	for line := range strings.Lines(proved) {
		if strings.HasPrefix(line, "| ") && !strings.HasSuffix(strings.TrimRight(line, " |\n"), "| proof") {
			require.Regexp(t, `\| \[Test\w+\]\(\S+_test\.go\)`, line)
		}
	}
}

func TestEveryCommandExists(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "contraflow")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, "../starter").CombinedOutput()
	require.NoError(t, err, "%s", out)
	flag := regexp.MustCompile(`--[a-z-]+`)
	help := map[string]string{}
	for _, b := range blocks(t, "sh") {
		for line := range strings.Lines(b.text) {
			words := strings.Fields(line)
			if len(words) < 2 || words[0] != "contraflow" {
				continue
			}
			command := words[1]
			if command == "flags" { // a group
				command += " " + words[2]
			}
			if _, asked := help[command]; !asked {
				out, err := exec.CommandContext(t.Context(), program, append(strings.Fields(command), "--help")...).CombinedOutput()
				require.NoError(t, err, "%s: %s", b.page, line)
				require.True(t, bytes.Contains(out, []byte("contraflow "+command)), "%s: there is no command %s", b.page, command)
				help[command] = string(out)
			}
			for _, f := range flag.FindAllString(line, -1) {
				require.True(t, strings.Contains(help[command], f+" "), "%s: there is no flag %s in: %s", b.page, f, line)
			}
		}
	}
	require.Greater(t, len(help), 8)
}

// The compose file passes docker compose's own check where that is at hand; this one needs nothing.
func TestComposeNamesWhatExists(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docker-compose.yml")
	require.NoError(t, err)
	var compose struct {
		Services map[string]struct {
			Build     struct{ Context, Target string } `yaml:"build"`
			Volumes   []string                         `yaml:"volumes"`
			DependsOn map[string]any                   `yaml:"depends_on"`
		} `yaml:"services"`
		Volumes map[string]any `yaml:"volumes"`
	}
	require.NoError(t, yaml.Unmarshal(text, &compose))
	dockerfile, err := os.ReadFile("../Dockerfile")
	require.NoError(t, err)
	require.Contains(t, compose.Services, "worker")
	for name, s := range compose.Services {
		if s.Build.Target != "" {
			require.Regexp(t, `(?m)^FROM \S+ AS `+s.Build.Target+`$`, string(dockerfile), name)
		}
		for dependency := range s.DependsOn {
			require.Contains(t, compose.Services, dependency, name)
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(from, "./") {
				require.FileExists(t, filepath.Join("..", from, existing(from)), name)
			} else {
				require.Contains(t, compose.Volumes, from, name)
			}
		}
	}
}

// existing is a file inside a mounted folder; "" for a mounted file.
func existing(mounted string) string {
	if mounted == "./deploy/postgres" {
		return "10-shop.sh"
	}
	return ""
}
