package rehearse

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProblemsAreWhatWouldFail(t *testing.T) {
	t.Parallel()
	good := Report{Statements: []Statement{{Verdict: Instant}, {Verdict: BlocksScan}, {Verdict: Background}}, Down: &Down{Identical: true},
		Trials: []Trial{{Step: "fill", Kind: KindBackfill, At: []uint{2}}}, Samples: []Sample{{Step: "fill", Rows: 10, Filled: 10}}}
	require.Empty(t, good.Problems())
	require.Equal(t, BlocksScan, good.Worst())
	require.Empty(t, (&Report{}).Worst())

	bad := Report{Statements: []Statement{{File: "2_a.up.sql", Line: 3, Problem: "no"}}, Down: &Down{Differences: []string{"@@", " c", "-a", "+b"}},
		Trials:  []Trial{{Kind: KindCheck, Name: "new writes", At: []uint{2, 3}, Problem: "gone"}, {Step: "prove", Kind: KindVerify, At: []uint{2}, Problem: "wrong"}},
		Samples: []Sample{{Step: "fill", Rows: 10, Filled: 8, Refused: 2}}}
	require.Equal(t, []string{
		"2_a.up.sql:3 fails: no",
		"the way down does not lead back to the same catalog: 2 lines differ",
		"check new writes, at versions 2, 3: gone",
		"step prove, verify, at version 2: wrong",
		"step fill: 2 of 10 sampled rows are refused",
	}, bad.Problems())
}

func TestAStatementIsDescribedByWhatItTook(t *testing.T) {
	t.Parallel()
	big := Size{Name: "customers", Rows: 12_412_345, Bytes: 3_328_599_654}
	other := Size{Name: "orders", Rows: 5, Bytes: 8192}
	lock := func(mode string, s Size) Lock { return Lock{Relation: s.Name, Mode: mode, Size: s} }
	for want, s := range map[string]Statement{
		"": {},
		"ACCESS EXCLUSIVE on customers, 12.4 M rows, rewrites 3.1 GB":           {Locks: []Lock{lock("ACCESS EXCLUSIVE", big), lock("SHARE", other)}, Rewrites: []Size{big}},
		"SHARE on customers, 12.4 M rows, scans orders (8 kB)":                  {Locks: []Lock{lock("SHARE", big)}, Scans: []Size{other}},
		"SHARE on customers, builds customers_idx":                              {Locks: []Lock{lock("SHARE", Size{Name: "customers", Rows: -1})}, Builds: []Size{{Name: "customers_idx", Bytes: -1}}},
		"under the locks of the statements before it, scans customers (3.1 GB)": {Verdict: BlocksScan, Scans: []Size{big}},
	} {
		require.Equal(t, want, s.Detail())
	}
}
