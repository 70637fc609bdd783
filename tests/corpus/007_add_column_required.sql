-- expect: adding-required-field@2
alter table customers add column street text not null;
