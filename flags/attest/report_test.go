package attest

import (
	"context"
	"testing"
)

type fixed []Seen

func (f fixed) See([]string) []Seen { return f }

// What an application pays for a report, apart from its SDK and its database driver; none of it is in the way of a request.
func BenchmarkReport(b *testing.B) {
	a := &Attester{options: Options{
		Instance: "shop-1", Flags: []string{"customers-write-new", "customers-read-new"},
		Source: fixed{{Key: "customers-write-new", Version: 7, Value: new("true")}, {Key: "customers-read-new", Version: 9}},
		Exec:   func(context.Context, string, ...any) error { return nil },
	}}
	b.ReportAllocs()
	for b.Loop() {
		if err := a.report(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
