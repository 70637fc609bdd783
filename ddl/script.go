package ddl

import (
	"fmt"
	"slices"
	"strings"
)

// noTransactionHeader as a file's first line says that its one statement can't run in a transaction.
const noTransactionHeader = directive + " no-transaction"

const directive = "-- contraflow:"

// ignoreDirective begins a comment that is for the linter alone.
const ignoreDirective = directive + " ignore "

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
	}
	if s.noTransaction {
		if len(s.statements) != 1 {
			return script{}, fmt.Errorf("%w: line 1 says no-transaction, which takes exactly one statement, and there are %d: give each a file of its own",
				ErrScript, len(s.statements))
		}
		if s.statements[0].buildsUnnamedIndex() {
			return script{}, fmt.Errorf("%w: give the index a name, so that it can be found again after a crash", ErrScript)
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

// readDirective looks at the comments above the first statement, so that a misspelt or misplaced header isn't passed over.
func (s *script) readDirective() error {
	head := s.text
	if len(s.statements) > 0 {
		head = head[:s.statements[0].start]
	}
	for i, line := range strings.Split(head, "\n") {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, directive) || strings.HasPrefix(line, ignoreDirective) {
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

// repeatable tells that running the statement a second time does no harm and no second work.
func (st statement) repeatable() bool {
	return st.has("if", "exists") || st.has("if", "not", "exists") ||
		st.is("vacuum") || st.is("analyze") || st.is("refresh")
}

// allOrNothing tells that a refused statement has left nothing behind, which those that commit on their way can't promise.
func (st statement) allOrNothing() bool {
	return !st.has("concurrently") && !st.is("call") && !st.is("do") && !st.is("vacuum")
}

// builtIndex finds the name and the table (as written) of CREATE INDEX CONCURRENTLY.
func (st statement) builtIndex(text string) (name, table string, ok bool) {
	rest := st.afterBuild()
	if len(rest) < 3 || rest[1].text != "on" {
		return "", "", false
	}
	name, rest = rest[0].identifier(), rest[2:]
	if rest[0].text == "only" {
		rest = rest[1:]
	}
	return name, qualifiedName(text, rest), true
}

func (st statement) buildsUnnamedIndex() bool {
	rest := st.afterBuild()
	return len(rest) > 0 && rest[0].text == "on"
}

// droppedIndex finds the index (as written) of DROP INDEX CONCURRENTLY.
func (st statement) droppedIndex(text string) (name string, ok bool) {
	if !st.is("drop", "index", "concurrently") {
		return "", false
	}
	rest := st.tokens[3:]
	if (statement{tokens: rest}).is("if", "exists") {
		rest = rest[2:]
	}
	return qualifiedName(text, rest), len(rest) > 0
}

// afterBuild returns the tokens behind CREATE [UNIQUE] INDEX CONCURRENTLY [IF NOT EXISTS].
func (st statement) afterBuild() []token {
	var rest []token
	switch {
	case st.is("create", "index", "concurrently"):
		rest = st.tokens[3:]
	case st.is("create", "unique", "index", "concurrently"):
		rest = st.tokens[4:]
	}
	if (statement{tokens: rest}).is("if", "not", "exists") {
		rest = rest[3:]
	}
	return rest
}

// qualifiedName takes the leading a.b.c, as written.
func qualifiedName(text string, tokens []token) string {
	if len(tokens) == 0 {
		return ""
	}
	last := 0
	for last+2 < len(tokens) && tokens[last+1].text == "." {
		last += 2
	}
	return text[tokens[0].start:tokens[last].end]
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
