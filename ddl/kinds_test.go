package ddl

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStatementsOutsideATransactionAreRecognized(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]operation{
		"create index concurrently I on T (a)":                                            &build{"i", `"t"`},
		`create unique index concurrently if not exists "I""x" on only s."T" (a)`:         &build{`I"x`, `"s"."T"`},
		"CREATE INDEX CONCURRENTLY Ärger ON s . /* here */ t USING gin (a)":               &build{"Ärger", `"s"."t"`},
		`drop index concurrently if exists s."I" cascade`:                                 &dropIndex{`"s"."I"`},
		`reindex index concurrently "I"`:                                                  &reindex{`"I"`},
		"REINDEX (VERBOSE, CONCURRENTLY) TABLE s.t":                                       &reindex{`"s"."t"`},
		"reindex (verbose) table concurrently t":                                          &reindex{`"t"`},
		"reindex schema s":                                                                repeatable{},
		"reindex table t":                                                                 repeatable{},
		"reindex schema concurrently s":                                                   nil,
		"alter table if exists only s.t validate constraint \"C\", validate constraint d": &validate{table: `"s"."t"`, constraints: []string{"C", "d"}},
		`alter type s."Mood" add value if not exists 'it''s' before 'sad'`:                &addValue{name: `"s"."Mood"`, value: "it's"},
		"alter type mood add value -- a remark\n 'fine'":                                  &addValue{name: `"mood"`, value: "fine"},
		`alter type mood add value E'fi\x6e'`:                                             nil,
		`alter type mood add value U&'fine'`:                                              nil,
		"alter type mood add value 'fi'\n'ne'":                                            nil,
		"alter type mood rename value 'a' to 'b'":                                         nil,
		"alter table t detach partition s.p concurrently":                                 &detach{table: `"t"`, partition: `"s"."p"`},
		"alter table t detach partition p finalize":                                       &detach{table: `"t"`, partition: `"p"`, finalize: true},
		"vacuum (full) t":                                                                 repeatable{},
		"analyze":                                                                         repeatable{},
		"refresh materialized view concurrently v":                                        repeatable{},
		"call purge()": nil,
	} {
		s, err := parseScript(noTransactionHeader + "\n" + sql)
		require.NoError(t, err, sql)
		got := s.operation()
		if want == nil {
			require.IsType(t, unknown{}, got, sql)
			continue
		}
		require.Equal(t, want, got, sql)
	}
}

func TestPatienceIsForThoseWhoseWaitsTheApplicationPasses(t *testing.T) {
	t.Parallel()
	for sql, patient := range map[string]bool{
		"create index concurrently i on t (a)":          true,
		"drop index concurrently i":                     true,
		"reindex table concurrently t":                  true,
		"reindex schema concurrently s":                 true,
		"reindex (verbose, concurrently on) index i":    true,
		"alter table t detach partition p concurrently": false,
		"alter table t detach partition p finalize":     false,
		"call purge()":                                  false,
		"do $$ begin commit; end $$":                    false,
		"reindex (concurrently false) index i":          false,
		"reindex (concurrently 'off', verbose) index i": false,
		"alter table t validate constraint c":           false,
		"alter type mood add value 'fine'":              false,
		"vacuum full t":                                 false,
		"refresh materialized view v":                   false,
		"create database d":                             false,
		"alter system set work_mem = '4MB'":             false,
	} {
		s, err := parseScript(noTransactionHeader + "\n" + sql)
		require.NoError(t, err, sql)
		require.Equal(t, patient, s.operation().patient(), sql)
	}
}

func TestWhatCanRunInATransactionIsRefusedOutside(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		"create table t (a int)", "drop table t", "alter table t add column a int", "create index i on t (a)",
		"create unique index i on t (a)", "drop index i", "alter table t detach partition p",
		"alter table t validate constraint c, add column a int",
		"alter table t validate constraint a" + strings.Repeat(", validate constraint a", maxTokens),
	} {
		_, err := parseScript(noTransactionHeader + "\n" + sql)
		require.ErrorIs(t, err, ErrScript, sql)
		require.ErrorContains(t, err, "remove that line", sql)
		_, err = parseScript(sql)
		require.NoError(t, err, sql)
	}
}
