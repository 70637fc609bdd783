-- expect: nothing
create table events_2027 (like events including defaults including constraints);
alter table events_2027 add constraint events_2027_at check (at >= '2027-01-01' and at < '2028-01-01');
