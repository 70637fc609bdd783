package lint

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// kindsOfFiles are statements that a file may hold by the thousand.
var kindsOfFiles = map[string]func(b *strings.Builder, i int){
	"inserts": func(b *strings.Builder, i int) {
		fmt.Fprintf(b, "INSERT INTO people (id, name, email) VALUES (%d, 'name %d', 'mail-%d@example.org');\n", i, i, i)
	},
	"updates": func(b *strings.Builder, i int) {
		fmt.Fprintf(b, "UPDATE people SET name = 'name %d' WHERE id = %d;\n", i, i)
	},
	"columns": func(b *strings.Builder, i int) { fmt.Fprintf(b, "ALTER TABLE people ADD COLUMN c%d int;\n", i) },
	"tables": func(b *strings.Builder, i int) {
		fmt.Fprintf(b, "CREATE TABLE t%d (id bigint PRIMARY KEY, person bigint REFERENCES people);\nCREATE INDEX ON t%d (person);\n", i, i)
	},
}

func many(t testing.TB, kind string, n int) Input {
	t.Helper()
	var b strings.Builder
	for i := range n {
		kindsOfFiles[kind](&b, i)
	}
	return inputOf(t, oneStep, map[string]string{
		"1_a.up.sql": "create table people (id bigint primary key, name text, email text)", "2_b.up.sql": b.String(), "2_b.down.sql": b.String(),
	})
}

// The work must grow with the statements, not with their square. It is counted in allocations, which a busy machine doesn't change;
// no other test may run meanwhile.
func TestTheWorkGrowsWithTheStatements(t *testing.T) {
	const few, times = 150, 8
	for kind := range kindsOfFiles {
		work := func(n int) float64 {
			in := many(t, kind, n)
			return testing.AllocsPerRun(1, func() { Check(in) })
		}
		require.Less(t, work(few*times), work(few)*times*1.5, kind)
	}
}

func BenchmarkAMegabyteOfInserts(b *testing.B) {
	in := many(b, "inserts", 12000)
	for b.Loop() {
		Check(in)
	}
}
