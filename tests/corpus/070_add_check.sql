-- expect: constraint-missing-not-valid@2
alter table customers add constraint customers_age_positive check (age > 0);
