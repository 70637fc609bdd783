-- expect: adding-not-nullable-field@2
alter table customers alter column age set not null;
