-- expect: nothing
-- the validated constraint proves it, and nothing is read
alter table customers alter column status set not null;
