-- expect: validating-in-the-same-file@3
alter table customers add constraint customers_age_positive check (age > 0) not valid;
alter table customers validate constraint customers_age_positive;
