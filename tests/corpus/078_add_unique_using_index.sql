-- expect: nothing
alter table customers add constraint customers_email_key unique using index customers_email_unique;
