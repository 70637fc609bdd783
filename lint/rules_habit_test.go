package lint

import "strings"

var habitJudgements = map[string]judgement{
	"ban-char-field": {
		hits:   hit("create table n (a char(4));", "alter table orders add column x character(2)", "alter table orders alter column note type char(9)"),
		misses: hit("create table n (a text, b \"char\");", "alter table orders add x varchar(4)"),
	},
	"prefer-text-field": {
		hits:   hit("create table n (a varchar(40));", "alter table orders add x varchar(4)"),
		misses: hit("create table n (a varchar, b text, c char(4));"),
	},
	"prefer-bigint-over-int": {
		hits:   hit("create table n (id int primary key);", "create table n (id serial);", "create table n (id int generated always as identity)", "create table n (id int, primary key (id))"),
		misses: hit("create table n (id bigint primary key, a int);", "alter table orders add x int", "create table n (a int, b int, primary key (a, b))"),
	},
	"prefer-bigint-over-smallint": {
		hits:   hit("create table n (id smallint primary key);", "create table n (id smallserial)"),
		misses: hit("create table n (id bigint primary key, a smallint);", "create table n (id int primary key)"),
	},
	"prefer-identity": {
		hits:   hit("create table n (id bigserial primary key);", "alter table orders add x serial"),
		misses: hit("create table n (id bigint generated always as identity primary key);"),
	},
	"prefer-timestamptz": {
		hits:   hit("create table n (a timestamp);", "alter table orders add x timestamp(3)"),
		misses: hit("create table n (a timestamptz, b date);", "alter table orders add x timestamp with time zone"),
	},
	"adding-json-field": {
		hits:   append(hit("alter table orders add column x json;"), judged{sql: "create table n (a json);", as: Note}),
		misses: hit("alter table orders add column x jsonb;"),
	},
	"identifier-too-long": {
		hits:   hit("alter table orders add column "+strings.Repeat("x", 64)+" int;", "create table \""+strings.Repeat("ä", 32)+"\" (a int)"),
		misses: hit("alter table orders add column "+strings.Repeat("x", 63)+" int;", "select '"+strings.Repeat("x", 90)+"'"),
	},
}
