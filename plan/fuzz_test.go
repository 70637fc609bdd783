package plan

import (
	"encoding/json"
	"errors"
	"testing"
)

func FuzzDecode(f *testing.F) {
	f.Add([]byte("name: a\nsteps:\n  - name: b\n    soak: 1s\n"))
	f.Add([]byte(`{"name":"a","database":"d","steps":[{"name":"b","soak":"1s"}]}`))
	f.Add([]byte("steps: [{backfill: {set: {a: 1}}}]"))
	f.Add([]byte("a: &x b\nc: *x\n<<: *x\n? [k]\n: v"))
	f.Add([]byte("name: \"\\u007f\\u2028\"\ndatabase: d\nsteps: [{name: a, verify: {query: \"\\x01\", max: 1e3}}]\n"))
	f.Add(example(f))
	f.Add([]byte(everyKey))
	for _, r := range backfillRules {
		f.Add([]byte(r.bad))
		f.Add([]byte(r.good))
	}
	conforms := conformity(f)
	f.Fuzz(func(t *testing.T, document []byte) {
		p, err := Decode("fuzz", document)
		if err != nil {
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("not a list of problems: %v", err)
			}
			for _, problem := range problems {
				if problem.Line < 1 || problem.Column < 1 || problem.Message == "" {
					t.Fatalf("a problem without place or message: %+v", problem)
				}
			}
			return
		}
		// What is accepted survives its own JSON, with the same hash, and conforms to the schema.
		body, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := conforms(body); err != nil {
			t.Fatalf("accepted, but not by the schema: %v\n%s", err, body)
		}
		again, err := Decode("fuzz.json", body)
		if err != nil {
			t.Fatalf("own JSON refused: %v\n%s", err, body)
		}
		h1, err1 := p.Hash(nil)
		h2, err2 := again.Hash(nil)
		if err1 != nil || err2 != nil || h1 != h2 {
			t.Fatalf("hash changed over JSON: %s %s %v %v", h1, h2, err1, err2)
		}
	})
}
