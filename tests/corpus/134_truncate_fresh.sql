-- expect: nothing
create table scratch (id bigint primary key);
truncate scratch;
