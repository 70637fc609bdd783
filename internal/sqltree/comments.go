package sqltree

import (
	"strings"

	tree "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
)

// Comment is a comment from -- to the end of its line, or one between stars.
type Comment struct {
	Text         string // with its marks, without the blanks at its end
	Start        int    // byte offset
	Line, Column int    // from 1; columns count characters
}

// Comments are those that Postgres takes for comments: not what stands in quotes or in other comments. None of a text that
// can't be taken apart.
func Comments(text string) []Comment {
	if !strings.Contains(text, "--") && !strings.Contains(text, "/*") {
		return nil
	}
	scanned, err := pgquery.Scan(text)
	if err != nil {
		return nil
	}
	var all []Comment
	for _, token := range scanned.GetTokens() {
		if kind := token.GetToken(); kind != tree.Token_SQL_COMMENT && kind != tree.Token_C_COMMENT {
			continue
		}
		start := int(token.GetStart())
		c := Comment{Text: strings.TrimSpace(text[start:token.GetEnd()]), Start: start}
		c.Line, c.Column = Position(text, start)
		all = append(all, c)
	}
	return all
}
