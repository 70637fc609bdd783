package ddl

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// noTransactionHeader as a file's first line says that its one statement can't run in a transaction.
const noTransactionHeader = directive + " no-transaction"

const directive = "-- contraflow:"

// script is one SQL file, taken apart as far as running it safely needs.
type script struct {
	text          string // what to send; as long as the file, so that positions hold
	statements    []statement
	noTransaction bool
}

// parseScript refuses, with ErrScript, what couldn't be run in one transaction or as one statement.
func parseScript(text string) (script, error) {
	s := script{text: text, statements: split(text)}
	if err := s.readDirective(); err != nil {
		return script{}, err
	}
	for _, st := range s.statements {
		if st.copiesThroughClient() {
			return script{}, fmt.Errorf("%w: line %d: COPY from or to the client would wait for data that a file can't send, and hold its locks: write INSERTs, or load the data by a program of yours",
				ErrScript, s.lineOfByte(st.start))
		}
		if st.has("pg_advisory_unlock_all") {
			return script{}, fmt.Errorf("%w: line %d: pg_advisory_unlock_all would free the migration lock too: free your locks one by one", ErrScript, s.lineOfByte(st.start))
		}
	}
	if s.noTransaction {
		if len(s.statements) != 1 {
			return script{}, fmt.Errorf("%w: line 1 says no-transaction, which takes exactly one statement, and there are %d: give each a file of its own",
				ErrScript, len(s.statements))
		}
		if s.statements[0].buildsUnnamedIndex() {
			return script{}, fmt.Errorf("%w: give the index a name, so that it can be found again after a crash", ErrScript)
		}
		if s.betterInside() {
			return script{}, fmt.Errorf("%w: line 1 says no-transaction, and the statement can run in a transaction, where a crash leaves nothing behind: "+
				"remove that line, or add the CONCURRENTLY that was meant", ErrScript)
		}
		return s, nil
	}
	s.openEnvelope()
	for _, st := range s.statements {
		if st.controlsTransaction() {
			return script{}, fmt.Errorf("%w: line %d: remove %q, since each file runs in one transaction together with its version",
				ErrScript, s.lineOfByte(st.start), strings.ToUpper(st.tokens[0].text))
		}
	}
	return s, nil
}

// What is meant as a directive, however it is written, and which of those are the linter's.
var (
	directiveLike = regexp.MustCompile(`(?i)^--\s*contraflow\s*(:|no\W*transaction)`)
	forTheLinter  = regexp.MustCompile(`(?i)^--\s*contraflow\s*:\s*ignore\b`)
)

// readDirective looks at the comments above the first statement, so that a misspelt or misplaced header isn't passed over.
func (s *script) readDirective() error {
	head := s.text
	if len(s.statements) > 0 {
		head = head[:s.statements[0].start]
	}
	for i, line := range strings.Split(head, "\n") {
		line = strings.TrimSpace(line)
		if !directiveLike.MatchString(line) || forTheLinter.MatchString(line) {
			continue
		}
		if i != 0 || line != noTransactionHeader {
			return fmt.Errorf("%w: line %d: the only directive is %q, as the first line", ErrScript, i+1, noTransactionHeader)
		}
		s.noTransaction = true
	}
	return nil
}

// openEnvelope blanks an outer BEGIN … COMMIT, which many files written for stock golang-migrate have:
// the transaction around it means the same, and COMMIT would end it before the version is written.
func (s *script) openEnvelope() {
	last := len(s.statements) - 1
	if last < 1 || !s.statements[0].is("begin") && !s.statements[0].is("start", "transaction") ||
		!s.statements[last].is("commit") && !s.statements[last].is("end") {
		return
	}
	envelope := slices.Concat(s.statements[0].tokens, s.statements[last].tokens)
	for _, t := range envelope {
		if !slices.Contains([]string{"begin", "start", "transaction", "work", "commit", "end"}, t.text) {
			return // isolation level, read only, and chain: not the transaction we would run
		}
	}
	for _, t := range envelope {
		s.text = s.text[:t.start] + strings.Repeat(" ", t.end-t.start) + s.text[t.end:]
	}
	s.statements = s.statements[1:last]
}

// lineOfCharacter turns Postgres's 1-based position, counted in characters, into a 1-based line.
func (s script) lineOfCharacter(position int) int {
	for i := range s.text {
		if position--; position == 0 {
			return s.lineOfByte(i)
		}
	}
	return s.lineOfByte(len(s.text)) // at the end of the input
}

func (s script) lineOfByte(offset int) int { return strings.Count(s.text[:offset], "\n") + 1 }

// is compares the first words.
func (st statement) is(words ...string) bool {
	if len(st.tokens) < len(words) {
		return false
	}
	for i, word := range words {
		if st.tokens[i].text != word {
			return false
		}
	}
	return true
}

// has looks for words that follow each other.
func (st statement) has(words ...string) bool {
	for i := range st.tokens {
		if (statement{tokens: st.tokens[i:]}).is(words...) {
			return true
		}
	}
	return false
}

func (st statement) controlsTransaction() bool {
	switch st.tokens[0].text {
	case "begin", "commit", "abort", "end":
		return true
	case "rollback":
		return !st.has("to")
	case "start", "prepare":
		return st.is(st.tokens[0].text, "transaction")
	}
	return false
}

// copiesThroughClient knows that Postgres takes STDIN and STDOUT for the same.
func (st statement) copiesThroughClient() bool {
	if !st.is("copy") {
		return false
	}
	for _, way := range []string{"from", "to"} {
		if st.has(way, "stdin") || st.has(way, "stdout") {
			return true
		}
	}
	return false
}

// allOrNothing tells that a refused statement has left nothing behind, which those that commit on their way can't promise.
func (st statement) allOrNothing() bool {
	return !st.has("concurrently") && !slices.ContainsFunc([]string{"call", "do", "vacuum", "reindex"}, func(word string) bool { return st.is(word) })
}

// buildsUnnamedIndex knows CREATE [UNIQUE] INDEX CONCURRENTLY ON.
func (st statement) buildsUnnamedIndex() bool {
	return st.is("create", "index", "concurrently", "on") || st.is("create", "unique", "index", "concurrently", "on")
}

// betterInside tells that the statement has no reason to run outside a transaction, where a crash could leave it in doubt.
func (s script) betterInside() bool {
	st := s.statements[0]
	if _, known := s.operation().(unknown); !known || st.has("concurrently") {
		return false
	}
	for _, words := range [][]string{{"create", "table"}, {"drop", "table"}, {"alter", "table"}, {"create", "index"}, {"create", "unique", "index"}, {"drop", "index"}} {
		if st.is(words...) {
			return true
		}
	}
	return false
}

// summary is the statement's first words, without constants.
func (st statement) summary() string {
	const enough = 8 // words: ALTER TYPE name ADD VALUE …
	words := make([]string, 0, enough)
	for _, t := range st.tokens[:min(enough, len(st.tokens))] {
		words = append(words, t.text)
	}
	return strings.Join(words, " ")
}
