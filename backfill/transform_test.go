package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

// transforming is an engine with one transform, and a spec that uses it on table numbers.
func transforming(t *testing.T, f backfill.Transform, sql ...string) (bundle, backfill.Spec) {
	t.Helper()
	b := setup(t, sql...)
	b.Engine = backfill.New(b.pool, backfill.WithTransforms(map[string]backfill.Transform{"f": f, "another": f}))
	return b, backfill.Spec{Plan: "plan", Step: "fill", Table: "numbers", Transform: "f", ChunkRows: 10}
}

// each makes a batch function of one for a row.
func each(f func(row []any) []any) func(context.Context, [][]any) ([][]any, error) {
	return func(_ context.Context, rows [][]any) ([][]any, error) {
		for i := range rows {
			rows[i] = f(rows[i])
		}
		return rows, nil
	}
}

// counted cannot be applied twice to a row without showing, and shows what it was given.
func counted() backfill.Transform {
	return backfill.Transform{Read: []string{"n", "ID"}, Write: []string{"label", "n"}, Rows: each(func(row []any) []any {
		return []any{fmt.Sprintf("row %d", row[1]), row[0].(int32) + 1}
	})}
}

func TestATransformChangesEveryRowOnce(t *testing.T) {
	t.Parallel()
	b, spec := transforming(t, counted(), numbers(3000))
	b.exec(t, "update numbers set n = 7 where id % 2 = 0")
	spec.Where, spec.Lanes = "n = 0", 2
	proof := b.run(t, spec)
	require.EqualValues(t, 1500, proof.Rows)
	require.True(t, proof.Counted)
	require.EqualValues(t, 1500, scalar[int64](t, b, "select count(*) from numbers where n = 1 and label = 'row ' || id and id % 2 = 1"))
	require.EqualValues(t, 1500, scalar[int64](t, b, "select count(*) from numbers where n = 7 and label is null and id % 2 = 0"))

	other := spec
	other.Transform = "another"
	require.NotEqual(t, spec.Hash(), other.Hash())
}

func TestATransformWalksCompositeKeysAndPartitions(t *testing.T) {
	t.Parallel()
	b, spec := transforming(t, backfill.Transform{Read: []string{"part", "n"}, Write: []string{"n"}, Rows: each(func(row []any) []any {
		return []any{row[1].(int32) + row[0].(int32)}
	})}, `create domain code as char(4);
		create table numbers (part int, code code, at timestamptz, n int, primary key (part, code, at)) partition by list (part);
		create table numbers_1 partition of numbers for values in (1);
		create table numbers_2 partition of numbers for values in (2);
		insert into numbers select 1 + i % 2, i % 10, timestamptz '2020-02-29 12:00:00.123456+05:45' + i * interval '1 month', 0 from generate_series(1, 500) i;
		insert into numbers values (1, 'x', 'infinity', 0), (2, 'x', '-infinity', 0), (2, 'x', '0044-03-15 BC', 0)`)
	b.exec(t, "alter role current_user in database "+b.Name+" set datestyle = 'SQL, DMY'")
	b.pool.Reset()
	require.EqualValues(t, 503, b.run(t, spec).Rows)
	require.EqualValues(t, 503, scalar[int64](t, b, "select count(*) from numbers where n = part"))
}

// Whatever a transform leaves alone comes back as it was.
func TestValuesOfAllTypesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	columns := map[string]string{
		"bool": "true", "smallint": "-32768", "bigint": "9223372036854775807", "real": "1.1", "double precision": "'-Infinity'", "money": "12.34",
		"numeric": "12345678901234567890.123456789012345678901234567890", "numeric(8,2)": "0.10", "text": `E'a "b", {c}\\ \n ä NULL'`, "varchar(5)": "'null'",
		"char(5)": "'a'", `"char"`: "'x'", "bytea": `'\x00ff7f5c'`, "uuid": "gen_random_uuid()", "inet": "'10.0.0.1/8'", "macaddr": "'08:00:2b:01:02:03'",
		"date": "'infinity'", "time": "'23:59:59.999999'", "timetz": "'04:05:06.7+05:30'", "timestamp": "'0044-03-15 BC'", "timestamptz": "'2020-02-29 12:00:00.123456'",
		"interval": "'1 year -2 days 03:04:05.6'", "bit(3)": "B'101'", "varbit": "B'10101'", "point": "'(1.5,2)'", "pg_lsn": "'16/B374D848'", "xml": "'<a/>'",
		"json": `'{"b":  12345678901234567890, "a": [1.10, null]}'`, "jsonb": `'{"a": 12345678901234567890.10, "b": "\""}'`,
		"int[]": "'{1,null,3}'", "bigint[]": "'{{1,2},{3,null}}'", "smallint[]": "'[5:6]={1,2}'", "timestamptz[]": "'{infinity,2020-02-29 12:00:00.123456}'",
		"numeric[]": "'{NaN,1.10}'", "bytea[]": `array['\x00'::bytea, '']`, "uuid[]": "'{}'", "int4range[]": "'{\"[1,2)\"}'", "text[]": `array['a,b', 'c"d', null, '', 'null']`, "jsonb[]": `array['{"a": 12345678901234567890}'::jsonb]`,
		"int4range": "'[1,5)'", "tstzrange": "'[2020-01-01,infinity)'", "int4multirange": "'{[1,3),[5,8)}'",
		"tsvector": "'a:1 b:2'", "hue": "'dark red'", "hue[]": "'{green,\"dark red\"}'", "pair": "row(7, 'a \"b\", (c)')", "pair[]": "array[row(1, 'x')::pair, null]",
		"positive": "5", "small": "'abc'", "positive[]": "'{1,2}'", "document": `'{"a": 1}'`,
	}
	var made, filled, from, to []string
	n := 0
	for typ, literal := range columns {
		n++
		made = append(made, fmt.Sprintf("a%d %s, b%d %s", n, typ, n, typ))
		filled = append(filled, fmt.Sprintf("a%d = %s", n, literal))
		from, to = append(from, fmt.Sprintf("a%d", n)), append(to, fmt.Sprintf("b%d", n))
	}
	identity := func(_ context.Context, rows [][]any) ([][]any, error) { return rows, nil }
	b, spec := transforming(t, backfill.Transform{Read: from, Write: to, Rows: identity}, `
		create type hue as enum ('green', 'dark red'); create type pair as (n int, t text);
		create domain positive as int check (value > 0); create domain small as varchar(3); create domain document as jsonb;
		create table numbers (id int primary key, `+strings.Join(made, ", ")+`); insert into numbers values (1), (2);
		update numbers set `+strings.Join(filled, ", ")+" where id = 2")
	for setting, value := range map[string]string{"datestyle": "Postgres, DMY", "intervalstyle": "sql_standard", "extra_float_digits": "0", "bytea_output": "escape", "timezone": "Asia/Kathmandu"} {
		b.exec(t, "alter role current_user in database "+b.Name+" set "+setting+" = '"+value+"'")
	}
	b.pool.Reset()
	b.run(t, spec)
	for i := range from {
		require.EqualValues(t, 1, scalar[int64](t, b, fmt.Sprintf("select count(*) from numbers where id = 2 and a%d::text = b%d::text", i+1, i+1)), made[i])
		require.EqualValues(t, 1, scalar[int64](t, b, fmt.Sprintf("select count(*) from numbers where id = 1 and b%d is null", i+1)), made[i])
	}
}

func TestAValueTooLongIsNotCutOff(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"varchar(3)", "char(3)", "bit(3)", "small"} {
		b, spec := transforming(t, backfill.Transform{Read: []string{"id"}, Write: []string{"label"}, Rows: each(func([]any) []any { return []any{"10101"} })},
			"create domain small as varchar(3); create table numbers (id int primary key, label "+typ+"); insert into numbers values (1)")
		_, err := b.Prepare(t.Context(), spec)
		require.NoError(t, err)
		_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
		require.Error(t, err, typ)
		require.True(t, backfill.Permanent(err))
		require.NotContains(t, err.Error(), "10101")
		require.EqualValues(t, 1, scalar[int64](t, b, "select count(*) from numbers where label is null"))
	}
}

func TestRefusedRowsOfATransformAreSetAside(t *testing.T) {
	t.Parallel()
	b, spec := transforming(t, backfill.Transform{Read: []string{"id", "n"}, Write: []string{"n"}, Rows: func(_ context.Context, rows [][]any) ([][]any, error) {
		for i, row := range rows {
			switch row[0] {
			case int64(30):
				return nil, fmt.Errorf("lookup: %w", &backfill.RowError{Row: i, Err: errors.New(`no country for "+49 30 S3CRET" in 1990`)})
			case int64(300):
				rows[i] = []any{struct{ Secret string }{"S3CRET"}}
			case int64(303):
				rows[i] = []any{"S3CRET"}
			default:
				rows[i] = []any{row[1].(int32) + 1}
			}
		}
		return rows, nil
	}}, numbers(200))
	spec.MaxRejects = 3
	require.EqualValues(t, 197, b.run(t, spec).Rows)
	require.EqualValues(t, 197, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
	said := scalar[string](t, b, "select string_agg(key[1] || ' ' || code || ': ' || message, E'\n' order by key[1]::int) from contraflow.backfill_reject")
	require.NotContains(t, said, "S3CRET")
	require.Contains(t, said, "30 transform: refused by the transform: no country for “…” in …\n")
	require.Contains(t, said, `300 transform: refused by the transform: a Go struct { Secret string } cannot be written to column "n" of type integer`)
	require.Contains(t, said, "303 22P02: ")
}

func TestWhatATransformSaysIsWithheld(t *testing.T) {
	t.Parallel()
	ten := func(n int) [][]any { return make([][]any, n) }
	for title, c := range map[string]struct {
		rows      func(context.Context, [][]any) ([][]any, error)
		permanent bool
		says      string
	}{
		"an error":        {func(context.Context, [][]any) ([][]any, error) { return nil, errors.New("S3CRET") }, false, "failed with a *errors.errorString"},
		"a panic":         {func(context.Context, [][]any) ([][]any, error) { panic("S3CRET") }, false, `transform "f" panicked at transform_test.go:`},
		"a runtime error": {func(_ context.Context, rows [][]any) ([][]any, error) { return rows[1_000_000:], nil }, false, "panicked at transform_test.go:"},
		"too few rows":    {func(context.Context, [][]any) ([][]any, error) { return ten(3), nil }, true, "returned 3 rows for 10"},
		"nothing":         {func(context.Context, [][]any) ([][]any, error) { return nil, nil }, true, "returned 0 rows for 10"},
		"narrow rows":     {func(context.Context, [][]any) ([][]any, error) { return ten(10), nil }, true, "a row of 0 values for the 1 columns"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b, spec := transforming(t, backfill.Transform{Read: []string{"id"}, Write: []string{"n"}, Rows: c.rows}, numbers(20))
			_, err := b.Prepare(t.Context(), spec)
			require.NoError(t, err)
			lane, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "S3CRET")
			require.Equal(t, c.permanent, backfill.Permanent(err))
			require.Zero(t, lane.Rows)
			require.EqualValues(t, 20, scalar[int64](t, b, "select count(*) from numbers where n = 0"))
		})
	}
}

func TestATransformThatIsMistakenIsRefused(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		transform backfill.Transform
		edit      func(*backfill.Spec)
		is        error
		says      string
	}{
		"an unknown name":                     {counted(), func(s *backfill.Spec) { s.Transform = "g" }, backfill.ErrNoTransform, `transform "g" is not known; there are: another, f`},
		"an unknown name for a table to come": {counted(), func(s *backfill.Spec) { s.Transform, s.Table = "g", "nowhere" }, backfill.ErrNoTransform, `transform "g" is not known`},
		"set as well":                         {counted(), func(s *backfill.Spec) { s.Set = counting("numbers").Set }, backfill.ErrSpec, "transform"},
		"an unknown column":                   {backfill.Transform{Read: []string{"m"}, Write: []string{"n"}}, nil, backfill.ErrNoColumn, `transform "f" reads`},
		"nothing to write to":                 {backfill.Transform{Read: []string{"id"}, Write: []string{"m"}}, nil, backfill.ErrNoColumn, `transform "f" writes`},
		"the key":                             {backfill.Transform{Write: []string{"id"}}, nil, backfill.ErrSpec, `by which the table is walked`},
		"no column":                           {backfill.Transform{}, nil, backfill.ErrSpec, "must have columns to write"},
		"a generated column":                  {backfill.Transform{Write: []string{"twice"}}, nil, backfill.ErrSpec, "Postgres generates always"},
		"a column twice":                      {backfill.Transform{Write: []string{"n", "N"}}, nil, nil, `multiple assignments to same column "n"`},
		"a mistaken condition":                {counted(), func(s *backfill.Spec) { s.Where = "n = " }, nil, "syntax error"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			c.transform.Rows = counted().Rows
			b, spec := transforming(t, c.transform, numbers(3)+"; alter table numbers add twice int generated always as (2 * n) stored")
			if c.edit != nil {
				c.edit(&spec)
			}
			_, err := b.Inspect(t.Context(), spec)
			require.ErrorContains(t, err, c.says)
			require.Equal(t, c.is != backfill.ErrNoTransform, backfill.Permanent(err), "another program may know it")
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
		})
	}
	_, err := setup(t, numbers(1)).Inspect(t.Context(), backfill.Spec{Plan: "p", Step: "s", Table: "numbers", Transform: "f"})
	require.ErrorContains(t, err, "built without transforms")
	require.ErrorIs(t, err, backfill.ErrNoTransform)
}

func TestAColumnThatATransformWritesMadeAnewIsFilledAnew(t *testing.T) {
	t.Parallel()
	b, spec := transforming(t, counted(), numbers(30))
	b.run(t, spec)
	b.exec(t, "alter table numbers drop column label; alter table numbers add column label text")
	run, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	require.True(t, run.StaleHash)
}

// While Rows runs the chunk's rows are locked, but not for those who only refer to them; then the connection is cut.
func TestConnectionsCutWhileTransformingChangeEveryRowOnce(t *testing.T) {
	t.Parallel()
	const rows = 2000
	var calls atomic.Int32
	inside, proceed := make(chan any), make(chan struct{})
	f := counted()
	once := f.Rows
	f.Rows = func(ctx context.Context, rows [][]any) ([][]any, error) {
		if calls.Add(1)%3 == 0 {
			select {
			case inside <- rows[0][1]:
				<-proceed
			case <-ctx.Done():
			}
		}
		return once(ctx, rows)
	}
	defer close(proceed)
	b, spec := transforming(t, f, numbers(rows), "create table children (number bigint references numbers)")
	spec.ChunkTime = time.Millisecond
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	ended, cuts := make(chan error, 1), 0
	admin := b.Connect(t)
	_, err = admin.Exec(t.Context(), "set lock_timeout = '5s'")
	require.NoError(t, err)
	go func() {
		for {
			_, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
			if err == nil || backfill.Permanent(err) || t.Context().Err() != nil {
				ended <- err
				return
			}
		}
	}()
	for {
		select {
		case locked := <-inside:
			_, err := admin.Exec(t.Context(), "insert into children values ($1)", locked)
			require.NoError(t, err, "who refers to a row is not kept waiting")
			if cuts < 5 {
				cuts++
				_, err = admin.Exec(t.Context(), "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'contraflow backfill' and datname = current_database()")
				require.NoError(t, err)
			}
			proceed <- struct{}{}
			continue
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(soon):
			require.FailNow(t, "the lane does not end")
		}
		break
	}
	require.Equal(t, 5, cuts)
	b.run(t, spec)
	require.EqualValues(t, rows, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}

func TestATransformGivesWayToTheApplication(t *testing.T) {
	t.Parallel()
	b, spec := transforming(t, counted(), numbers(2000))
	b.impatient(t, backfill.WithTransforms(map[string]backfill.Transform{"f": counted()}))
	spec.ChunkRows = 640
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	tx, err := b.Connect(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "update numbers set label = 'theirs' where id = 600") // the 200th row
	require.NoError(t, err)
	var heard reports
	ended := b.started(t, t.Context(), spec, backfill.LaneOptions{Report: heard.add})
	require.Eventually(t, func() bool { return heard.held("retry after lock timeout", 160) }, soon, tick, "640 and 320 rows do not get through, 160 do")
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, receive(t, ended))
	require.EqualValues(t, 2000, scalar[int64](t, b, "select count(*) from numbers where n = 1 and label = 'row ' || id"))
}

// What the application commits while a chunk waits for it is what the transform reads.
func TestATransformReadsWhatWasCommittedMeanwhile(t *testing.T) {
	t.Parallel()
	b, spec := transforming(t, counted(), numbers(20))
	spec.Where = "n < 1000"
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	tx, err := b.Connect(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "update numbers set n = 500 * id / 3 where id <= 6")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
		ended <- err
	}()
	require.Eventually(t, func() bool { return b.waiting(t) == 1 }, soon, time.Millisecond)
	require.NoError(t, tx.Commit(t.Context()))
	require.NoError(t, receive(t, ended))
	require.Equal(t, "501 1000 1", scalar[string](t, b, "select string_agg(n::text, ' ' order by id) from numbers where id <= 9"))
}

func TestCancelReachesTheTransform(t *testing.T) {
	t.Parallel()
	f := counted()
	begun := make(chan struct{})
	f.Rows = func(ctx context.Context, _ [][]any) ([][]any, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	b, spec := transforming(t, f, numbers(20))
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	cause := errors.New("the worker shuts down")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := b.RunLane(ctx, spec, 0, backfill.LaneOptions{})
		ended <- err
	}()
	receive(t, begun)
	cancel(cause)
	require.ErrorIs(t, receive(t, ended), cause)
}
