-- expect: nothing
create table scratch (id bigint primary key, one text);
alter table scratch drop column one;
drop table scratch;
