-- expect: nothing
alter table customers add column tier text not null default 'basic';
