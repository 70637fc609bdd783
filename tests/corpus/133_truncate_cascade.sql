-- expect: ban-truncate@2, ban-truncate-cascade@2
truncate customers cascade;
