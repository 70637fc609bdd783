-- expect: disallowed-unique-constraint@2
alter table customers add column passport text unique;
