package backfill_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/backfill"
)

// keyType makes distinct values of a column's type of distinct numbers; %s is the number.
type keyType struct{ name, column, value string }

var keyTypes = []keyType{
	{"int", "int", "(%s)::int"},
	{"bigint", "bigint", "(%s) * 3000000007"},
	{"uuid", "uuid", "md5((%s)::text)::uuid"},
	{"text in C", `text collate "C"`, `'k'',"\{}' || chr(65 + abs(%[1]s)::int %% 60) || (%[1]s)`},
	{"text in ICU", `text collate "und-x-icu"`, `(array['a', 'A', 'ä', 'z', ' '])[1 + abs(%[1]s)::int %% 5] || (%[1]s)`},
	{"timestamptz", "timestamptz", "timestamptz '2024-03-31 00:30Z' + (%s) * interval '7 minutes 1.000001 s'"},
	{"numeric", "numeric(30, 10)", "(%s) / 7.0"},
}

// shape of a random table. Rows are told apart by id, which they keep when their key changes; x is the number that the key is
// made of.
type shape struct {
	types    []keyType // of the key's columns
	reversed bool      // the index has them in the opposite order
	index    bool      // the key is a unique index, no primary key
	spread   string    // of the numbers
	rows     int
	where    bool // the condition that a row is still to do
	analyzed bool
	poisoned int // so many of the rows are refused
}

func drawShape(t *rapid.T) shape {
	return shape{
		types:    rapid.SliceOfN(rapid.SampledFrom(keyTypes), 1, 3).Draw(t, "key"),
		reversed: rapid.Bool().Draw(t, "reversed"),
		index:    rapid.Bool().Draw(t, "unique index"),
		spread:   rapid.SampledFrom([]string{"dense", "gapped", "skewed"}).Draw(t, "spread"),
		rows:     rapid.SampledFrom([]int{0, 1, 3, 24, 60, 120, 200, 300}).Draw(t, "rows"),
		where:    rapid.Bool().Draw(t, "where"),
		analyzed: rapid.Bool().Draw(t, "analyzed"),
	}
}

func (s shape) String() string {
	names := make([]string, len(s.types))
	for i, k := range s.types {
		names[i] = k.name
	}
	return fmt.Sprintf("%d rows, %s, key (%s) reversed %t, index %t, where %t, analyzed %t, %d poisoned",
		s.rows, s.spread, strings.Join(names, ", "), s.reversed, s.index, s.where, s.analyzed, s.poisoned)
}

// number of the i-th row.
func (s shape) number(i int) int {
	switch {
	case s.spread == "gapped":
		return i*i*3 + i*11
	case s.spread == "skewed" && i > s.rows*4/5:
		return i * 1_000_000
	}
	return i
}

func (s shape) keyColumns() []string {
	names := make([]string, len(s.types))
	for i := range s.types {
		names[i] = fmt.Sprintf("k%d", i+1)
	}
	return names
}

// indexed are the columns in the order of the index.
func (s shape) indexed() []string {
	names := s.keyColumns()
	if s.reversed {
		slices.Reverse(names)
	}
	return names
}

// key is what the key's columns hold for the number that an SQL expression yields. All but the last have few distinct values.
func (s shape) key(number string) []string {
	values := make([]string, len(s.types))
	for i, k := range s.types {
		n := number
		if i < len(s.types)-1 {
			n = fmt.Sprintf("(%s %% %d)", number, 3+4*i)
		}
		values[i] = fmt.Sprintf(k.value, n)
	}
	return values
}

const (
	originalSource = "x % 977 + 1000" // never 0, which is what poisons a row
	poison         = 0
)

// create the table with its first rows. n tells what the value is and times how often the engine has set it.
func (s shape) create(table string) []string {
	columns := make([]string, len(s.types))
	for i, k := range s.types {
		columns[i] = fmt.Sprintf("k%d %s not null", i+1, k.column)
	}
	key := "primary key"
	if s.index {
		key = "unique"
	}
	n := "n integer not null default 0"
	if s.where {
		n = "n integer"
	}
	numbers := make([]string, s.rows)
	for i := range numbers {
		numbers[i] = fmt.Sprint(s.number(i))
	}
	sql := []string{
		fmt.Sprintf("create table %s (id bigint generated always as identity, x bigint, %s, src integer not null, %s, times integer not null default 0, %s (%s))",
			table, strings.Join(columns, ", "), n, key, strings.Join(s.indexed(), ", ")),
		fmt.Sprintf("insert into %s (x, src, %s) select x, %s, %s from unnest('{%s}'::bigint[]) x",
			table, strings.Join(s.keyColumns(), ", "), originalSource, strings.Join(s.key("x"), ", "), strings.Join(numbers, ",")),
	}
	if s.poisoned > 0 {
		sql = append(sql, fmt.Sprintf("update %s set src = %d where id in (select id from %s order by md5(id::text) limit %d)", table, poison, table, s.poisoned))
	}
	if s.analyzed {
		sql = append(sql, "analyze "+table)
	}
	return sql
}

func (s shape) set() []backfill.Assignment {
	times := backfill.Assignment{Column: "times", Expr: "times + 1"}
	if s.where {
		return []backfill.Assignment{{Column: "n", Expr: "2 * src + 1 + 0 / src"}, times}
	}
	return []backfill.Assignment{{Column: "n", Expr: "n + 1 + 0 / src -- not idempotent"}, times}
}

// chunkTimes are so short that there are many chunks.
var chunkTimes = []time.Duration{time.Microsecond, time.Millisecond, 20 * time.Millisecond}

func drawSpec(t *rapid.T, s shape, plan, table string) backfill.Spec {
	spec := backfill.Spec{Plan: plan, Step: "fill", Table: table, Set: s.set(), MaxRejects: s.poisoned,
		Lanes:     rapid.SampledFrom([]int{1, 2, 3, 4}).Draw(t, "lanes"),
		ChunkRows: rapid.SampledFrom([]int{1, 2, 5, 12, 50}).Draw(t, "chunk rows"),
		ChunkTime: rapid.SampledFrom(chunkTimes).Draw(t, "chunk time")}
	if s.where {
		spec.Where = "n is null"
	}
	if s.index {
		spec.Key = s.keyColumns()
	}
	return spec
}
