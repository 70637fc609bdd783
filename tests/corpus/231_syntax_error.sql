-- expect: syntax-error@3
-- runs: no, because it is no SQL
alter table customers add colum street text null null,;
