-- expect: nothing
-- step: irreversible
alter table customers drop column address;
