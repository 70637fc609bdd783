-- expect: constraint-missing-not-valid@2
alter table customers add column height integer check (height > 0);
