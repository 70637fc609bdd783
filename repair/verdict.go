package repair

import (
	"fmt"
	"strings"

	"github.com/contraflow/contraflow/ddl"
)

// notValid marks what a concurrent build has left behind.
const notValid = "is there and not valid"

// judge says which file failed, how far it came, and what follows.
func (r *Report) judge(at ddl.Row, q Question) {
	if len(r.Files) == 0 {
		r.Verdict = fmt.Sprintf("The database is dirty at %s, and this folder has no file that could have failed: look with the folder that it came from.", at)
		return
	}
	if r.file = r.failed(); r.file == nil {
		up, down := r.Files[0], r.Files[1]
		r.Verdict = fmt.Sprintf("Either %s failed or %s did, and the catalog can't tell which: find out, and look again with --direction up or --direction down.", up.Name, down.Name)
		return
	}
	r.Failed = r.file.Name
	r.Way, r.Verdict = r.file.verdict()
}

// failed picks the file by what contradicts the other: an up file that is done has not failed, and a down file can only have
// failed where its version stood.
func (r *Report) failed() *File {
	if len(r.Files) == 1 {
		return &r.Files[0]
	}
	up, down := &r.Files[0], &r.Files[1]
	upMissing, _ := up.count(NotApplied)
	downMissing, _ := down.count(NotApplied)
	switch {
	case downMissing > 0:
		if _, stood := r.afterwards(); upMissing == 0 && stood > 0 {
			return down
		}
		return nil
	case upMissing > 0:
		return up
	case up.untold() && down.untold():
		return nil
	case down.untold():
		return down
	}
	return up // where both are done, the version stands either way
}

// afterwards counts what stands of the next version.
func (r *Report) afterwards() (all, proofs int) {
	if r.after == nil {
		return 0, 0
	}
	return r.after.count(Applied)
}

func (f File) untold() bool {
	n, _ := f.count(Untold)
	return n > 0 || f.Problem != ""
}

// verdict in one sentence or two.
func (f File) verdict() (Way, string) {
	applied, proofs := f.count(Applied)
	missing, _ := f.count(NotApplied)
	untold, _ := f.count(Untold)
	const likely = "golang-migrate runs a file as one transaction unless x-multi-statement is on"
	look := fmt.Sprintf("look at what %s (%s) did", lines(untold, "statement"), f.where(Untold))
	switch {
	case f.Problem != "":
		return "", fmt.Sprintf("%s can't be read: %s. A person must look at what it has done, then say --as applied or --as unapplied.", f.Name, f.Problem)
	case missing > 0 && proofs > 0 && untold > 0:
		return "", fmt.Sprintf("%s is half applied: %s missing (%s). A person must finish or undo it: %s.", f.Name, are(missing), f.where(NotApplied), look)
	case missing > 0 && proofs > 0 && f.NoTransaction:
		return "", fmt.Sprintf("%s is half applied. It runs outside a transaction: a person must finish or undo it.", f.Name)
	case missing > 0 && proofs > 0:
		return Finish, fmt.Sprintf("%s is half applied: %s missing (%s). They can be run now, in one transaction with the version.", f.Name, are(missing), f.where(NotApplied))
	case missing > 0 && untold > 0:
		return "", fmt.Sprintf("%s was most likely not applied (%s): %s, and if nothing, say --as unapplied.%s", f.Name, likely, look, f.first())
	case missing > 0 && applied > 0:
		return AsUnapplied, fmt.Sprintf("Nothing of %s stands but what may have been so before, and does no harm to be run again.%s", f.Name, f.first())
	case missing > 0:
		return AsUnapplied, fmt.Sprintf("Nothing of %s stands.%s", f.Name, f.first())
	case untold > 0 && proofs > 0:
		return "", fmt.Sprintf("%s was most likely applied (%s): %s, and if all is done, say --as applied.", f.Name, likely, look)
	case untold > 0:
		return "", fmt.Sprintf("The catalog can't tell whether %s was applied: %s, then say --as applied or --as unapplied.", f.Name, look)
	}
	if applied == 0 && len(f.Statements) > 0 {
		return AsUnapplied, fmt.Sprintf("%s leaves nothing that would matter, and does no harm to be run again.", f.Name)
	}
	return AsApplied, fmt.Sprintf("All of %s stands.", f.Name)
}

// first is what has to be done before the file can run again.
func (f File) first() string {
	for _, st := range f.Statements {
		if st.Standing == NotApplied && strings.Contains(st.Why, notValid) {
			return " First drop what is left of its index: see the invalid indexes."
		}
	}
	return ""
}

func (f File) where(s Standing) string {
	var places []string
	for _, st := range f.Statements {
		if st.Standing == s {
			places = append(places, fmt.Sprintf("%s:%d", st.File, st.Line))
		}
	}
	return strings.Join(places, ", ")
}

func lines(n int, word string) string {
	if n == 1 {
		return "one " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func are(n int) string {
	if n == 1 {
		return "one statement is"
	}
	return fmt.Sprintf("%d statements are", n)
}
