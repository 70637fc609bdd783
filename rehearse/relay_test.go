package rehearse

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/postgres"
)

func TestAnyConnectionStringServesThePrograms(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(t, shop)
	bin, err := postgres.ClientsOf(15)
	require.NoError(t, err)
	url, err := pgx.ParseConfig(db.DSN)
	require.NoError(t, err)
	dumps := map[string]string{}
	for form, dsn := range map[string]string{
		"url":       db.DSN + "&application_name=x&lock_timeout=77&default_query_exec_mode=exec",
		"key value": fmt.Sprintf("host=%s port=%d user='%s' password=%s dbname=%s sslmode=prefer", url.Host, url.Port, url.User, url.Password, url.Database),
	} {
		config, err := parseDSN(dsn, "target")
		require.NoError(t, err)
		dumps[form], err = clients(bin).dump(t.Context(), config, portions{owners: true, publications: true}, nil)
		require.NoError(t, err)
	}
	require.Equal(t, linesOf(dumps["url"]), linesOf(dumps["key value"]))
	require.Contains(t, dumps["url"], "CREATE TABLE public.customers")
	require.NotContains(t, dumps["url"], "hidden", "no rows")
	require.NotContains(t, dumps["url"], "contraflow.audit")
}

func TestAProgramIsToldNoPassword(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	config, err := parseDSN(db.DSN, "target")
	require.NoError(t, err)
	r, err := newRelay(t.Context(), config)
	require.NoError(t, err)
	defer r.close()
	require.NotContains(t, strings.Join(r.env(), " "), config.Password)
}

func TestAProgramThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	bin, err := postgres.ClientsOf(15)
	require.NoError(t, err)
	config, err := parseDSN(db.DSN, "target")
	require.NoError(t, err)
	err = clients(bin).restore(t.Context(), config, "create table a ();\ncreate table a ();\nselect 1;")
	require.ErrorContains(t, err, `ERROR:  relation "a" already exists`)
	_, err = clients(t.TempDir()).dump(t.Context(), config, portions{owners: true, publications: true}, nil)
	require.ErrorContains(t, err, "no such file")
}
