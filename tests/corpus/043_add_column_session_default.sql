-- expect: nothing
alter table customers add column added_by text default current_user;
