-- expect: nothing
alter table items alter column total drop expression;
