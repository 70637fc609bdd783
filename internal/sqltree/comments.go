package sqltree

import (
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
)

// Comment is a comment from -- to the end of its line.
type Comment struct {
	Text         string // without the blanks at its end
	Start        int    // byte offset
	Line, Column int    // from 1; columns count characters
}

// Comments are those that Postgres takes for comments: not what stands in quotes or in comments with stars. None of a text
// that can't be taken apart.
func Comments(text string) []Comment {
	if !strings.Contains(text, "--") {
		return nil
	}
	scanned, err := pgquery.Scan(text)
	if err != nil {
		return nil
	}
	var all []Comment
	for _, token := range scanned.GetTokens() {
		if token.GetToken() != tree.Token_SQL_COMMENT {
			continue
		}
		start := int(token.GetStart())
		c := Comment{Text: strings.TrimSpace(text[start:token.GetEnd()]), Start: start}
		c.Line, c.Column = Position(text, start)
		all = append(all, c)
	}
	return all
}
