-- expect: enum-value-used-at-once@3
-- runs: no, because a new value cannot be used before its transaction has ended
alter type mood add value 'fine' after 'ok';
alter table customers alter column feeling set default 'fine';
