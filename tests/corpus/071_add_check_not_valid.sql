-- expect: nothing
alter table customers add constraint customers_age_positive check (age > 0) not valid;
