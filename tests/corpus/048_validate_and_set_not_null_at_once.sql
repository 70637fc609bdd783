-- expect: adding-not-nullable-field@3, slow-statement-under-lock@3
-- one statement takes the strongest lock of its parts at the beginning
alter table customers validate constraint customers_name_present, alter column name set not null;
