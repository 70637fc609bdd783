package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagfile"
	"github.com/contraflow/contraflow/flags/harness"
	"github.com/contraflow/contraflow/flags/launchdarkly"
	"github.com/contraflow/contraflow/flags/postgres"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

// flagService is a provider, and the service behind it as people have it who know nothing of the provider.
type flagService struct {
	provider flags.Provider
	// look is the flag as the service itself holds it, without versions and dates; nil where there is none.
	look func(t require.TestingT, key string) document
	// edits of a stranger, made in the service itself.
	edits  map[string]func(t require.TestingT, key string)
	staged bool // it knows migration flags
	locks  bool // nobody can come between its look and its change
	// prerequisites says that they are put back as well.
	prerequisites bool
	// stride is how many calls lie between two crashes of a sweep: what is not the provider's is the same for all.
	stride int
}

// needed is a flag of the service that others may have as a prerequisite.
const needed = "needed"

var flagServices = map[string]func(*testing.T, pgtest.Database) flagService{
	"flagfile": inAFile, "postgres": inPostgres, "launchdarkly": inLaunchDarkly, "harness": inHarness,
}

// inMemory is a folder where it costs nothing to sync a file with every change, if the machine has one.
func inMemory(t *testing.T) string {
	folder, err := os.MkdirTemp("/dev/shm", "flags")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	return folder
}

func inAFile(t *testing.T, _ pgtest.Database) flagService {
	path := filepath.Join(inMemory(t), "flags.json")
	provider, err := flagfile.New(path)
	require.NoError(t, err)
	require.NoError(t, provider.Create(t.Context(), needed, flags.NewFlag{}))
	type file map[string]map[string]map[string]any
	read := func(t require.TestingT) (f file) {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(raw, &f))
		return f
	}
	edit := func(change func(f file, flag map[string]any, key string)) func(require.TestingT, string) {
		return func(t require.TestingT, key string) {
			f := read(t)
			flag := f["flags"][key]
			if flag != nil {
				flag["version"] = flag["version"].(float64) + 1
			}
			change(f, flag, key)
			raw, err := json.Marshal(f)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, raw, 0o600))
		}
	}
	set := func(member string, value any) func(require.TestingT, string) {
		return edit(func(_ file, flag map[string]any, _ string) {
			if flag != nil {
				flag[member] = value
			}
		})
	}
	move := func(from, to string) func(require.TestingT, string) {
		return edit(func(f file, _ map[string]any, key string) {
			if flag := f[from][key]; flag != nil {
				if f[to] == nil {
					f[to] = map[string]map[string]any{}
				}
				f[to][key] = flag
				delete(f[from], key)
			}
		})
	}
	return flagService{provider, func(t require.TestingT, key string) document {
		f := read(t)
		flag, archived := f["flags"][key], false
		if flag == nil {
			flag, archived = f["archivedFlags"][key], true
		}
		return ofLaunchDarkly(flag, archived)
	}, map[string]func(require.TestingT, string){
		"rule": set("rules", []any{map[string]any{"id": "theirs", "variation": 1,
			"clauses": []any{map[string]any{"contextKind": "user", "attribute": "country", "op": "in", "values": []any{"de"}}}}}),
		"prerequisite":  set("prerequisites", []any{map[string]any{"key": needed, "variation": 0}}),
		"off variation": set("offVariation", 0),
		"archive":       move("flags", "archivedFlags"),
		"unarchive":     move("archivedFlags", "flags"),
		"delete": edit(func(f file, _ map[string]any, key string) {
			delete(f["flags"], key)
			delete(f["archivedFlags"], key)
		}),
	}, true, true, true, 2}
}

func inPostgres(t *testing.T, db pgtest.Database) flagService {
	provider, err := postgres.Open(t.Context(), db.DSN)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, provider.Close()) })
	pool, err := pgxpool.New(t.Context(), db.DSN)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	exec := func(sql string) func(require.TestingT, string) {
		return func(t require.TestingT, key string) {
			_, err := pool.Exec(context.Background(), sql, key)
			require.NoError(t, err)
		}
	}
	return flagService{provider, func(t require.TestingT, key string) document {
		var row map[string]any
		err := pool.QueryRow(context.Background(), `select jsonb_build_object('on', is_on, 'archived', archived, 'percent', percent,
			'kind', context_kind, 'targets', targets, 'salt', salt) from contraflow.flag where key = $1`, key).Scan(&row)
		if !errors.Is(err, pgx.ErrNoRows) {
			require.NoError(t, err)
		}
		return row
	}, map[string]func(require.TestingT, string){
		"salt":      exec(`update contraflow.flag set salt = 'theirs' where key = $1`),
		"archive":   exec(`update contraflow.flag set archived = true where key = $1`),
		"unarchive": exec(`update contraflow.flag set archived = false where key = $1`),
		"delete":    exec(`delete from contraflow.flag where key = $1`),
	}, false, true, false, 1}
}

// send is a stranger's request to a stand-in.
func send(t require.TestingT, method, url string, header map[string]string, body any) {
	raw, err := json.Marshal(body)
	require.NoError(t, err)
	request, err := http.NewRequest(method, url, bytes.NewReader(raw))
	require.NoError(t, err)
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	said, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Less(t, response.StatusCode, http.StatusMultipleChoices, "%s", said)
}

func inLaunchDarkly(t *testing.T, _ pgtest.Database) flagService {
	server := flagserver.New(flagserver.Options{Project: "shop", Environment: "production", APIToken: apiToken, SDKKey: sdkKey})
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = server.Close() })
	provider, err := launchdarkly.New(t.Context(), launchdarkly.Config{APIURL: server.URL(), StreamURL: server.URL(),
		Token: apiToken, SDKKey: sdkKey, Project: "shop", Environment: "production"})
	require.NoError(t, err)
	require.NoError(t, server.CreateFlag(needed))
	there := func(key string) (flagserver.Flag, bool) {
		flag, ok := server.Snapshot(key)
		return flag, ok && !flag.Archived
	}
	header := map[string]string{"Authorization": apiToken, "LD-API-Version": "20240415", "Content-Type": "application/json; domain-model=launchdarkly.semanticpatch"}
	patch := func(instruction func(flag flagserver.Flag) map[string]any) func(require.TestingT, string) {
		return func(t require.TestingT, key string) {
			if flag, ok := there(key); ok {
				send(t, http.MethodPatch, server.URL()+"/api/v2/flags/shop/"+key, header,
					map[string]any{"environmentKey": "production", "instructions": []any{instruction(flag)}})
			}
		}
	}
	return flagService{provider, func(t require.TestingT, key string) document {
		flag, ok := server.Snapshot(key)
		if !ok {
			return nil
		}
		raw, err := json.Marshal(flag.Environments["production"])
		require.NoError(t, err)
		var env map[string]any
		require.NoError(t, json.Unmarshal(raw, &env))
		delete(env, "lastModified")
		var values []any
		for _, v := range flag.Variations {
			values = append(values, v.Value)
		}
		env["variations"] = values
		return ofLaunchDarkly(env, flag.Archived)
	}, map[string]func(require.TestingT, string){
		"rule": patch(func(flag flagserver.Flag) map[string]any {
			return map[string]any{"kind": "addRule", "rolloutWeights": map[string]int{flag.Variations[1].ID: 100_000},
				"clauses": []any{map[string]any{"contextKind": "user", "attribute": "country", "op": "in", "values": []any{"de"}}}}
		}),
		"prerequisite": patch(func(flagserver.Flag) map[string]any {
			other, _ := server.Snapshot(needed)
			return map[string]any{"kind": "replacePrerequisites", "prerequisites": []any{map[string]any{"key": needed, "variationId": other.Variations[0].ID}}}
		}),
		"off variation": func(t require.TestingT, key string) {
			if flag, ok := there(key); ok && flag.Migration == nil { // whose off variation is always off
				patch(func(flag flagserver.Flag) map[string]any {
					return map[string]any{"kind": "updateOffVariation", "variationId": flag.Variations[0].ID}
				})(t, key)
			}
		},
		"archive": patch(func(flagserver.Flag) map[string]any { return map[string]any{"kind": "archiveFlag"} }),
		"delete": func(t require.TestingT, key string) {
			if _, ok := server.Snapshot(key); ok {
				send(t, http.MethodDelete, server.URL()+"/api/v2/flags/shop/"+key, header, nil)
			}
		},
	}, true, false, true, 2}
}

func inHarness(t *testing.T, _ pgtest.Database) flagService {
	server := harnessserver.New(harnessserver.Options{Project: "shop", APIKey: apiToken, SDKKey: sdkKey})
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = server.Close() })
	provider, err := harness.New(harness.Config{APIURL: server.AdminURL(), SDKURL: server.SDKURL(), APIKey: apiToken, SDKKey: sdkKey,
		Account: "account", Organization: "default", Project: "shop", Environment: "production"})
	require.NoError(t, err)
	server.CreateFlag(needed)
	ask := func(t require.TestingT, method, key, more string, body any) {
		if flag, ok := server.Snapshot(key); ok && !flag.Archived {
			send(t, method, fmt.Sprintf("%s/cf/admin/features/%s?accountIdentifier=account&orgIdentifier=default&projectIdentifier=shop"+
				"&environmentIdentifier=production%s", server.AdminURL(), key, more), map[string]string{"x-api-key": apiToken}, body)
		}
	}
	patch := func(kind string, parameters any) func(require.TestingT, string) {
		return func(t require.TestingT, key string) {
			ask(t, http.MethodPatch, key, "", map[string]any{"instructions": []any{map[string]any{"kind": kind, "parameters": parameters}}})
		}
	}
	second := func(key string) string {
		flag, _ := server.Snapshot(key)
		return flag.Variations[1].Identifier
	}
	return flagService{provider, func(t require.TestingT, key string) document {
		feature, ok := server.Snapshot(key)
		if !ok {
			return nil
		}
		feature.ModifiedAt, feature.EnvProperties.ModifiedAt, feature.EnvProperties.Version = 0, 0, 0
		return ofHarness(t, feature)
	}, map[string]func(require.TestingT, string){
		"rule": func(t require.TestingT, key string) {
			if _, ok := server.Snapshot(key); ok {
				patch("addRule", map[string]any{"uuid": fmt.Sprintf("theirs-%p", new(int)), "priority": 1, "serve": map[string]any{"variation": second(key)},
					"clauses": []any{map[string]any{"attribute": "country", "op": "equal", "values": []any{"de"}}}})(t, key)
			}
		},
		"prerequisite": patch("addPrerequisite", map[string]any{"feature": needed, "variations": []any{"true"}}),
		"off variation": func(t require.TestingT, key string) {
			if feature, ok := server.Snapshot(key); ok {
				patch("updateOffVariation", map[string]any{"variation": feature.Variations[0].Identifier})(t, key)
			}
		},
		"archive": func(t require.TestingT, key string) { ask(t, http.MethodDelete, key, "&forceDelete=false", nil) },
		"delete":  func(t require.TestingT, key string) { ask(t, http.MethodDelete, key, "&forceDelete=true", nil) },
	}, true, false, false, 2}
}
